// One subscription's place in its channel: every offset exactly once, in order, or it is counted as what it is.
package main

type tally struct {
	received   int64
	skipped    int64
	duplicates int64
	gaps       int64
	unreadable int64
	frames     int64
	reads      int64
	bytes      int64
	lastUs     int64 // when the last message was received
	latency    histogram
	early      histogram // of what was published before run.earlyUntilUs
}

type subscription struct {
	channel int32
	open    bool
	next    int64 // the offset that must come next
}

// arrived accounts for the messages first..last of one frame.
func (s *subscription) arrived(first, last int64, t *tally) {
	switch {
	case first > s.next:
		t.skipped += first - s.next
	case last < s.next:
		t.duplicates += last - first + 1
		return
	case first < s.next:
		t.duplicates += s.next - first
		first = s.next
	}
	t.received += last - first + 1
	s.next = last + 1
}
