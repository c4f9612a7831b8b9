// Subscribers of c0 that read nothing while others are served, and read on when the load is over, message by message.
package main

import (
	"fmt"
	"syscall"
)

// readOnBufferBytes is the receive buffer of one that reads on: with the small one of a stalled client the kernels would trade windows.
const readOnBufferBytes = 256 << 10

// Stalled asks for it. Unlike Slow they live in the process of the readers: what is published is known, and so what each of them must get.
type Stalled struct {
	Connections int `json:"connections"`
	ReadMs      int `json:"readMs"` // longest time they may take once they read again
}

// StalledResult is what became of all of them together.
type StalledResult struct {
	Opened     int   `json:"opened"`
	Closed     int   `json:"closed"`
	Complete   int   `json:"complete"` // got a message or a gap receipt for each offset up to the last one, once and in order
	Messages   int64 `json:"messages"`
	Declared   int64 `json:"declared"` // offsets in gap receipts
	Gaps       int64 `json:"gaps"`
	NewestGap  int64 `json:"newestGap"` // how far behind the last publication the newest offset lay that was declared missing; -1: none was
	Skipped    int64 `json:"skipped"`
	Duplicates int64 `json:"duplicates"`
	Unreadable int64 `json:"unreadable"` // frames that could not be understood, receipts that contradict themselves
	ReadMs     int64 `json:"readMs"`     // from the first read until the last one was complete
}

type stalled struct {
	config      Stalled
	connections []*connection
	tally       tally
	declared    int64
	newestGap   int64
	opened      int
	closed      int
}

// counts is where a connection's messages are counted.
func (c *connection) counts() *tally {
	if c.stalled {
		return &c.run.stalled.tally
	}
	return &c.run.tally
}

func (r *run) openStalled() {
	if r.config.Stalled == nil {
		return
	}
	s := &stalled{config: *r.config.Stalled, newestGap: -1}
	r.stalled = s
	for i := 0; i < s.config.Connections; i++ {
		c := &connection{run: r, index: i, subscriptions: []subscription{{channel: 0}}, waitingFor: 1, readAll: true, stalled: true}
		s.connections = append(s.connections, c)
		if err := c.start(r.config.Port, r.source); err != nil {
			r.note(err.Error())
			s.closed++
			continue
		}
		if !r.until(openLimitMs, func() bool { return c.state == stateOpen || c.state == stateClosed }) {
			c.close("a stalled reader did not open")
			return
		}
	}
}

// stall stops reading: the socket is not even looked at, so a ping stays unanswered like every message.
func (s *stalled) stall(c *connection) {
	s.opened++
	_ = epollCtl(c.run.epoll, syscall.EPOLL_CTL_DEL, c.fd, 0)
}

// readOn lets all of them read until each has accounted for what was published, or the time is over.
func (s *stalled) readOn(r *run, head int64) StalledResult {
	start := nowUs()
	for _, c := range s.connections {
		if c.state != stateOpen {
			continue
		}
		_ = syscall.SetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, readOnBufferBytes)
		_ = epollCtl(r.epoll, syscall.EPOLL_CTL_ADD, c.fd, syscall.EPOLLIN)
	}
	complete := func() (n int) {
		for _, c := range s.connections {
			if c.state == stateOpen && c.subscriptions[0].next == head+1 {
				n++
			}
		}
		return n
	}
	out := StalledResult{}
	sampleAt := start
	r.until(s.config.ReadMs, func() bool {
		if nowUs() >= sampleAt {
			r.watched.sampleMemory()
			sampleAt = nowUs() + memoryEveryUs
		}
		return complete()+s.closed >= len(s.connections)
	})
	out.ReadMs = (nowUs() - start) / 1000
	// A duplicate would come behind what is complete already.
	r.until(r.config.SettleMs, func() bool { return false })
	t := &s.tally
	out.Opened, out.Closed, out.Complete = s.opened, s.closed, complete()
	out.Messages, out.Declared, out.Gaps = t.received, s.declared, t.gaps
	out.Skipped, out.Duplicates, out.Unreadable = t.skipped, t.duplicates, t.unreadable
	out.NewestGap = s.newestGap
	if s.newestGap >= 0 {
		out.NewestGap = head - s.newestGap
	}
	return out
}

// receipt takes the offsets of a gap receipt as accounted for, when it says about itself what it is.
func (c *connection) receipt(push []byte) {
	s := c.run.stalled
	from, to, count := numberAfter(push, fromMarker), numberAfter(push, toMarker), numberAfter(push, countMarker)
	subscription := c.find(numberAfter(push, channelMarker))
	if from < 0 || to < from || count != to-from+1 || subscription == nil {
		s.tally.unreadable++
		c.run.note(fmt.Sprintf("a gap receipt that is none: %.120s", push))
		return
	}
	before := s.tally.received
	subscription.arrived(from, to, &s.tally)
	s.declared += s.tally.received - before
	s.tally.received = before
	if to > s.newestGap {
		s.newestGap = to
	}
}
