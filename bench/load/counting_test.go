// Counting, percentiles and the schedule: what the figures rest on.
package main

import (
	"math/rand"
	"sort"
	"testing"
)

func TestAHoleADuplicateAndAnOverlapAreCountedAsSuch(t *testing.T) {
	s, got := subscription{next: 1}, tally{}
	s.arrived(1, 3, &got)
	s.arrived(6, 7, &got) // 4 and 5 are missing
	s.arrived(2, 2, &got) // late and seen
	s.arrived(7, 8, &got) // 7 again, 8 new
	if got.received != 6 || got.skipped != 2 || got.duplicates != 2 || s.next != 9 {
		t.Fatalf("received %d skipped %d duplicates %d next %d", got.received, got.skipped, got.duplicates, s.next)
	}
}

func TestAFrameThatEndsWithAnotherPushIsNotCountedByItsEnds(t *testing.T) {
	mixed := []byte(`[{"type":"message","channel":"c0","offset":4,"data":{"t":1}},{"type":"gap","channel":"c0","from":5,"to":6,"offset":9}]`)
	if _, _, ok := firstAndLastOffset(mixed, mixed); ok {
		t.Fatal("a gap was taken for a message")
	}
	r := &run{}
	c := &connection{run: r, state: stateOpen, subscriptions: []subscription{{open: true, next: 4}}}
	c.whole(opText, mixed)
	if r.tally.received != 1 || r.tally.gaps != 1 {
		t.Fatalf("received %d gaps %d", r.tally.received, r.tally.gaps)
	}
}

func TestAReaderThatStalledAccountsForMessagesAndReceiptsAndForNothingElse(t *testing.T) {
	r := &run{stalled: &stalled{newestGap: -1}}
	c := &connection{run: r, state: stateOpen, stalled: true, readAll: true, subscriptions: []subscription{{open: true, next: 4}}}
	read := func(text string) { c.whole(opText, []byte(text)) }
	read(`[{"type":"message","channel":"c0","offset":4,"data":{"t":1}},{"type":"gap","channel":"c0","from":5,"to":8,"count":4,"reason":"expired"}]`)
	read(`{"type":"gap","channel":"c0","from":9,"to":10,"count":3,"reason":"expired"}`) // counts wrongly
	read(`{"type":"gap","channel":"c0","from":null,"to":null,"count":null,"reason":"epoch"}`)
	read(`{"type":"message","channel":"c0","offset":11,"data":{"t":1}}`) // 9 and 10 are missing
	read(`{"type":"gap","channel":"c0","from":10,"to":12,"count":3,"reason":"expired"}`)
	s := r.stalled
	if s.tally.received != 2 || s.declared != 5 || s.tally.gaps != 4 || s.newestGap != 12 {
		t.Errorf("received %d declared %d gaps %d newest %d", s.tally.received, s.declared, s.tally.gaps, s.newestGap)
	}
	if s.tally.unreadable != 2 || s.tally.skipped != 2 || s.tally.duplicates != 2 || c.subscriptions[0].next != 13 {
		t.Errorf("unreadable %d skipped %d duplicates %d next %d", s.tally.unreadable, s.tally.skipped, s.tally.duplicates, c.subscriptions[0].next)
	}
	if r.tally.received+r.tally.gaps+r.tally.unreadable != 0 {
		t.Errorf("counted as a reader's: %+v", r.tally)
	}
}

func TestAMessageWithoutOffsetIsUnreadable(t *testing.T) {
	r := &run{}
	c := &connection{run: r, state: stateOpen, subscriptions: []subscription{{open: true, next: 1}}}
	c.whole(opText, []byte(`{"type":"message","channel":"c0","data":{"t":1}}`))
	if r.tally.unreadable != 1 || r.tally.received != 0 {
		t.Fatalf("unreadable %d received %d", r.tally.unreadable, r.tally.received)
	}
}

func TestPositionsWithAHoleOrARepetitionAreNotContiguous(t *testing.T) {
	for name, offsets := range map[string][]int64{"hole": {1, 2, 4}, "repetition": {1, 2, 2}, "repetition that fills": {1, 3, 3, 4}} {
		l := ledger{}
		for _, offset := range offsets {
			l.add(0, offset)
		}
		if _, ok := l.total(); ok {
			t.Errorf("%s was taken for contiguous", name)
		}
	}
	l := ledger{}
	for _, offset := range []int64{7, 5, 6} {
		l.add(0, offset)
	}
	if n, ok := l.total(); n != 3 || !ok {
		t.Error("offsets answered out of order are contiguous all the same")
	}
}

func TestPercentilesStayWithinTheBucketError(t *testing.T) {
	random := rand.New(rand.NewSource(3))
	var h histogram
	values := make([]int, 20000)
	for i := range values {
		values[i] = int(random.ExpFloat64() * 20000)
		h.add(int64(values[i]))
	}
	sort.Ints(values)
	for _, share := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := float64(values[int(share*float64(len(values))+0.999999)-1])
		got := float64(h.percentileUs(share))
		if got < want || got > want*1.016+1 {
			t.Errorf("percentile %v is %v, exactly %v", share, got, want)
		}
	}
	if h.maxUs != uint64(values[len(values)-1]) {
		t.Error("the maximum is not exact")
	}
}

func TestAnEmptyHistogramAnswersZero(t *testing.T) {
	var h histogram
	if s := h.summary(); s != (Latency{}) {
		t.Fatalf("%+v", s)
	}
}

func TestEveryValueFallsIntoItsBucket(t *testing.T) {
	for us := uint64(0); us < 1<<40; us = us*3/2 + 1 {
		b := bucketOf(us)
		if us > upperBound(b) || b > 0 && us <= upperBound(b-1) {
			t.Fatalf("%d is not in bucket %d", us, b)
		}
	}
}

func TestTheScheduleKeepsIntendedTimesWhenItIsServedLate(t *testing.T) {
	s := schedule{startUs: 1000, rate: 1000, count: 5, batch: 2}
	if s.due(1999) || !s.due(2000) {
		t.Fatal("a batch is due when its last publication is")
	}
	want := []struct{ first, size, at int }{{0, 2, 2000}, {2, 2, 4000}, {4, 1, 5000}}
	for _, w := range want { // all taken far too late
		first, size, at := s.take()
		if first != w.first || size != w.size || at != int64(w.at) {
			t.Fatalf("got %d+%d at %d, want %+v", first, size, at, w)
		}
	}
	if !s.done() || s.due(1<<40) {
		t.Fatal("a finished schedule has nothing due")
	}
}

func TestThePayloadHasTheSizeAskedFor(t *testing.T) {
	p := &publisher{run: &run{config: Config{Channels: 1}}, config: Publish{PayloadBytes: 128}, padding: make([]byte, 128)}
	const around = len(`{"channel":"c0","data":}`)
	if n := len(p.item(12345, 1_234_567)); n != 128+around {
		t.Fatalf("item of %d bytes", n)
	}
}

func TestConnectionsSpreadEvenlyOverChannels(t *testing.T) {
	r := &run{config: Config{Channels: 1000, PerConn: 10}}
	seen := map[int32]int{}
	for i := 0; i < 1000; i++ {
		for _, s := range r.channelsOf(i) {
			seen[s.channel]++
		}
	}
	for channel, n := range seen {
		if n != 10 {
			t.Fatalf("channel %d has %d subscribers", channel, n)
		}
	}
}
