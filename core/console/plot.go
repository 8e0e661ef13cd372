package console

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// window is what plots show: the longest that is not mostly empty. Points stand on whole steps, so that a curve
// moves and does not flicker.
type window struct {
	now        time.Time
	span, step time.Duration
}

var windows = []window{
	{span: 2 * time.Minute, step: 3 * time.Second},
	{span: 5 * time.Minute, step: 5 * time.Second},
	{span: span, step: 10 * time.Second},
}

func windowOf(h []sample, now time.Time) window {
	chosen := windows[0]
	for _, w := range windows[1:] {
		if len(h) > 0 && now.Sub(h[0].at) >= chosen.span {
			chosen = w
		}
	}
	chosen.now = now
	return chosen
}

// Marks are what the axis says, from left to right.
func (w window) Marks() []string {
	return []string{long(w.span) + " ago", long(w.span/2) + " ago", "now"}
}

// plot is a picture of one or two curves over the last while.
type plot struct {
	Name   string // for those who do not see it
	Unit   string
	Top    string // what the upper edge stands for
	Curves []curve
	// Large plots have room for their axes.
	Large bool
	Marks []string
}

// curve is one line of a plot in a field of 300 by 100. Area is empty when it is not filled.
type curve struct {
	Class, Line, Area string
}

// series makes one value of the samples of each step; NaN where there are none. each says what one sample has.
func (w window) series(h []sample, value func(first, last sample, of []sample) float64) []float64 {
	n := int(w.span / w.step)
	values := make([]float64, n)
	start := w.now.Truncate(w.step).Add(-time.Duration(n-1) * w.step)
	at := 0
	for i := range values {
		from, to := start.Add(time.Duration(i)*w.step), start.Add(time.Duration(i+1)*w.step)
		for at < len(h) && h[at].at.Before(from) {
			at++
		}
		begin := at
		for at < len(h) && h[at].at.Before(to) {
			at++
		}
		values[i] = math.NaN()
		if begin < at {
			values[i] = value(h[max(0, begin-1)], h[at-1], h[begin:at])
		}
	}
	return values
}

// growth is the rate of a count, for series.
func growth(count func(sample) float64) func(first, last sample, _ []sample) float64 {
	return func(first, last sample, _ []sample) float64 {
		seconds := last.at.Sub(first.at).Seconds()
		if seconds <= 0 {
			return math.NaN()
		}
		return max(0, count(last)-count(first)) / seconds
	}
}

// highest is the largest of a gauge, for series. A value below zero is none.
func highest(gauge func(sample) float64) func(_, _ sample, of []sample) float64 {
	return func(_, _ sample, of []sample) float64 {
		top := math.NaN()
		for _, s := range of {
			if v := gauge(s); v >= 0 && !(v <= top) {
				top = v
			}
		}
		return top
	}
}

// curveOf draws values between 0 and top. Gaps stay gaps.
func curveOf(class string, values []float64, top float64, filled bool) curve {
	var line, area strings.Builder
	width := 300 / float64(len(values)-1)
	begun := -1
	end := func(i int) {
		if begun >= 0 && filled {
			fmt.Fprintf(&area, "L%.1f 100L%.1f 100Z", float64(i-1)*width, float64(begun)*width)
		}
		begun = -1
	}
	for i, v := range values {
		if math.IsNaN(v) {
			end(i)
			continue
		}
		verb := "L"
		if begun < 0 {
			verb, begun = "M", i
		}
		point := fmt.Sprintf("%s%.1f %.1f", verb, float64(i)*width, 100-96*min(v/top, 1))
		line.WriteString(point)
		area.WriteString(point)
	}
	end(len(values))
	c := curve{Class: class, Line: line.String()}
	if filled {
		c.Area = area.String()
	}
	return c
}

// above is the next of 1, 2 and 5 times a power of ten that is no less than all values.
func above(least float64, all ...[]float64) float64 {
	top := least
	for _, values := range all {
		for _, v := range values {
			if v > top {
				top = v
			}
		}
	}
	power := math.Pow(10, math.Floor(math.Log10(top)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*power >= top*0.9999 {
			return m * power
		}
	}
	return top
}

// known are the highest and the last of values that are there.
func known(values []float64) (top, last float64) {
	for _, v := range values {
		if !math.IsNaN(v) {
			top, last = max(top, v), v
		}
	}
	return top, last
}
