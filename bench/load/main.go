// The load generator of `npm run bench`: reads a Config from standard input and prints a Result.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

const (
	openLimitMs   = 60_000
	memoryEveryUs = 100_000
)

// dialsPerTurn is how many connections are begun before the answers to others are read.
const dialsPerTurn = 200

func main() {
	runtime.LockOSThread()
	debug.SetGCPercent(400)
	var config Config
	input := json.NewDecoder(os.Stdin)
	err := input.Decode(&config)
	if err == nil && config.Return != nil {
		var result ReturnResult
		if result, err = comeBack(config, io.MultiReader(input.Buffered(), os.Stdin)); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, os.Stdin)
			return
		}
	}
	if err == nil && config.Slow != nil {
		if err = json.NewEncoder(os.Stdout).Encode(readSlowly(config)); err == nil {
			return
		}
	}
	if err == nil {
		var r *run
		if r, err = newRun(config); err == nil {
			var result Result
			if result, err = r.whole(); err == nil {
				err = json.NewEncoder(os.Stdout).Encode(result)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load generator:", err)
		os.Exit(1)
	}
}

func (r *run) whole() (Result, error) {
	var out Result
	r.openAll(&out)
	r.openStalled()
	r.until(r.config.SettleMs, func() bool { return false })
	if r.config.Publish == nil {
		r.until(r.config.HoldMs, func() bool { return false })
	}
	for i := range r.watched.use {
		r.watched.use[i].RssOpenBytes = rssBytes(r.watched.use[i].Pid)
	}
	if r.config.Publish != nil {
		if err := r.load(&out); err != nil {
			return out, err
		}
		if r.stalled != nil {
			out.Stalled = r.stalled.readOn(r, r.publish.positions.newest(0))
		}
	}
	r.watched.sampleMemory()
	for i := range r.watched.use {
		r.watched.use[i].RssEndBytes = rssBytes(r.watched.use[i].Pid)
	}
	out.Opened, out.Failed, out.Closed = r.okOpen, r.failed, r.lost
	out.Processes, out.Note = r.watched.use, r.noted
	if r.storm != nil {
		out.Storm = r.storm.result
	}
	return out, nil
}

func (r *run) openAll(out *Result) {
	start, cpu, spun := nowUs(), ownCPUSeconds(), r.spunUs
	if r.config.Storm != nil {
		r.storm = newStorm(*r.config.Storm, r.config.Connections)
	}
	for next, end := 0, start+openLimitMs*1000; r.okOpen+r.failed < r.config.Connections && nowUs() < end; {
		for dialed := 0; next < r.config.Connections && next-r.okOpen-r.failed < r.config.Opening && dialed < dialsPerTurn; dialed++ {
			r.open(next)
			next++
		}
		if r.storm != nil {
			for i := r.storm.due(); i >= 0; i = r.storm.due() {
				r.open(i)
			}
		}
		r.turn(1000)
	}
	if missing := r.config.Connections - r.okOpen - r.failed; missing > 0 {
		r.note(fmt.Sprintf("%d connections did not open in %d s", missing, openLimitMs/1000))
		r.failed += missing
	}
	end := nowUs()
	span := float64(end-start) / 1e6
	out.OpenPerSecond = float64(r.okOpen) / span
	out.OpenLoaderCPU = (ownCPUSeconds() - cpu - float64(r.spunUs-spun)/1e6) / span
	r.watched.sinceMark(end, func(use *ProcessUse, cores, starved float64) { use.OpenCPU, use.Starved = cores, starved })
}

// load publishes on schedule and waits until everything has arrived or DrainMs is over.
func (r *run) load(out *Result) error {
	p, err := newPublisher(r, *r.config.Publish)
	if err != nil {
		return err
	}
	if r.config.Probe != nil {
		if r.probe, err = newProbe(r, *r.config.Probe); err != nil {
			return err
		}
	}
	r.until(50, func() bool { return false }) // the publishers' connections get established
	if r.probe != nil {
		r.until(stampLimitMs, r.probe.isReady)
	}
	r.tally = tally{}
	start, cpu, spun := nowUs(), ownCPUSeconds(), r.spunUs
	r.watched.sinceMark(start, func(*ProcessUse, float64, float64) {})
	waited := waitedSeconds(os.Getpid())
	if r.probe != nil {
		r.probe.counting = true
	}
	r.publish = p
	p.begin(start + 1000)
	r.earlyUntilUs = start + 1000 + int64(r.config.Publish.EarlyMs)*1000
	arrived := func() bool { return p.finished() && r.tally.received >= p.expected }
	for drainEnd, sampleAt := int64(0), int64(0); !arrived(); {
		now := nowUs()
		if drainEnd == 0 && (p.schedule.done() || p.gaveUp) {
			drainEnd = now + int64(r.config.DrainMs)*1000
		}
		if drainEnd > 0 && now > drainEnd || r.okOpen > 0 && r.lost == r.okOpen {
			break
		}
		if now > sampleAt {
			r.watched.sampleMemory()
			sampleAt = now + memoryEveryUs
		}
		p.pump()
		if r.probe != nil {
			r.probe.look()
		}
		r.turn(r.sleepUs())
	}
	end := nowUs()
	span := float64(end-start) / 1e6
	r.watched.sinceMark(end, func(use *ProcessUse, cores, starved float64) { use.CPU, use.Starved = cores, starved })
	out.LoaderStarved = (waitedSeconds(os.Getpid()) - waited) / span
	out.LoaderCPU = (ownCPUSeconds() - cpu - float64(r.spunUs-spun)/1e6) / span
	r.report(out, p, start, span)
	return nil
}

func (r *run) sleepUs() int64 {
	sleep := int64(1000)
	if r.probe != nil {
		sleep = 50
	}
	if p := r.publish; !p.schedule.done() && len(p.idle) > 0 {
		if wait := p.schedule.nextUs() - nowUs(); wait < sleep {
			sleep = wait
		}
	}
	if sleep < 0 {
		return 0
	}
	return sleep
}

func (r *run) report(out *Result, p *publisher, start int64, span float64) {
	t := &r.tally
	out.Published, out.Requests, out.Refused = p.published, p.requests, p.refused
	out.Throttled = p.throttled
	out.Positions, out.PositionsOk = p.positions.total()
	out.Expected, out.Received, out.Missing = p.expected, t.received, p.expected-t.received
	out.Skipped, out.Duplicates, out.Gaps, out.Unreadable = t.skipped, t.duplicates, t.gaps, t.unreadable
	out.Frames, out.Reads, out.Bytes = t.frames, t.reads, t.bytes
	if wall := float64(t.lastUs-start) / 1e6; wall > 0 {
		out.DeliveriesPS = float64(t.received) / wall
	}
	out.SpanSeconds, out.PublishedPS = span, float64(out.Positions)/span
	out.Latency, out.Early = t.latency.summary(), t.early.summary()
	out.Answer, out.Waited = p.answer.summary(), p.waited.summary()
	if r.probe != nil {
		out.Probe, out.ProbeOwn = r.probe.roundUs.summary(), r.probe.ownUs.summary()
		r.probe.kept.close()
	}
}
