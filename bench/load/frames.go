// Walks WebSocket frames (RFC 6455 §5.2) through reads cut anywhere, without keeping the payload.
package main

import "encoding/binary"

const (
	opText  = 1
	opClose = 8
	opPing  = 9
)

// frameSink receives either one whole call or begin, any number of more, and end. Slices are valid during the call only.
type frameSink interface {
	whole(opcode byte, payload []byte)
	begin(opcode byte, size int, part []byte)
	more(part []byte)
	end()
}

type frameWalker struct {
	header    [14]byte
	headerLen int
	remaining int // payload bytes of the frame under way that have not arrived
}

// headerSize is the size of a header that starts with these bytes, or 2 while that is not known.
func headerSize(start []byte) int {
	if len(start) < 2 {
		return 2
	}
	switch start[1] & 127 {
	case 126:
		return 4
	case 127:
		return 10
	default:
		return 2
	}
}

func payloadSize(header []byte) int {
	switch n := header[1] & 127; n {
	case 126:
		return int(binary.BigEndian.Uint16(header[2:]))
	case 127:
		return int(binary.BigEndian.Uint64(header[2:]))
	default:
		return int(n)
	}
}

// feed reads one chunk; false means the stream is not what a server may send here (masked, fragmented, extension bits).
func (w *frameWalker) feed(chunk []byte, sink frameSink) bool {
	for len(chunk) > 0 {
		if w.remaining > 0 {
			n := w.remaining
			if n > len(chunk) {
				n = len(chunk)
			}
			w.remaining -= n
			sink.more(chunk[:n])
			chunk = chunk[n:]
			if w.remaining == 0 {
				sink.end()
			}
			continue
		}
		header := chunk
		if size := headerSize(chunk); w.headerLen == 0 && len(chunk) >= size {
			chunk = chunk[size:]
		} else {
			w.header[w.headerLen] = chunk[0]
			w.headerLen++
			chunk = chunk[1:]
			if w.headerLen < headerSize(w.header[:w.headerLen]) {
				continue
			}
			header = w.header[:w.headerLen]
			w.headerLen = 0
		}
		if header[0]&0xf0 != 0x80 || header[0]&0x0f == 0 || header[1]&0x80 != 0 {
			return false
		}
		opcode, size := header[0]&0x0f, payloadSize(header)
		if size < 0 {
			return false
		}
		if size <= len(chunk) {
			sink.whole(opcode, chunk[:size])
			chunk = chunk[size:]
			continue
		}
		w.remaining = size - len(chunk)
		sink.begin(opcode, size, chunk)
		chunk = nil
	}
	return true
}

// clientFrame is a masked frame; the mask is zero, so that the payload stays readable in a capture.
func clientFrame(opcode byte, payload []byte) []byte {
	out := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = append(out, 0x80|126, byte(n>>8), byte(n))
	default:
		out = append(out, 0x80|127)
		out = binary.BigEndian.AppendUint64(out, uint64(n))
	}
	return append(append(out, 0, 0, 0, 0), payload...)
}
