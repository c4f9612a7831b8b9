// The frame walker over every way a stream can be cut.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"testing"
)

type recorded struct {
	frames  []string
	opcode  byte
	partial []byte
	size    int
}

func (r *recorded) whole(opcode byte, payload []byte) {
	r.frames = append(r.frames, fmt.Sprintf("%d:%s", opcode, payload))
}
func (r *recorded) begin(opcode byte, size int, part []byte) {
	r.opcode, r.size, r.partial = opcode, size, append([]byte(nil), part...)
}
func (r *recorded) more(part []byte) { r.partial = append(r.partial, part...) }
func (r *recorded) end() {
	if len(r.partial) != r.size {
		panic(fmt.Sprintf("announced %d bytes, gave %d", r.size, len(r.partial)))
	}
	r.whole(r.opcode, r.partial)
}

func serverFrame(opcode byte, payload []byte) []byte {
	out := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		out = append(out, byte(n))
	case n < 1<<16:
		out = append(out, 126, byte(n>>8), byte(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 127), uint64(n))
	}
	return append(out, payload...)
}

func TestFramesOfEveryLengthFormSurviveRandomCuts(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	sizes := []int{0, 1, 125, 126, 127, 300, 65535, 65536, 70000}
	for round := 0; round < 200; round++ {
		var stream []byte
		var want []string
		for i := 0; i < 1+random.Intn(6); i++ {
			payload := bytes.Repeat([]byte{byte('a' + random.Intn(26))}, sizes[random.Intn(len(sizes))])
			opcode := []byte{opText, 2, opPing}[random.Intn(3)]
			stream = append(stream, serverFrame(opcode, payload)...)
			want = append(want, fmt.Sprintf("%d:%s", opcode, payload))
		}
		got, walker := &recorded{}, frameWalker{}
		for len(stream) > 0 {
			n := 1 + random.Intn([]int{3, 40, 5000, 200000}[random.Intn(4)])
			if n > len(stream) {
				n = len(stream)
			}
			if !walker.feed(stream[:n], got) {
				t.Fatal("a correct stream was refused")
			}
			stream = stream[n:]
		}
		if fmt.Sprint(got.frames) != fmt.Sprint(want) {
			t.Fatalf("round %d: %d frames, want %d", round, len(got.frames), len(want))
		}
	}
}

func TestFramesSurviveBeingReadByteByByte(t *testing.T) {
	payload := bytes.Repeat([]byte("y"), 66000)
	got, walker := &recorded{}, frameWalker{}
	for _, b := range append(serverFrame(opText, payload), serverFrame(opPing, nil)...) {
		walker.feed([]byte{b}, got)
	}
	if len(got.frames) != 2 || len(got.frames[0]) != 66002 || got.frames[1] != "9:" {
		t.Fatalf("got %d frames", len(got.frames))
	}
}

func TestFramesNoServerMaySendAreRefused(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"masked": {0x81, 0x81, 0, 0, 0, 0, 'x'}, "fragment": {0x01, 1, 'x'}, "continuation": {0x80, 1, 'x'}, "extension bit": {0xc1, 1, 'x'},
	} {
		walker := frameWalker{}
		if walker.feed(bytes, &recorded{}) {
			t.Errorf("%s frame was accepted", name)
		}
	}
}

// A subscriber must count the same whatever the cuts, also when it keeps only the two ends of a large frame.
func TestBatchFramesAreCountedExactlyWhateverTheCuts(t *testing.T) {
	random := rand.New(rand.NewSource(2))
	for round := 0; round < 300; round++ {
		r := &run{edges: edges(128)}
		c := &connection{run: r, state: stateOpen, subscriptions: []subscription{{open: true, next: 1}}, readAll: round%3 == 0}
		var stream []byte
		offset := int64(1)
		for i := 0; i < 4; i++ {
			count := []int{1, 2, 3, 7, 60, 400}[random.Intn(6)]
			stream = append(stream, serverFrame(opText, batchOf(offset, count))...)
			offset += int64(count)
		}
		for len(stream) > 0 {
			n := 1 + random.Intn([]int{30, 900, 30000}[random.Intn(3)])
			if n > len(stream) {
				n = len(stream)
			}
			if !c.walker.feed(stream[:n], c) {
				t.Fatal("a correct stream was refused")
			}
			stream = stream[n:]
		}
		if r.tally.received != offset-1 || r.tally.unreadable+r.tally.skipped+r.tally.duplicates != 0 {
			t.Fatalf("round %d: counted %+v of %d: %s", round, r.tally.received, offset-1, r.noted)
		}
	}
}

func batchOf(first int64, count int) []byte {
	var out []byte
	for i := int64(0); i < int64(count); i++ {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, fmt.Sprintf(`{"type":"message","channel":"c0","offset":%d,"data":{"t":1,"s":2,"p":"%s"},"time":1}`, first+i, bytes.Repeat([]byte("x"), 100))...)
	}
	if count == 1 {
		return out
	}
	return append(append([]byte{'['}, out...), ']')
}
