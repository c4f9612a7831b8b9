// Reads what the bench needs out of pushes without parsing JSON: kind, channel, offset and publish time.
//
// It relies on `type` being the first field of a message, as the protocol shows it, and on the bench's own payloads
// holding none of the markers below.
package main

import "bytes"

var (
	typeMarker    = []byte(`"type":"`)
	messageStart  = []byte(`{"type":"message"`)
	offsetMarker  = []byte(`"offset":`)
	channelMarker = []byte(`"channel":"c`)
	stampMarker   = []byte(`"data":{"t":`)
	epochMarker   = []byte(`"epoch":"`)
	fromMarker    = []byte(`"from":`)
	toMarker      = []byte(`"to":`)
	countMarker   = []byte(`"count":`)
)

type pushKind int

const (
	pushMessage pushKind = iota
	pushSubscribed
	pushGap
	pushError
	pushOther
)

// numberAfter is the integer behind the first marker in text, or -1.
func numberAfter(text, marker []byte) int64 {
	at := bytes.Index(text, marker)
	if at < 0 {
		return -1
	}
	return numberAt(text, at+len(marker))
}

func numberAt(text []byte, at int) int64 {
	value, start := int64(0), at
	for at < len(text) && text[at] >= '0' && text[at] <= '9' {
		value = value*10 + int64(text[at]-'0')
		at++
	}
	if at == start {
		return -1
	}
	return value
}

// textAfter is the JSON string behind the first marker, which ends with its opening quote; it has no escapes in it.
func textAfter(text, marker []byte) string {
	_, rest, _ := bytes.Cut(text, marker)
	value, _, _ := bytes.Cut(rest, []byte{'"'})
	return string(value)
}

// startsWithMessage says whether a frame begins with a message, alone or first of an array.
func startsWithMessage(payload []byte) bool {
	if len(payload) > 0 && payload[0] == '[' {
		payload = payload[1:]
	}
	return bytes.HasPrefix(payload, messageStart)
}

// firstAndLastOffset reads a frame of messages by its two ends; head and tail may overlap or be the same slice, and each
// must hold a whole first or last message. ok is false when an end is no message.
func firstAndLastOffset(head, tail []byte) (first, last int64, ok bool) {
	if !startsWithMessage(head) {
		return 0, 0, false
	}
	first = numberAfter(head, offsetMarker)
	if head[0] == '{' {
		return first, first, first >= 0
	}
	at := bytes.LastIndex(tail, typeMarker)
	if at < 1 || !bytes.HasPrefix(tail[at-1:], messageStart) {
		return 0, 0, false
	}
	last = numberAfter(tail[at:], offsetMarker)
	return first, last, first >= 0 && last >= first
}

// nextPush cuts the first push off a frame; rest is what follows it, and ok is false when there is none.
func nextPush(frame []byte) (kind pushKind, push, rest []byte, ok bool) {
	at := bytes.Index(frame, typeMarker)
	if at < 0 {
		return pushOther, nil, nil, false
	}
	push = frame[at+len(typeMarker):]
	if end := bytes.Index(push, typeMarker); end >= 0 {
		push, rest = push[:end], push[end:]
	}
	switch {
	case bytes.HasPrefix(push, []byte(`message"`)):
		kind = pushMessage
	case bytes.HasPrefix(push, []byte(`subscribed"`)):
		kind = pushSubscribed
	case bytes.HasPrefix(push, []byte(`gap"`)):
		kind = pushGap
	case bytes.HasPrefix(push, []byte(`error"`)):
		kind = pushError
	default:
		kind = pushOther
	}
	return kind, push, rest, true
}
