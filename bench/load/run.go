// One run: open, settle, publish, drain; a single thread over epoll.
package main

import (
	"fmt"
	"os"
	"syscall"
)

type handler interface{ ready(events uint32) }

type run struct {
	config       Config
	epoll        int
	source       [4]byte
	handlers     []handler // by descriptor
	buffer       []byte
	edges        int
	upgrade      []byte
	audience     map[int]int // channel to subscribers
	tally        tally
	now          int64 // start of the event being handled
	earlyUntilUs int64 // latency of what was published before is told apart
	okOpen       int
	failed       int
	lost         int
	spunUs       int64 // processor time spent polling in vain
	spinFrom     int64 // processor time when the polling under way began, -1: none
	lastUs       int64 // last event
	noted        string
	publish      *publisher
	probe        *probe
	watched      *watched
	storm        *storm
	back         *returning
	stalled      *stalled
	events       []syscall.EpollEvent
}

func newRun(config Config) (*run, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	pid := os.Getpid()
	r := &run{config: config, epoll: epoll, buffer: make([]byte, 256<<10), audience: map[int]int{}, edges: edges(0), spinFrom: -1}
	r.events = make([]syscall.EpollEvent, 256)
	r.source = [4]byte{127, byte(1 + pid>>16%200), byte(pid >> 8), byte(1 + pid%250)}
	r.upgrade = []byte("GET " + config.Path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	if config.Publish != nil {
		r.edges = edges(config.Publish.PayloadBytes)
	}
	r.watched = watch(config.Processes, nowUs())
	return r, nil
}

func (r *run) handle(fd int, h handler) {
	for len(r.handlers) <= fd {
		r.handlers = append(r.handlers, make([]handler, 1024)...)
	}
	r.handlers[fd] = h
}

func (r *run) note(text string) {
	if r.noted == "" {
		r.noted = text
	}
}

func (c *connection) unreadable(why string, frame []byte) {
	c.counts().unreadable++
	c.run.note(fmt.Sprintf("%s: %.120s", why, frame))
}

func (r *run) opened(c *connection) {
	if c.stalled {
		r.stalled.stall(c)
		return
	}
	r.okOpen++
	if r.storm != nil {
		r.storm.entered(c.index)
	}
}

func (r *run) closed(c *connection, why string) {
	if r.storm != nil && c.retryAfterMs > 0 {
		r.storm.refused(c.index, c.retryAfterMs)
		return
	}
	r.note(why)
	if c.stalled {
		r.stalled.closed++
		return
	}
	if c.state == stateOpen {
		r.lost++
	} else {
		r.failed++
	}
}

// spread are the marks of a Golomb ruler: two connections share as few channels as can be.
var spread = []int{0, 1, 6, 10, 23, 26, 34, 41, 53, 55, 127, 161, 199, 239, 281, 337}

func (r *run) channelsOf(connection int) []subscription {
	if r.config.Channels == 0 {
		return []subscription{{channel: int32(connection)}}
	}
	subscriptions := make([]subscription, r.config.PerConn)
	for i := range subscriptions {
		subscriptions[i].channel = int32((connection + spread[i%len(spread)]) % r.config.Channels)
	}
	return subscriptions
}

func (r *run) commands(c *connection) []byte {
	var out []byte
	frames := r.config.Frames
	if r.storm != nil && r.storm.resumes(c.index) {
		frames = r.storm.config.ResumeFrames
	}
	for _, text := range frames {
		out = append(out, clientFrame(opText, []byte(text))...)
	}
	if r.back != nil {
		return append(out, clientFrame(opText, []byte(r.back.command(c.index, c.subscriptions[0].channel)))...)
	}
	for i, s := range c.subscriptions {
		text := fmt.Sprintf(`{"id":%d,"type":"subscribe","channel":"c%d"}`, i+2, s.channel)
		out = append(out, clientFrame(opText, []byte(text))...)
	}
	return out
}

func (r *run) open(i int) {
	c := &connection{run: r, index: i, subscriptions: r.channelsOf(i)}
	if r.storm != nil {
		r.storm.attempts[i]++
	}
	c.waitingFor = len(c.subscriptions)
	c.readAll = len(c.subscriptions) > 1 || r.config.SampleEvery > 0 && i%r.config.SampleEvery == 0
	for _, s := range c.subscriptions {
		r.audience[int(s.channel)]++
	}
	if err := c.start(r.config.Port, r.source); err != nil {
		r.note(err.Error())
		r.failed++
	}
}

// turn handles what is ready; an idle loader polls for SpinUs before it sleeps, because waking a sleeper for each
// delivery is charged to the server. The polling is not counted as the loader's work.
func (r *run) turn(sleepUs int64) {
	n := epollWait(r.epoll, r.events, 0)
	if n == 0 {
		if r.spinFrom < 0 {
			r.spinFrom = threadCPUUs()
		}
		if nowUs()-r.lastUs < int64(r.config.SpinUs) {
			return
		}
	}
	if r.spinFrom >= 0 {
		r.spunUs += threadCPUUs() - r.spinFrom
		r.spinFrom = -1
	}
	if n == 0 {
		n = epollWaitUs(r.epoll, r.events, sleepUs)
	}
	if n > 0 {
		r.lastUs = nowUs()
	}
	for i := 0; i < n; i++ {
		if i%16 == 0 {
			r.now = nowUs()
			if i > 0 && r.publish != nil {
				r.publish.pump()
			}
			if r.probe != nil {
				r.probe.look()
			}
		}
		if h := r.handlers[r.events[i].Fd]; h != nil {
			h.ready(r.events[i].Events)
		}
	}
}

// until turns until the condition holds or the time is over.
func (r *run) until(limitMs int, done func() bool) bool {
	for end := nowUs() + int64(limitMs)*1000; !done(); {
		if nowUs() >= end {
			return false
		}
		r.turn(1000)
	}
	return true
}
