// The open-loop schedule: when each POST is meant to leave, whatever the answers do.
package main

type schedule struct {
	startUs int64
	rate    float64 // publications per second
	count   int     // publications in all
	batch   int     // publications per POST
	sent    int     // publications handed out so far
}

// sizeOfNext is how many publications the next POST carries; the last one may be smaller.
func (s *schedule) sizeOfNext() int {
	if left := s.count - s.sent; left < s.batch {
		return left
	}
	return s.batch
}

// nextUs is when the next POST is due: the moment its last publication comes due. It does not move with late answers.
func (s *schedule) nextUs() int64 {
	last := s.sent + s.sizeOfNext() - 1
	return s.startUs + int64(float64(last)*1e6/s.rate)
}

func (s *schedule) done() bool { return s.sent >= s.count }

func (s *schedule) due(nowUs int64) bool { return !s.done() && nowUs >= s.nextUs() }

// take marks the next POST as handed out.
func (s *schedule) take() (first int, size int, intendedUs int64) {
	intendedUs, size, first = s.nextUs(), s.sizeOfNext(), s.sent
	s.sent += size
	return first, size, intendedUs
}
