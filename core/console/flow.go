package console

import (
	"fmt"

	"github.com/consentd/consentd/core/admin"
)

// flow is the picture of what goes from where to where: three columns and the edges between them. In each
// column the nodes have rows of one height, so the edges know where they are.
type flow struct {
	Sources       []sourceData
	Rules         []admin.Rule
	Targets       []targetData
	Reads, Writes []edge
}

// edge goes from the left to the right of a field of 100 by 100.
type edge struct {
	Path string
	// Weight is 0 to 4, by how much flows.
	Weight int
	Tone   string
}

func flowOf(s admin.Status, sources []sourceData, targets []targetData) flow {
	f := flow{Sources: sources, Targets: targets, Rules: s.Rules}
	for i, r := range s.Rules {
		for j, src := range sources {
			if src.Name == r.Source {
				f.Reads = append(f.Reads, edge{path(j, len(sources), i, len(s.Rules)), weight(src.Accepted), "flow"})
			}
		}
		for j, t := range targets {
			if t.Name == r.Target {
				tone := "flow"
				if t.State != "running" {
					tone = toneOf(t.State)
				}
				f.Writes = append(f.Writes, edge{path(i, len(s.Rules), j, len(targets)), weight(t.Rate), tone})
			}
		}
	}
	return f
}

// path goes from the i-th of n rows to the j-th of m.
func path(i, n, j, m int) string {
	from, to := (float64(i)+0.5)/float64(n)*100, (float64(j)+0.5)/float64(m)*100
	return fmt.Sprintf("M0 %.2fC50 %.2f 50 %.2f 100 %.2f", from, from, to, to)
}

func weight(perSecond float64) int {
	switch {
	case perSecond <= 0:
		return 0
	case perSecond < 1:
		return 1
	case perSecond < 10:
		return 2
	case perSecond < 100:
		return 3
	}
	return 4
}
