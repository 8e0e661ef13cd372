package console

import dto "github.com/prometheus/client_model/go"

// histogram is a Prometheus histogram: how many were at most each bound, in seconds.
type histogram struct {
	bounds []float64
	counts []uint64 // cumulative
	total  uint64
}

func histogramOf(m *dto.Metric) histogram {
	h := histogram{total: m.Histogram.GetSampleCount()}
	for _, b := range m.Histogram.GetBucket() {
		h.bounds = append(h.bounds, b.GetUpperBound())
		h.counts = append(h.counts, b.GetCumulativeCount())
	}
	return h
}

// since is what came after an earlier one.
func (h histogram) since(before histogram) histogram {
	if len(before.counts) != len(h.counts) || before.total > h.total {
		return h
	}
	after := histogram{bounds: h.bounds, counts: make([]uint64, len(h.counts)), total: h.total - before.total}
	for i := range h.counts {
		after.counts[i] = h.counts[i] - before.counts[i]
	}
	return after
}

// quantile is the value that the part q of all did not exceed, taken as evenly spread within its bucket; -1 when
// there is none.
func (h histogram) quantile(q float64) float64 {
	if h.total == 0 || len(h.bounds) == 0 {
		return -1
	}
	rank, below, from := q*float64(h.total), 0.0, 0.0
	for i, bound := range h.bounds {
		n := float64(h.counts[i])
		if n >= rank && n > below {
			return from + (bound-from)*(rank-below)/(n-below)
		}
		below, from = n, bound
	}
	return h.bounds[len(h.bounds)-1]
}
