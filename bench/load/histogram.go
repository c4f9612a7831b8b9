// A log-linear histogram of microseconds with at most 1.6 % error per value.
package main

import "math/bits"

const subBits = 6 // 64 linear steps per power of two

type histogram struct {
	buckets [(64 - subBits + 1) << subBits]uint64
	count   uint64
	sumUs   uint64
	maxUs   uint64
}

func bucketOf(us uint64) int {
	if us < 1<<subBits {
		return int(us)
	}
	shift := bits.Len64(us) - subBits - 1
	return (shift+1)<<subBits + int(us>>uint(shift)) - 1<<subBits
}

// upperBound is the largest value of a bucket.
func upperBound(bucket int) uint64 {
	if bucket < 1<<subBits {
		return uint64(bucket)
	}
	shift := uint(bucket>>subBits - 1)
	return (uint64(bucket&(1<<subBits-1))+1<<subBits+1)<<shift - 1
}

func (h *histogram) add(us int64) {
	v := uint64(0)
	if us > 0 {
		v = uint64(us)
	}
	h.buckets[bucketOf(v)]++
	h.count++
	h.sumUs += v
	if v > h.maxUs {
		h.maxUs = v
	}
}

// percentileUs is the smallest bucket bound at or under which the given share of the values lies.
func (h *histogram) percentileUs(share float64) uint64 {
	if h.count == 0 {
		return 0
	}
	rank := uint64(share*float64(h.count) + 0.999999)
	if rank < 1 {
		rank = 1
	}
	seen := uint64(0)
	for i, n := range h.buckets {
		seen += n
		if seen >= rank {
			if v := upperBound(i); v < h.maxUs {
				return v
			}
			break
		}
	}
	return h.maxUs
}

func (h *histogram) summary() Latency {
	ms := func(us uint64) float64 { return float64(us) / 1000 }
	out := Latency{Count: h.count, MaxMs: ms(h.maxUs)}
	if h.count > 0 {
		out.MeanMs = float64(h.sumUs) / float64(h.count) / 1000
	}
	out.P50Ms, out.P90Ms = ms(h.percentileUs(0.5)), ms(h.percentileUs(0.9))
	out.P99Ms, out.P999Ms = ms(h.percentileUs(0.99)), ms(h.percentileUs(0.999))
	return out
}
