// Clients that lose their node: they stay away until they are told to return, come back to another one with their cursors,
// and are counted until each has what it missed.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"sort"
	"time"
)

// Return asks for it. The loader prints {"open":n} once all are subscribed; {"head":offset} on standard input calls them back,
// and after the result they stay until standard input ends.
type Return struct {
	Port     int `json:"port"`     // of the node they come back to
	WithinMs int `json:"withinMs"` // each after a random part of it
}

// Call says that everything was published.
type Call struct {
	Head int64 `json:"head"`
}

type ReturnResult struct {
	Clients     int     `json:"clients"`
	Back        int     `json:"back"` // at the head, in the end
	Received    int64   `json:"received"`
	Skipped     int64   `json:"skipped"`
	Duplicates  int64   `json:"duplicates"`
	Gaps        int64   `json:"gaps"`
	Unreadable  int64   `json:"unreadable"`
	AllMs       float64 `json:"allMs"` // from the call until the last one has everything
	ReplayP50Ms float64 `json:"replayP50Ms"`
	ReplayP99Ms float64 `json:"replayP99Ms"` // from the answered handshake until it has everything
	LoaderCPU   float64 `json:"loaderCpu"`   // cores, from the call on
	Note        string  `json:"note"`
}

type returning struct {
	epoch    string
	cursors  []int64 // next offset by connection
	head     int64   // 0 until they are called
	back     int
	lastUs   int64
	openedUs []int64
	replays  histogram
}

func (b *returning) isCalled() bool { return b.head > 0 }

// command subscribes where the client stands, from the head on the first time.
func (b *returning) command(index int, channel int32) string {
	if !b.isCalled() {
		return fmt.Sprintf(`{"id":2,"type":"subscribe","channel":"c%d"}`, channel)
	}
	b.openedUs[index] = nowUs()
	return fmt.Sprintf(`{"id":2,"type":"subscribe","channel":"c%d","since":{"epoch":%q,"offset":%d}}`,
		channel, b.epoch, b.cursors[index]-1)
}

// arrived keeps the cursor of a client and whether it has everything.
func (b *returning) arrived(index int, next int64) {
	before := b.cursors[index]
	b.cursors[index] = next
	if !b.isCalled() || before > b.head || next <= b.head {
		return
	}
	b.back++
	b.lastUs = nowUs()
	b.replays.add(b.lastUs - b.openedUs[index])
}

func comeBack(config Config, input io.Reader) (ReturnResult, error) {
	out := ReturnResult{Clients: config.Connections}
	r, err := newRun(config)
	if err != nil {
		return out, err
	}
	b := &returning{cursors: make([]int64, config.Connections), openedUs: make([]int64, config.Connections)}
	r.back = b
	var opened Result
	r.openAll(&opened)
	if r.failed > 0 {
		return out, fmt.Errorf("%d clients did not open: %s", r.failed, r.noted)
	}
	fmt.Printf("{\"open\":%d}\n", r.okOpen)
	calls := make(chan Call, 1)
	go func() {
		var call Call
		if json.NewDecoder(input).Decode(&call) != nil {
			os.Exit(1)
		}
		calls <- call
	}()
	for b.head == 0 {
		select {
		case call := <-calls:
			b.head = call.Head
		default:
			r.turn(1000)
		}
	}
	// All have lost their node by then: what they read meanwhile is not part of the count, their end is no failure.
	r.until(openLimitMs, func() bool { return r.lost == r.okOpen })
	if r.lost != r.okOpen {
		return out, fmt.Errorf("%d of %d clients still have their node", r.okOpen-r.lost, r.okOpen)
	}
	r.tally, r.noted, r.config.Port = tally{}, "", config.Return.Port
	start, cpu := nowUs(), ownCPUSeconds()
	moments := make([]int64, config.Connections)
	for i := range moments {
		moments[i] = start + rand.Int63n(int64(config.Return.WithinMs)*1000)
	}
	sort.Slice(moments, func(i, j int) bool { return moments[i] < moments[j] })
	for next, end := 0, start+openLimitMs*1000; b.back < config.Connections && nowUs() < end; {
		for ; next < len(moments) && moments[next] <= nowUs(); next++ {
			r.open(next)
		}
		r.turn(500)
	}
	out.Back, out.Received, out.Note = b.back, r.tally.received, r.noted
	out.Skipped, out.Duplicates, out.Gaps, out.Unreadable = r.tally.skipped, r.tally.duplicates, r.tally.gaps, r.tally.unreadable
	out.AllMs = float64(b.lastUs-start) / 1000
	replays := b.replays.summary()
	out.ReplayP50Ms, out.ReplayP99Ms = replays.P50Ms, replays.P99Ms
	out.LoaderCPU = (ownCPUSeconds() - cpu - float64(r.spunUs)/1e6) / (float64(nowUs()-start) / float64(time.Second/time.Microsecond))
	return out, nil
}
