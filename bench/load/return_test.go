// When a client that came back has everything, and what it asks for.
package main

import "testing"

func TestAClientComesBackBehindWhatItHasAndIsBackAtTheHead(t *testing.T) {
	r := &run{back: &returning{cursors: make([]int64, 2), openedUs: make([]int64, 2)}}
	subscribe := func(index int) *connection {
		c := &connection{run: r, index: index, subscriptions: []subscription{{channel: 0}}, waitingFor: 1, state: stateSubscribing}
		c.whole(opText, []byte(`{"type":"subscribed","id":2,"channel":"c0","epoch":"e1","offset":4,"recovered":true}`))
		return c
	}
	subscribe(0)
	subscribe(1)
	if command := r.back.command(0, 0); command != `{"id":2,"type":"subscribe","channel":"c0"}` {
		t.Fatal(command)
	}
	r.back.head = 6
	if command := r.back.command(0, 0); command != `{"id":2,"type":"subscribe","channel":"c0","since":{"epoch":"e1","offset":4}}` {
		t.Fatal(command)
	}
	c := subscribe(0)
	c.whole(opText, []byte(`[{"type":"message","channel":"c0","offset":5},{"type":"message","channel":"c0","offset":6}]`))
	c.whole(opText, []byte(`{"type":"message","channel":"c0","offset":7}`))
	if r.back.back != 1 || r.tally.received != 3 || r.tally.skipped+r.tally.duplicates != 0 {
		t.Fatalf("back %d, %+v", r.back.back, r.tally)
	}
	hole := subscribe(1)
	hole.whole(opText, []byte(`{"type":"message","channel":"c0","offset":6}`))
	if r.tally.skipped != 1 || r.back.back != 2 {
		t.Fatalf("back %d, %+v", r.back.back, r.tally)
	}
}
