// Readers that take less than they are sent: their kernel buffers are small, so that what they owe lies in the server.
package main

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	slowSegmentBytes = 1460
	slowBufferBytes  = 4096
	slowPause        = 250 * time.Millisecond
	slowReturn       = time.Second
)

// Without a small segment the kernel of the server takes megabytes for each connection over loopback.
var slowDialer = net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		shrinkBuffers(int(fd))
	})
}}

func shrinkBuffers(fd int) {
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, slowBufferBytes)
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, slowSegmentBytes)
}

func readSlowly(config Config) []SlowGroup {
	groups := make([]SlowGroup, len(config.Slow.BytesPerSecond))
	end := time.Now().Add(time.Duration(config.HoldMs) * time.Millisecond)
	var all sync.WaitGroup
	for i := 0; i < config.Slow.Connections; i++ {
		group := &groups[i%len(groups)]
		group.BytesPerSecond = config.Slow.BytesPerSecond[i%len(groups)]
		group.Connections++
		all.Add(1)
		go func() {
			defer all.Done()
			for time.Now().Before(end) {
				group.once(config, end)
				time.Sleep(slowReturn)
			}
		}()
		time.Sleep(time.Millisecond)
	}
	all.Wait()
	return groups
}

// once is one connection from its handshake to its end.
func (g *SlowGroup) once(config Config, end time.Time) {
	conn, err := slowDialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", config.Port))
	if err != nil {
		atomic.AddInt64(&g.Refused, 1)
		return
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", config.Path)
	buffer := make([]byte, 512)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(buffer); err != nil || n < 12 || string(buffer[9:12]) != "101" {
		atomic.AddInt64(&g.Refused, 1)
		return
	}
	atomic.AddInt64(&g.Opened, 1)
	for _, text := range append(config.Frames, `{"id":2,"type":"subscribe","channel":"c0"}`) {
		_, _ = conn.Write(clientFrame(opText, []byte(text)))
	}
	share := make([]byte, g.BytesPerSecond/int(time.Second/slowPause))
	for time.Now().Before(end) {
		if g.BytesPerSecond == 0 {
			// A stalled client learns of its end only by writing: a pong nobody asked for.
			if _, err := conn.Write(clientFrame(10, nil)); err != nil {
				atomic.AddInt64(&g.Closed, 1)
				return
			}
			time.Sleep(time.Second)
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(slowPause))
		n, err := conn.Read(share)
		atomic.AddInt64(&g.Bytes, int64(n))
		if timeout, ok := err.(net.Error); err != nil && !(ok && timeout.Timeout()) {
			atomic.AddInt64(&g.Closed, 1)
			return
		}
		time.Sleep(slowPause)
	}
}
