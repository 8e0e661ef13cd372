package store

import (
	"fmt"
	"testing"
)

// TestShare: the parts of all replicas are the limit, and who joins has none.
func TestShare(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 4, 7, 100} {
		for of := 1; of <= 5; of++ {
			for target := range 5 {
				sum, with := 0, 0
				for rank := range of {
					mine, all := Share{rank, of}.Part(limit, fmt.Sprint("target", target))
					sum += mine
					if mine > 0 {
						with++
					}
					if all != min(limit, of) {
						t.Errorf("%d of %d replicas: %d have a part", limit, of, all)
					}
				}
				if sum != limit || with != min(limit, of) {
					t.Errorf("a limit of %d among %d: %d, of %d replicas", limit, of, sum, with)
				}
			}
		}
	}
	if mine, _ := (Share{1, 3}).Joining(true).Part(100, "t"); mine != 0 {
		t.Errorf("a replica that joins has %d", mine)
	}
	spread := map[int]bool{}
	for target := range 20 {
		for rank := range 3 {
			if mine, _ := (Share{rank, 3}).Part(1, fmt.Sprint(target)); mine == 1 {
				spread[rank] = true
			}
		}
	}
	if len(spread) != 3 {
		t.Errorf("all single calls are with %d of 3 replicas", len(spread))
	}
}
