package store

import "encoding/json"

// Place is whose citizens a rule is about, and which target it feeds.
type Place struct{ Source, Target string }

// Places are those of all rules.
func Places(routes map[string][]Route) map[string]Place {
	rules := map[string]Place{}
	for source, of := range routes {
		for _, r := range of {
			rules[r.Rule] = Place{source, r.Target}
		}
	}
	return rules
}

// Unsure are the places of rules while a Reroute is on its way from some to others, and as long as it is interrupted. The
// source is empty where there may be deliveries of citizens of another one; the target where some may feed another,
// or some citizens have none yet, or none any more.
func Unsure(from, to map[string]Place) map[string]Place {
	between := map[string]Place{}
	for rule := range from {
		between[rule] = Place{}
	}
	for rule, place := range to {
		was, known := from[rule]
		if known && was.Source != place.Source {
			place = Place{}
		}
		if was.Target != place.Target {
			place.Target = ""
		}
		between[rule] = place
	}
	return between
}

// Difference is what a Reroute has to do: fill rules that are not surely in their places, and remove the deliveries of a rule
// that are of citizens of any source but the one given; of an empty one there are none to keep.
func Difference(before, wanted map[string]Place) (fill map[string]Place, remove map[string]string) {
	fill, remove = map[string]Place{}, map[string]string{}
	for rule, place := range wanted {
		if before[rule] != place {
			fill[rule] = place
		}
	}
	for rule, was := range before {
		if source := wanted[rule].Source; source == "" || source != was.Source {
			remove[rule] = source
		}
	}
	return fill, remove
}

// UnmarshalJSON takes the target alone as well, which is all that consentd kept at first.
func (p *Place) UnmarshalJSON(data []byte) error {
	type plain Place
	if json.Unmarshal(data, &p.Target) == nil {
		return nil
	}
	return json.Unmarshal(data, (*plain)(p))
}
