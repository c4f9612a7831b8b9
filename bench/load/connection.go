// One subscriber: opens a WebSocket, subscribes, then counts what arrives.
package main

import (
	"bytes"
	"fmt"
	"syscall"
)

type connectionState int

const (
	stateUpgrading connectionState = iota
	stateSubscribing
	stateOpen
	stateClosed
)

// edges is how much of both ends of a frame cut by reads is kept: more than two messages of the largest payload.
func edges(payloadBytes int) int { return 2*payloadBytes + 640 }

type connection struct {
	fd            int
	state         connectionState
	run           *run
	index         int
	retryAfterMs  int64 // of a refusal
	walker        frameWalker
	subscriptions []subscription
	waitingFor    int
	readAll       bool // read each message, not only both ends of a frame
	stalled       bool // see stalled.go
	outbox        []byte
	opcode        byte
	collect       bool // the frame under way is kept whole
	head, tail    []byte
	answer        []byte // the upgrade's answer until it is complete
}

func (c *connection) start(port int, source [4]byte) error {
	fd, err := dial(port, source, c.stalled)
	if err != nil {
		return err
	}
	c.fd = fd
	c.run.handle(fd, c)
	c.outbox = append(c.outbox, c.run.upgrade...)
	return epollCtl(c.run.epoll, syscall.EPOLL_CTL_ADD, fd, syscall.EPOLLIN|syscall.EPOLLOUT)
}

func (c *connection) ready(events uint32) {
	if events&syscall.EPOLLOUT != 0 {
		c.flush()
	}
	if events&^syscall.EPOLLOUT != 0 && c.state != stateClosed {
		c.read()
	}
}

func (c *connection) flush() {
	n := writeSocket(c.fd, c.outbox)
	if n == -2 {
		c.close("write failed")
		return
	}
	if n > 0 {
		c.outbox = c.outbox[n:]
	}
	events := uint32(syscall.EPOLLIN)
	if len(c.outbox) > 0 {
		events |= syscall.EPOLLOUT
	} else {
		c.outbox = nil
	}
	_ = epollCtl(c.run.epoll, syscall.EPOLL_CTL_MOD, c.fd, events)
}

func (c *connection) send(frames []byte) {
	if len(c.outbox) == 0 {
		if n := writeSocket(c.fd, frames); n == len(frames) {
			return
		} else if n > 0 {
			frames = frames[n:]
		}
	}
	c.outbox = append(c.outbox, frames...)
	_ = epollCtl(c.run.epoll, syscall.EPOLL_CTL_MOD, c.fd, syscall.EPOLLIN|syscall.EPOLLOUT)
}

func (c *connection) read() {
	buffer := c.run.buffer
	n := readSocket(c.fd, buffer)
	if n == -1 {
		return
	}
	if n <= 0 {
		c.close("closed by the server")
		return
	}
	c.counts().reads++
	c.counts().bytes += int64(n)
	chunk := buffer[:n]
	if c.state == stateUpgrading {
		if chunk = c.upgraded(chunk); chunk == nil {
			return
		}
	}
	if !c.walker.feed(chunk, c) {
		c.close("a frame no server may send")
	}
}

// upgraded waits for the end of the HTTP answer, sends the first commands, and answers what follows it.
func (c *connection) upgraded(chunk []byte) []byte {
	c.answer = append(c.answer, chunk...)
	end := bytes.Index(c.answer, []byte("\r\n\r\n"))
	if end < 0 {
		return nil
	}
	if !bytes.HasPrefix(c.answer, []byte("HTTP/1.1 101")) {
		c.close(fmt.Sprintf("upgrade refused: %.60s", c.answer))
		return nil
	}
	rest := c.answer[end+4:]
	c.answer = nil
	c.state = stateSubscribing
	c.send(c.run.commands(c))
	return rest
}

func (c *connection) close(why string) {
	if c.state == stateClosed {
		return
	}
	c.run.closed(c, why)
	c.state = stateClosed
	_ = syscall.Close(c.fd)
}

func (c *connection) whole(opcode byte, payload []byte) {
	c.counts().frames++
	switch opcode {
	case opText:
		if c.readAll || c.state != stateOpen || !c.readEnds(payload, payload) {
			c.readEach(payload)
		}
	case opPing:
		c.send(clientFrame(10, payload))
	case opClose:
		c.retryAfterMs = retryAfterMs(payload)
		c.close(fmt.Sprintf("close frame: %q", payload))
	}
}

func (c *connection) begin(opcode byte, size int, part []byte) {
	c.opcode = opcode
	c.collect = c.readAll || c.state != stateOpen || opcode != opText || size <= 2*c.run.edges
	c.head, c.tail = c.head[:0], c.tail[:0]
	c.more(part)
}

func (c *connection) more(part []byte) {
	if c.collect {
		c.head = append(c.head, part...)
		return
	}
	keep := c.run.edges
	if room := keep - len(c.head); room > 0 {
		if room > len(part) {
			room = len(part)
		}
		c.head = append(c.head, part[:room]...)
	}
	if len(part) >= keep {
		c.tail = append(c.tail[:0], part[len(part)-keep:]...)
		return
	}
	if over := len(c.tail) + len(part) - keep; over > 0 {
		c.tail = c.tail[:copy(c.tail, c.tail[over:])]
	}
	c.tail = append(c.tail, part...)
}

func (c *connection) end() {
	if c.collect {
		c.whole(c.opcode, c.head)
		return
	}
	c.counts().frames++
	if !c.readEnds(c.head, c.tail) {
		c.unreadable("a frame that does not begin and end with a message", c.head)
	}
}
