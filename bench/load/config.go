// What a run is asked to do and what it answers: the JSON read from standard input and the JSON printed at the end.
package main

// Config describes one run; times are in the unit their name says.
type Config struct {
	Port        int       `json:"port"`
	Path        string    `json:"path"`
	Connections int       `json:"connections"`
	Opening     int       `json:"opening"`  // connections being opened at the same time
	Frames      []string  `json:"frames"`   // sent after the upgrade, before the subscriptions
	Channels    int       `json:"channels"` // channels c0..cN-1; 0: connection i has a channel of its own, c<i>
	PerConn     int       `json:"perConnection"`
	SampleEvery int       `json:"sampleEvery"` // every n-th connection has each of its messages read
	SettleMs    int       `json:"settleMs"`    // quiet time between the last subscription and what follows
	HoldMs      int       `json:"holdMs"`      // how long the connections are held open when nothing is published
	Publish     *Publish  `json:"publish"`
	Probe       *Probe    `json:"probe"`
	Storm       *Storm    `json:"storm"`
	Processes   []Process `json:"processes"` // whose CPU and memory are reported; the server is the first
	SpinUs      int       `json:"spinUs"`    // how long an idle loader polls before it sleeps
	DrainMs     int       `json:"drainMs"`   // longest wait for deliveries and answers after the last publication
	Slow        *Slow     `json:"slow"`      // instead of a run: readers that take less than they are sent
	Return      *Return   `json:"return"`    // instead of a run: clients that lose their node and come back to another
	Stalled     *Stalled  `json:"stalled"`   // beside the connections: some that do not read until the load is over
}

// Process is one to watch, by the name it has in the answer.
type Process struct {
	Name string `json:"name"`
	Pid  int    `json:"pid"`
}

// Slow are subscribers of c0 that read at a pace of their own until HoldMs is over, and come back when they are closed.
type Slow struct {
	Connections    int   `json:"connections"`
	BytesPerSecond []int `json:"bytesPerSecond"` // of connection i: element i modulo their number; 0 reads nothing
}

// SlowGroup is what became of those with one pace.
type SlowGroup struct {
	BytesPerSecond int   `json:"bytesPerSecond"`
	Connections    int   `json:"connections"`
	Opened         int64 `json:"opened"`
	Closed         int64 `json:"closed"` // by the server
	Refused        int64 `json:"refused"`
	Bytes          int64 `json:"bytes"`
}

// Publish is an open-loop load: the schedule does not wait for answers.
type Publish struct {
	Path         string   `json:"path"`
	Headers      []string `json:"headers"`
	Rate         float64  `json:"rate"`         // publications per second
	Count        int      `json:"count"`        // publications in all
	Batch        int      `json:"batch"`        // publications per POST; 1 sends the single form
	Connections  int      `json:"connections"`  // keep-alive connections, one outstanding POST each
	PayloadBytes int      `json:"payloadBytes"` // size of `data`
	GiveUpMs     int      `json:"giveUpMs"`     // this far behind the schedule the run ends; 0: 2000
	EarlyMs      int      `json:"earlyMs"`      // latency of what is published in this first part is told apart
}

// Probe asks for a small page over and over, to see how long the server's loop is held.
type Probe struct {
	Path    string `json:"path"`
	EveryUs int    `json:"everyUs"` // pause between an answer and the next question
}

// Latency is a summary of a histogram in milliseconds.
type Latency struct {
	Count  uint64  `json:"count"`
	MeanMs float64 `json:"meanMs"`
	P50Ms  float64 `json:"p50Ms"`
	P90Ms  float64 `json:"p90Ms"`
	P99Ms  float64 `json:"p99Ms"`
	P999Ms float64 `json:"p999Ms"`
	MaxMs  float64 `json:"maxMs"`
}

// ProcessUse is what one watched process used; CPU is cores, over the publishing (or else the opening) part of the run.
type ProcessUse struct {
	Name           string  `json:"name"`
	Pid            int     `json:"pid"`
	OpenCPU        float64 `json:"openCpu"`
	CPU            float64 `json:"cpu"`
	Starved        float64 `json:"starved"` // share of that part in which its main thread was ready but had no core
	RssBeforeBytes int64   `json:"rssBeforeBytes"`
	RssOpenBytes   int64   `json:"rssOpenBytes"`
	RssMaxBytes    int64   `json:"rssMaxBytes"`
	RssEndBytes    int64   `json:"rssEndBytes"`
}

// Result is the answer of one run.
type Result struct {
	Opened        int           `json:"opened"`
	Failed        int           `json:"failed"`
	Closed        int           `json:"closed"` // connections lost after they were subscribed
	OpenPerSecond float64       `json:"openPerSecond"`
	OpenLoaderCPU float64       `json:"openLoaderCpu"`
	Published     int           `json:"published"`
	Positions     int           `json:"positions"` // publications answered with an offset
	PositionsOk   bool          `json:"positionsOk"`
	Requests      int           `json:"requests"`
	Refused       int           `json:"refused"`   // POSTs without a 2xx answer
	Throttled     int           `json:"throttled"` // of these, answered 429 with Retry-After
	Expected      int64         `json:"expected"`
	Received      int64         `json:"received"`
	Missing       int64         `json:"missing"`
	Skipped       int64         `json:"skipped"`    // holes seen between consecutive offsets
	Duplicates    int64         `json:"duplicates"` // offsets seen again or going back
	Gaps          int64         `json:"gaps"`       // gap receipts
	Unreadable    int64         `json:"unreadable"` // frames that could not be understood
	Frames        int64         `json:"frames"`
	Reads         int64         `json:"reads"`
	Bytes         int64         `json:"bytes"`
	DeliveriesPS  float64       `json:"deliveriesPerSecond"`
	PublishedPS   float64       `json:"publishedPerSecond"`
	SpanSeconds   float64       `json:"spanSeconds"`
	LoaderCPU     float64       `json:"loaderCpu"`     // cores, polling of an idle loader excluded
	LoaderStarved float64       `json:"loaderStarved"` // as Starved, of the loader
	Latency       Latency       `json:"latency"`       // intended publish time to receipt, sampled connections
	Early         Latency       `json:"early"`         // the same of what was published in the first EarlyMs
	Answer        Latency       `json:"answer"`        // sending a POST to its answer
	Waited        Latency       `json:"waited"`        // intended publish time to sending the POST
	Probe         Latency       `json:"probe"`
	ProbeOwn      Latency       `json:"probeOwn"` // without the time in which others kept the server from a core
	Processes     []ProcessUse  `json:"processes"`
	Storm         StormResult   `json:"storm"`
	Stalled       StalledResult `json:"stalled"`
	Note          string        `json:"note"` // first error seen
}
