// Asks for a small page over and over: the longest answer is how long the server's loop was held.
package main

type probe struct {
	run      *run
	config   Probe
	http     *httpConnection
	request  []byte
	nextUs   int64
	stopped  bool
	roundUs  histogram
	counting bool
}

func newProbe(r *run, config Probe) (*probe, error) {
	p := &probe{run: r, config: config}
	p.request = []byte("GET " + config.Path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	p.http = &httpConnection{run: r}
	p.http.failure = func(why string) {
		p.stopped = true
		r.note("probe: " + why)
	}
	p.http.answer = func(status int, body []byte) {
		now := nowUs()
		if p.counting {
			p.roundUs.add(now - p.http.sentUs)
		}
		if status != 200 {
			p.http.failure("not answered 200")
		}
		p.nextUs = now + int64(config.EveryUs)
	}
	return p, p.http.open(r.config.Port, r.source)
}

// look asks when it is time, and reads an answer at once, ahead of the subscribers' sockets.
func (p *probe) look() {
	if p.stopped {
		return
	}
	if p.http.busy {
		p.http.read()
	} else if nowUs() >= p.nextUs {
		p.http.request(p.request, nil)
	}
}
