// What a refused client is told, and that those who return do so in the order of their moments.
package main

import "testing"

func TestTheDelayOfARefusalIsReadFromItsReason(t *testing.T) {
	for payload, want := range map[string]int64{
		"\x03\xf5retryAfterMs=1234": 1234,
		"\x03\xf5busy":              -1,
		"\x03\xf4retryAfterMs=5":    -1, // 1012
		"":                          -1,
	} {
		if got := retryAfterMs([]byte(payload)); got != want {
			t.Fatalf("%q: %d, expected %d", payload, got, want)
		}
	}
}

func TestRefusedClientsReturnInTheOrderOfTheirMoments(t *testing.T) {
	s := newStorm(Storm{ResumeEvery: 2}, 4)
	s.refused(3, -1)
	s.refused(1, 60_000)
	s.refused(2, -5)
	if first, second, third := s.due(), s.due(), s.due(); first != 2 || second != 3 || third != -1 {
		t.Fatalf("returned %d, %d, %d", first, second, third)
	}
	if s.result.Resuming != 2 || s.result.Refusals != 3 {
		t.Fatalf("resuming %d refusals %d", s.result.Resuming, s.result.Refusals)
	}
}
