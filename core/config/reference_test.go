package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stranger is a name that nothing has and nothing is near to, so that the answer lists all that there is.
const stranger = "qqqqqqqqqqqqqqqq"

var quotedName = regexp.MustCompile(`"([a-z][a-z0-9_]*)"`)

// said is what the loader says of a configuration, one line for each diagnostic.
func said(text string) []string {
	_, diags := parse(map[string][]byte{"x.hcl": []byte(text)}, "", func(string) (string, bool) { return "", false })
	var all []string
	for _, d := range diags {
		all = append(all, d.Summary+": "+d.Detail)
	}
	return all
}

// answer is what the loader lists after a sentence with that beginning.
func answer(text, begins string) (names []string, ok bool) {
	for _, s := range said(text) {
		if strings.HasPrefix(s, begins) {
			_, list, _ := strings.Cut(s, "Write ")
			for _, m := range quotedName.FindAllStringSubmatch(list, -1) {
				names = append(names, m[1])
			}
			return names, true
		}
	}
	return nil, false
}

// known asks the loader for every block that there is and all that may stand in it, by way of its own complaints
// of names that it does not know. Blocks are named as in `source > auth "oauth2"`.
func known(t *testing.T) map[string][]string {
	t.Helper()
	blocks := map[string][]string{}
	var visit func(path string, wrap func(string) string)
	visit = func(path string, wrap func(string) string) {
		names, asked := answer(wrap(stranger+" = 1"), "Unknown attribute: There is no attribute \""+stranger)
		if !asked {
			return // it is in the plugin's own schema
		}
		if len(names) == 0 && path != `source > auth "none"` {
			t.Fatalf("what may stand in %q is not told", path)
		}
		slices.Sort(names)
		names = slices.Compact(names)
		blocks[path] = names
		for _, name := range names {
			if _, isBlock := answer(wrap(name+" = 1"), "Block written as an attribute: "); !isBlock {
				continue
			}
			child := strings.TrimPrefix(path+" > "+name, " > ")
			labels := 0
			for _, s := range said(wrap(name + " {}")) {
				_, _ = fmt.Sscanf(s, "Wrong number of labels: The block \""+name+"\" takes %d labels", &labels)
			}
			header := name + strings.Repeat(` "`+stranger+`"`, labels)
			variants := []string{""}
			if kinds, closed := answer(wrap(header+" {}"), "Unknown "+name); closed {
				variants = kinds
			}
			for _, kind := range variants {
				header, child := header, child
				if kind != "" {
					header = strings.Replace(header, stranger, kind, 1)
					child += fmt.Sprintf(" %q", kind)
				}
				visit(child, func(inner string) string { return wrap(header + " {\n" + inner + "\n}") })
			}
		}
	}
	visit("", func(s string) string { return s })
	return blocks
}

var (
	backticked = regexp.MustCompile("`([^`]+)`")
	name       = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

func namesIn(text string) (names []string) {
	for _, m := range backticked.FindAllStringSubmatch(text, -1) {
		if name.MatchString(m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

// documented reads the README's tables: of each block the names in the first column, with the whole row.
func documented(readme string) map[string]map[string]string {
	all := map[string]map[string]string{"": {}}
	note := func(path, name, row string) {
		if all[path] == nil {
			all[path] = map[string]string{}
		}
		all[path][name] += row
	}
	_, readme, _ = strings.Cut(readme, "\n## log\n") // what is before it is no block
	for section := range strings.SplitSeq("log\n"+readme, "\n## ") {
		section, _, _ = strings.Cut(section, "\n### ")
		heading, text, _ := strings.Cut(section, "\n")
		var here []string
		for part := range strings.SplitSeq(heading, ", ") {
			word, _, _ := strings.Cut(part, " ")
			note("", word, heading)
			if word == "store" { // each kind has a heading
				word = part
			}
			here = append(here, word)
		}
		owner, before, blank := here[len(here)-1], "", true
		for line := range strings.SplitSeq(text, "\n") {
			cells := strings.Split(line, "|")
			switch {
			case !strings.HasPrefix(line, "|"):
				if line != "" && blank {
					before = line // the first line of the paragraph before a table
				}
				blank = line == ""
			case strings.Contains(cells[1], "attribute"):
				owner = here[len(here)-1]
				if _, of, ok := strings.Cut(cells[1], " of "); ok {
					if owner = strings.Trim(of, "` "); !slices.Contains(here, owner) {
						owner = here[0] + " > " + owner
					}
				} else if m := regexp.MustCompile("^(?:In )?`([a-z]+(?: \"[a-z_0-9]+\")?)`:").FindStringSubmatch(before); m != nil {
					if owner = m[1]; !strings.HasPrefix(owner, here[0]+" ") {
						owner = here[0] + " > " + owner
					}
				}
			default:
				for _, n := range namesIn(cells[1]) {
					note(owner, n, line)
				}
			}
		}
	}
	return all
}

// TestReferenceIsComplete holds the README to what the loader knows: every block and every name in it is
// documented, and nothing else is.
func TestReferenceIsComplete(t *testing.T) {
	blocks, pages := known(t), documented(string(read(t, "README.md")))
	if len(blocks) < 35 || len(pages) < 20 {
		t.Fatalf("%d blocks are known and %d documented", len(blocks), len(pages))
	}
	used, anywhere := map[string]bool{}, map[string]bool{}
	for path, names := range blocks {
		for _, m := range quotedName.FindAllStringSubmatch(path, -1) {
			anywhere[m[1]] = true // a kind or a mode
		}
		for _, n := range names {
			anywhere[n] = true
		}
	}
	// of is what the README says may stand in a block.
	of := func(path string) []string {
		var names []string
		add := func(table string) {
			names = append(names, slices.Collect(maps.Keys(pages[table]))...)
			used[table] = true
		}
		add(path)
		if strings.HasPrefix(path, "lookup ") && !strings.Contains(path, " > ") {
			add("lookup") // what all kinds have
		}
		if len(names) > 0 {
			return names
		}
		// A block without a table is told in its parent's row.
		parent, block, nested := cutLast(path, " > ")
		if !nested {
			return nil
		}
		word, label, _ := strings.Cut(block, " ")
		if parent == `lookup "dataguard"` && word == "auth" {
			parent = `lookup "http"` // "as for http"
		}
		row := pages[parent][word]
		if row == "" && strings.HasPrefix(parent, "lookup ") {
			row = pages["lookup"][word]
		}
		if label != "" {
			_, row, _ = strings.Cut(row, "`"+block+"`")
			row, _, _ = strings.Cut(row, "`"+word+" \"")
		}
		for _, n := range namesIn(row) { // which may speak of other blocks as well
			if slices.Contains(blocks[path], n) || !anywhere[n] {
				names = append(names, n)
			}
		}
		if len(names) == 0 {
			add(word) // as the block of that name at the top
		}
		return names
	}
	for path, names := range blocks {
		there := of(path)
		for _, n := range names {
			if !slices.Contains(there, n) {
				t.Errorf("%q of %q is not in the README", n, path)
			}
		}
		for _, n := range there {
			inAKind := strings.HasPrefix(path, "lookup ") && pages["lookup"][n] != "" && slices.ContainsFunc(lookupKinds, func(kind string) bool {
				return slices.Contains(blocks[fmt.Sprintf("lookup %q", kind)], n)
			})
			if !slices.Contains(names, n) && !inAKind {
				t.Errorf("the README has %q in %q, which the loader does not know", n, path)
			}
		}
	}
	for path := range pages {
		if !used[path] {
			t.Errorf("the README has a table about %q, which the loader does not know", path)
		}
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
