// Asks for a small page over and over: the longest answer is how long the server's loop was held. An answer counts as of when
// the kernel had it: that this process had no core, or other sockets to read, is not the server's doing.
package main

import "time"

type probe struct {
	run      *run
	config   Probe
	http     *httpConnection
	request  []byte
	nextUs   int64
	askedUs  int64 // of the wall clock, as the arrivals are
	stopped  bool
	roundUs  histogram
	ownUs    histogram // the same without the time in which others kept the server from a core
	kept     *keptWaiting
	keptUs   int64 // what the kernel had booked of that when the question was asked
	ranUs    int64 // when the last answer arrived: the server had a core then; of the wall clock
	counting bool
}

func newProbe(r *run, config Probe) (*probe, error) {
	p := &probe{run: r, config: config}
	p.kept = openKeptWaiting(r.config.Processes[0].Pid)
	p.request = []byte("GET " + config.Path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	p.http = &httpConnection{run: r, stamped: true}
	p.http.failure = func(why string) {
		p.stopped = true
		r.note("probe: " + why)
	}
	p.http.answer = func(status int, body []byte) {
		if p.counting {
			p.count()
		}
		p.ranUs = p.http.arrivedUs
		if status != 200 {
			p.http.failure("not answered 200")
		}
		if p.counting && p.http.arrivedUs == 0 {
			p.http.failure("the kernel does not say when answers arrive")
		}
		p.nextUs = nowUs() + int64(config.EveryUs)
	}
	return p, p.http.open(r.config.Port, r.source)
}

// stampLimitMs is the longest wait for the kernel to stamp what arrives, which it begins some time after the first socket asks.
const stampLimitMs = 1000

// isReady asks until an answer is stamped.
func (p *probe) isReady() bool {
	p.look()
	return p.stopped || p.http.arrivedUs > 0
}

// look asks when it is time, and reads an answer at once, ahead of the subscribers' sockets.
func (p *probe) look() {
	if p.stopped {
		return
	}
	if p.http.busy {
		p.http.read()
	} else if nowUs() >= p.nextUs {
		p.keptUs = p.kept.us()
		p.askedUs = time.Now().UnixMicro()
		p.http.request(p.request, nil)
	}
}

func (p *probe) count() {
	tookUs := p.http.arrivedUs - p.askedUs
	p.roundUs.add(tookUs)
	bookedUs := p.kept.us() - p.keptUs
	p.ownUs.add(ownUs(tookUs, bookedUs, p.askedUs-p.ranUs, time.Now().UnixMicro()-p.http.arrivedUs))
}

// ownUs is the longest that the server can have had a core for during an answer: never less than it had. The kernel books a
// wait for a core when it ends. So what it booked between a question and the reading of its answer may have begun before the
// question, though not before the server last ran (beforeUs ago), and ended after the answer, though not after it was read
// (afterUs later); the rest was within.
func ownUs(tookUs, bookedUs, beforeUs, afterUs int64) int64 {
	withinUs := bookedUs - beforeUs - afterUs
	if withinUs <= 0 {
		return tookUs
	}
	if withinUs >= tookUs {
		return 0
	}
	return tookUs - withinUs
}
