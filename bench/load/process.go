// CPU time and memory of processes as the kernel counts them.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

const clockTicksPerSecond = 100 // USER_HZ, fixed on Linux

// cpuSeconds is the user and system time a process has used.
func cpuSeconds(pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(string(fields[11]), 64)
	system, _ := strconv.ParseFloat(string(fields[12]), 64)
	return (user + system) / clockTicksPerSecond
}

// rssBytes is the resident memory of a process.
func rssBytes(pid int) int64 {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}

// ownCPUSeconds has a finer grain than the clock ticks of /proc.
func ownCPUSeconds() float64 {
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) != nil {
		return 0
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(use.Utime) + seconds(use.Stime)
}

// waitedSeconds is how long the main thread of a process was ready to run but had no core, 0 where the kernel does not say.
func waitedSeconds(pid int) float64 {
	s := openSchedstat(fmt.Sprintf("/proc/%d/schedstat", pid))
	defer s.close()
	_, waitedUs := s.read()
	return float64(waitedUs) / 1e6
}

// schedstat is the kernel's account of one thread, for who asks often.
type schedstat struct {
	file   *os.File
	buffer [96]byte
}

func openSchedstat(path string) *schedstat {
	file, _ := os.Open(path)
	return &schedstat{file: file}
}

// read says how long the thread ran, and how long it was ready to but had no core; of a stretch that lasts still the kernel may not know yet.
func (s *schedstat) read() (ranUs, waitedUs int64) {
	n, _ := s.file.ReadAt(s.buffer[:], 0)
	fields := bytes.Fields(s.buffer[:n])
	if len(fields) < 2 {
		return 0, 0
	}
	ran, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	waited, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return ran / 1000, waited / 1000
}

func (s *schedstat) close() { _ = s.file.Close() }

// keptWaiting is how long others kept the main thread of a process from a core. Its own other threads, as those that collect
// garbage for it, are no others: all that they ran is taken off, whether the main thread waited for it or not.
type keptWaiting struct {
	main    *schedstat
	helpers []*schedstat
}

// openKeptWaiting looks at the threads that there are.
func openKeptWaiting(pid int) *keptWaiting {
	k := &keptWaiting{main: openSchedstat(fmt.Sprintf("/proc/%d/schedstat", pid))}
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		if thread.Name() != strconv.Itoa(pid) {
			k.helpers = append(k.helpers, openSchedstat(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, thread.Name())))
		}
	}
	return k
}

func (k *keptWaiting) us() int64 {
	_, keptUs := k.main.read()
	for _, helper := range k.helpers {
		ranUs, _ := helper.read()
		keptUs -= ranUs
	}
	return keptUs
}

func (k *keptWaiting) close() {
	k.main.close()
	for _, helper := range k.helpers {
		helper.close()
	}
}

// watched follows the processes of Config.Processes through a run.
type watched struct {
	use    []ProcessUse
	cpu    []float64
	waited []float64
	markUs int64
}

func watch(processes []Process, nowUs int64) *watched {
	w := &watched{cpu: make([]float64, len(processes)), waited: make([]float64, len(processes)), markUs: nowUs}
	for i, p := range processes {
		rss := rssBytes(p.Pid)
		w.use = append(w.use, ProcessUse{Name: p.Name, Pid: p.Pid, RssBeforeBytes: rss, RssMaxBytes: rss})
		w.cpu[i], w.waited[i] = cpuSeconds(p.Pid), waitedSeconds(p.Pid)
	}
	return w
}

// sinceMark reports CPU use and waiting for a core since the last call and starts a new span.
func (w *watched) sinceMark(nowUs int64, store func(use *ProcessUse, cores, starved float64)) {
	span := float64(nowUs-w.markUs) / 1e6
	for i := range w.use {
		cpu, waited := cpuSeconds(w.use[i].Pid), waitedSeconds(w.use[i].Pid)
		store(&w.use[i], (cpu-w.cpu[i])/span, (waited-w.waited[i])/span)
		w.cpu[i], w.waited[i] = cpu, waited
	}
	w.markUs = nowUs
}

func (w *watched) sampleMemory() {
	for i := range w.use {
		if rss := rssBytes(w.use[i].Pid); rss > w.use[i].RssMaxBytes {
			w.use[i].RssMaxBytes = rss
		}
	}
}
