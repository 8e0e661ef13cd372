package store

import "hash/fnv"

// Share is which part of what all replicas may do together is one replica's: it is the Rank-th of so many, from 0.
type Share struct{ Rank, Of int }

// Joining is the share of a replica of which the others may not know yet: nothing, as long as that is so.
func (s Share) Joining(unknown bool) Share {
	if unknown {
		s.Rank = -1
	}
	return s
}

// Part divides a limit by the replicas, without loss: what cannot be divided goes to some of them, to others for another
// name. Of all is among how many the limit is divided, which are those that get any.
func (s Share) Part(limit int, name string) (mine, all int) {
	switch {
	case s.Of <= 1 && s.Rank == 0:
		return limit, 1
	case s.Rank < 0:
		return 0, max(1, min(limit, s.Of))
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	mine = limit / s.Of
	if (s.Rank+int(h.Sum32()%uint32(s.Of)))%s.Of < limit%s.Of {
		mine++
	}
	return mine, min(limit, s.Of)
}
