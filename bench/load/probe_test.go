package main

import "testing"

func TestOwnTime(t *testing.T) {
	for _, c := range []struct {
		name                                string
		tookUs, bookedUs, beforeUs, afterUs int64
		wantUs                              int64
	}{
		{"nothing booked", 3_000, 0, 200, 50, 3_000},
		{"a wait that must have been within the answer", 17_000, 15_000, 200, 50, 2_250},
		{"one that may all have been before the question", 1_000, 4_000, 5_000, 50, 1_000},
		{"one that may all have been after the answer", 1_000, 4_000, 200, 5_000, 1_000},
		{"part of it may have been before, part after", 10_000, 8_000, 2_000, 1_000, 5_000},
		{"more booked than clocks allow", 1_000, 9_000, 200, 50, 0},
		{"no answer before this one", 17_000, 15_000, 1 << 60, 50, 17_000},
	} {
		if got := ownUs(c.tookUs, c.bookedUs, c.beforeUs, c.afterUs); got != c.wantUs {
			t.Errorf("%s: %d us, want %d", c.name, got, c.wantUs)
		}
	}
}
