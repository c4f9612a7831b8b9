// A storm: all connections at once, some of them resuming, each refused one comes back exactly when it was told to.
package main

import (
	"bytes"
	"sort"
	"strconv"
)

const (
	closeTryLater = 1013
	stormBinMs    = 100
)

// Storm asks for it; StormResult is what became of it.
type Storm struct {
	ResumeEvery  int      `json:"resumeEvery"` // every n-th connection resumes
	ResumeFrames []string `json:"resumeFrames"`
}

type StormResult struct {
	PerBin        []int   `json:"perBin"` // let in per 100 ms
	Refusals      int     `json:"refusals"`
	Resuming      int     `json:"resuming"`
	ResumedAtOnce int     `json:"resumedAtOnce"`
	LastMs        float64 `json:"lastMs"` // from the first attempt until the last one is in
	LastResumeMs  float64 `json:"lastResumeMs"`
}

type stormReturn struct {
	atUs  int64
	index int
}

type storm struct {
	config   Storm
	startUs  int64
	attempts []int
	returns  []stormReturn // by time
	result   StormResult
}

func newStorm(config Storm, connections int) *storm {
	s := &storm{config: config, attempts: make([]int, connections), startUs: nowUs()}
	s.result.Resuming = (connections + config.ResumeEvery - 1) / config.ResumeEvery
	return s
}

func (s *storm) resumes(index int) bool { return index%s.config.ResumeEvery == 0 }

// retryAfterMs reads what a close frame says, -1 when it says nothing of the kind.
func retryAfterMs(payload []byte) int64 {
	if len(payload) < 2 || int(payload[0])<<8|int(payload[1]) != closeTryLater {
		return -1
	}
	_, digits, found := bytes.Cut(payload[2:], []byte("retryAfterMs="))
	delay, err := strconv.ParseInt(string(digits), 10, 64)
	if !found || err != nil {
		return -1
	}
	return delay
}

func (s *storm) refused(index int, delayMs int64) {
	s.result.Refusals++
	at := nowUs() + delayMs*1000
	place := sort.Search(len(s.returns), func(i int) bool { return s.returns[i].atUs > at })
	s.returns = append(s.returns, stormReturn{})
	copy(s.returns[place+1:], s.returns[place:])
	s.returns[place] = stormReturn{at, index}
}

// due takes the next one whose moment has come, -1 when there is none.
func (s *storm) due() int {
	if len(s.returns) == 0 || s.returns[0].atUs > nowUs() {
		return -1
	}
	index := s.returns[0].index
	s.returns = s.returns[1:]
	return index
}

func (s *storm) entered(index int) {
	afterMs := float64(nowUs()-s.startUs) / 1000
	bin := int(afterMs / stormBinMs)
	for len(s.result.PerBin) <= bin {
		s.result.PerBin = append(s.result.PerBin, 0)
	}
	s.result.PerBin[bin]++
	s.result.LastMs = afterMs
	if s.resumes(index) {
		s.result.LastResumeMs = afterMs
		if s.attempts[index] == 1 {
			s.result.ResumedAtOnce++
		}
	}
}
