// A keep-alive HTTP/1.1 connection with at most one request outstanding.
package main

import (
	"bytes"
	"strconv"
	"syscall"
)

type httpConnection struct {
	fd        int
	run       *run
	out       []byte // what the socket has not taken yet
	in        []byte
	busy      bool
	sentUs    int64
	arrivedUs int64                         // of the answer, us of the wall clock; 0 unless stamped
	stamped   bool                          // the kernel tells when answers arrive
	answer    func(status int, body []byte) // called once per request; the body is valid during the call
	later     bool                          // the answer said Retry-After; as of the call of answer
	failure   func(why string)
}

func (h *httpConnection) open(port int, source [4]byte) error {
	fd, err := dial(port, source, false)
	if err != nil {
		return err
	}
	if h.stamped {
		if err = stampArrivals(fd); err != nil {
			_ = syscall.Close(fd)
			return err
		}
	}
	h.fd, h.in, h.out = fd, h.in[:0], h.out[:0]
	h.run.handle(fd, h)
	return epollCtl(h.run.epoll, syscall.EPOLL_CTL_ADD, fd, syscall.EPOLLIN|syscall.EPOLLOUT)
}

func (h *httpConnection) request(head, body []byte) {
	h.busy = true
	h.sentUs = nowUs()
	h.out = append(append(h.out[:0], head...), body...)
	h.flush()
}

func (h *httpConnection) flush() {
	for sent := 0; ; {
		n := writeSocket(h.fd, h.out[sent:])
		if n > 0 {
			sent += n
		}
		if n == -2 {
			h.failure("write failed")
			return
		}
		if sent == len(h.out) || n == -1 {
			left := copy(h.out, h.out[sent:])
			h.out = h.out[:left]
			if left > 0 {
				_ = epollCtl(h.run.epoll, syscall.EPOLL_CTL_MOD, h.fd, syscall.EPOLLIN|syscall.EPOLLOUT)
			}
			return
		}
	}
}

func (h *httpConnection) ready(events uint32) {
	if events&syscall.EPOLLOUT != 0 {
		_ = epollCtl(h.run.epoll, syscall.EPOLL_CTL_MOD, h.fd, syscall.EPOLLIN)
		h.flush()
	}
	if events&^syscall.EPOLLOUT != 0 {
		h.read()
	}
}

func (h *httpConnection) receive() (n int) {
	if !h.stamped {
		return readSocket(h.fd, h.run.buffer)
	}
	n, h.arrivedUs = readArrival(h.fd, h.run.buffer)
	return n
}

func (h *httpConnection) read() {
	n := h.receive()
	if n == -1 {
		return
	}
	if n <= 0 {
		_ = syscall.Close(h.fd)
		h.failure("connection lost")
		return
	}
	h.in = append(h.in, h.run.buffer[:n]...)
	head := bytes.Index(h.in, []byte("\r\n\r\n"))
	if head < 0 {
		return
	}
	status, size := parseHead(h.in[:head])
	if size < 0 {
		_ = syscall.Close(h.fd)
		h.failure("an answer without Content-Length")
		return
	}
	body := h.in[head+4:]
	if len(body) < size {
		return
	}
	h.busy = false
	answered := body[:size]
	h.later = bytes.Contains(bytes.ToLower(h.in[:head]), []byte("\r\nretry-after:"))
	h.in = h.in[:0] // one outstanding request: nothing can follow the answer
	h.answer(status, answered)
}

// parseHead answers the status and the body's size, -1 when the answer does not say.
func parseHead(head []byte) (status, size int) {
	if len(head) > 12 {
		status, _ = strconv.Atoi(string(head[9:12]))
	}
	lower := bytes.ToLower(head)
	at := bytes.Index(lower, []byte("\r\ncontent-length:"))
	if at < 0 {
		return status, -1
	}
	value := lower[at+len("\r\ncontent-length:"):]
	if end := bytes.IndexByte(value, '\r'); end >= 0 {
		value = value[:end]
	}
	size, err := strconv.Atoi(string(bytes.TrimSpace(value)))
	if err != nil {
		return status, -1
	}
	return status, size
}
