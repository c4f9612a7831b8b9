// What a subscriber makes of a text frame: by both ends, or message by message.
package main

import "fmt"

// readEnds counts a frame of consecutive messages of the only subscription; false when it is not one.
func (c *connection) readEnds(head, tail []byte) bool {
	first, last, ok := firstAndLastOffset(head, tail)
	if ok {
		c.subscriptions[0].arrived(first, last, c.counts())
		c.counts().lastUs = c.run.now
		if c.run.back != nil {
			c.run.back.arrived(c.index, c.subscriptions[0].next)
		}
	}
	return ok
}

func (c *connection) readEach(frame []byte) {
	now := nowUs()
	for {
		kind, push, rest, ok := nextPush(frame)
		if !ok {
			return
		}
		frame = rest
		switch kind {
		case pushMessage:
			c.readMessage(push, now)
		case pushSubscribed:
			c.subscribed(push)
		case pushGap:
			c.counts().gaps++
			if c.stalled {
				c.receipt(push)
			}
		case pushError:
			c.run.note(fmt.Sprintf("error push: %.120s", push))
			if c.state == stateSubscribing {
				c.close("a command was refused")
				return
			}
		case pushOther:
		}
	}
}

func (c *connection) find(channel int64) *subscription {
	for i := range c.subscriptions {
		if int64(c.subscriptions[i].channel) == channel {
			return &c.subscriptions[i]
		}
	}
	return nil
}

func (c *connection) readMessage(push []byte, now int64) {
	offset, stamp := numberAfter(push, offsetMarker), numberAfter(push, stampMarker)
	s := c.find(numberAfter(push, channelMarker))
	if offset < 0 || stamp < 0 || s == nil {
		c.unreadable("a message without offset, publish time or known channel", push)
		return
	}
	t := c.counts()
	before := t.received
	s.arrived(offset, offset, t)
	t.lastUs = now
	if t.received == before {
		return
	}
	if stamp < c.run.earlyUntilUs {
		t.early.add(now - stamp)
	} else {
		t.latency.add(now - stamp)
	}
}

func (c *connection) subscribed(push []byte) {
	s := c.find(numberAfter(push, channelMarker))
	if s == nil || s.open {
		return
	}
	s.open = true
	s.next = numberAfter(push, offsetMarker) + 1
	if b := c.run.back; b != nil && b.isCalled() {
		s.next = b.cursors[c.index]
	} else if b != nil {
		b.epoch = textAfter(push, epochMarker)
		b.arrived(c.index, s.next)
	}
	if c.waitingFor--; c.waitingFor == 0 {
		c.state = stateOpen
		c.run.opened(c)
	}
}
