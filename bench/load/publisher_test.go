// A publisher keeps its connections, whatever the server does to idle ones.
package main

import (
	"net"
	"sync/atomic"
	"testing"
)

func TestAnIdleConnectionThatTheServerClosesCostsNoPublication(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var accepted atomic.Int32
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			if accepted.Add(1) == 1 {
				connection.Close()
			} else {
				defer connection.Close()
			}
		}
	}()
	r, err := newRun(Config{Port: listener.Addr().(*net.TCPAddr).Port})
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPublisher(r, Publish{Connections: 1, Rate: 1, Count: 1, Batch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !r.until(5000, func() bool { return accepted.Load() == 2 }) {
		t.Fatal("it was not opened again")
	}
	if p.refused != 0 || p.answered != 0 || len(p.idle) != 1 || p.gaveUp {
		t.Fatalf("refused %d, answered %d, idle %d, gave up %v", p.refused, p.answered, len(p.idle), p.gaveUp)
	}
}
