// Publishes on the open-loop schedule over keep-alive connections and checks the positions answered.
package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// giveUpMs: a schedule that far behind cannot be a pass, so the rest is not worth the time.
const giveUpMs = 2_000

type publisher struct {
	run       *run
	config    Publish
	schedule  schedule
	idle      []*httpConnection
	lines     []byte // request line and headers up to the value of Content-Length
	head      []byte
	body      []byte
	padding   []byte
	published int
	requests  int
	answered  int
	refused   int
	throttled int
	expected  int64
	gaveUp    bool
	positions ledger
	answer    histogram
	waited    histogram
}

func newPublisher(r *run, config Publish) (*publisher, error) {
	if config.GiveUpMs == 0 {
		config.GiveUpMs = giveUpMs
	}
	p := &publisher{run: r, config: config, positions: ledger{}}
	p.lines = []byte("POST " + config.Path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n")
	for _, header := range config.Headers {
		p.lines = append(p.lines, header+"\r\n"...)
	}
	p.lines = append(p.lines, "Content-Length: "...)
	p.padding = bytes.Repeat([]byte("x"), config.PayloadBytes)
	for i := 0; i < config.Connections; i++ {
		h := &httpConnection{run: r}
		h.failure = func(why string) {
			// A server may close what has been idle for long; that costs no publication.
			if h.busy || h.open(r.config.Port, r.source) != nil {
				p.lost(why)
			}
		}
		if err := h.open(r.config.Port, r.source); err != nil {
			return nil, err
		}
		p.idle = append(p.idle, h)
	}
	return p, nil
}

func (p *publisher) begin(now int64) {
	p.schedule = schedule{startUs: now, rate: p.config.Rate, count: p.config.Count, batch: p.config.Batch}
}

func (p *publisher) finished() bool {
	return (p.schedule.done() || p.gaveUp) && p.answered >= p.requests
}

// pump sends what is due while a connection is free.
func (p *publisher) pump() {
	for now := nowUs(); !p.gaveUp && p.schedule.due(now); now = nowUs() {
		if now-p.schedule.nextUs() > int64(p.config.GiveUpMs)*1000 {
			p.gaveUp = true
			p.run.note(fmt.Sprintf("publishers fell %d ms behind the schedule", p.config.GiveUpMs))
			return
		}
		if len(p.idle) == 0 {
			return
		}
		// The one that has been idle longest: each is a publisher of its own, and none is idle for so long that the server closes it.
		h := p.idle[0]
		p.idle = p.idle[1:]
		p.post(h, now)
	}
}

func (p *publisher) post(h *httpConnection, now int64) {
	first, size, intended := p.schedule.take()
	p.waited.add(now - intended)
	p.body = p.body[:0]
	if p.config.Batch > 1 {
		p.body = append(p.body, `{"commands":[`...)
	}
	for i := first; i < first+size; i++ {
		if i > first {
			p.body = append(p.body, ',')
		}
		if p.config.Batch > 1 {
			p.body = append(append(p.body, `{"publish":`...), p.item(i, intended)...)
			p.body = append(p.body, '}')
		} else {
			p.body = append(p.body, p.item(i, intended)...)
		}
	}
	if p.config.Batch > 1 {
		p.body = append(p.body, `]}`...)
	}
	p.head = strconv.AppendInt(append(p.head[:0], p.lines...), int64(len(p.body)), 10)
	p.head = append(p.head, "\r\n\r\n"...)
	p.published += size
	p.requests++
	h.answer = func(status int, body []byte) {
		p.answered++
		p.answer.add(nowUs() - h.sentUs)
		p.idle = append(p.idle, h)
		p.accept(first, size, status, h.later, body)
	}
	h.request(p.head, p.body)
}

// item is one publication; its data is PayloadBytes long and starts with the intended publish time in microseconds.
func (p *publisher) item(n int, intended int64) []byte {
	out := make([]byte, 0, p.config.PayloadBytes+48)
	out = strconv.AppendInt(append(out, `{"channel":"c`...), int64(p.channelOf(n)), 10)
	out = append(out, `","data":`...)
	start := len(out)
	out = strconv.AppendInt(append(out, `{"t":`...), intended, 10)
	out = strconv.AppendInt(append(out, `,"s":`...), int64(n), 10)
	out = append(out, `,"p":"`...)
	if pad := p.config.PayloadBytes - (len(out) - start) - 2; pad > 0 {
		out = append(out, p.padding[:pad]...)
	}
	return append(out, `"}}`...)
}

func (p *publisher) channelOf(n int) int {
	if p.run.config.Channels == 0 {
		return 0
	}
	return n % p.run.config.Channels
}

// accept checks one answer: 2xx, and one offset per publication in the order sent.
func (p *publisher) accept(first, size, status int, later bool, body []byte) {
	if status == 429 && later {
		p.refused++
		p.throttled++
		return
	}
	if status < 200 || status > 299 {
		p.refused++
		p.run.note(fmt.Sprintf("publish answered %d %.120s", status, body))
		return
	}
	if n := bytes.Count(body, offsetMarker); n != size {
		p.run.note(fmt.Sprintf("%d positions for %d publications: %.120s", n, size, body))
		return
	}
	for i := first; i < first+size; i++ {
		at := bytes.Index(body, offsetMarker)
		body = body[at+len(offsetMarker):]
		p.positions.add(p.channelOf(i), numberAt(body, 0))
		p.expected += int64(p.run.audience[p.channelOf(i)])
	}
}

func (p *publisher) lost(why string) {
	p.answered++
	p.refused++
	p.run.note("publisher: " + why)
	if len(p.idle) == 0 {
		p.gaveUp = true
	}
}

// ledger proves that positions are unique and without holes: per channel, n distinct offsets fill max-min+1.
type ledger map[int]*span

type span struct{ count, sum, min, max int64 }

func (l ledger) add(channel int, offset int64) {
	s := l[channel]
	if s == nil {
		s = &span{min: offset, max: offset}
		l[channel] = s
	}
	s.count++
	s.sum += offset
	if offset < s.min {
		s.min = offset
	}
	if offset > s.max {
		s.max = offset
	}
}

// newest is the highest offset answered for the channel, 0 when there was none.
func (l ledger) newest(channel int) int64 {
	if s := l[channel]; s != nil {
		return s.max
	}
	return 0
}

func (l ledger) total() (n int, contiguous bool) {
	contiguous = true
	for _, s := range l {
		n += int(s.count)
		if s.max-s.min+1 != s.count || s.sum*2 != (s.min+s.max)*s.count {
			contiguous = false
		}
	}
	return n, contiguous
}
