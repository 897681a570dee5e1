package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Result is what one run measured.
type Result struct {
	Kind    string    `json:"kind"` // "bench", "table", "plots", "scale"
	Time    time.Time `json:"time"`
	Machine Machine   `json:"machine"`
	Rounds  int       `json:"rounds"`
	Window  float64   `json:"window_seconds"`
	Pinned  bool      `json:"pinned"` // server and load on processors of their own
	Cores   int       `json:"server_cores,omitempty"`
	Busy    float64   `json:"others_running,omitempty"` // threads, before
	Rows    []Row     `json:"rows"`
	Memory  []Memory  `json:"memory,omitempty"`
	Table   []Model   `json:"table,omitempty"`
	Echo    *Echo     `json:"echo,omitempty"`
	Climbs  []Climb   `json:"climbs,omitempty"`

	Error string `json:"error,omitempty"` // what went wrong in a part of it
	Exit  int    `json:"exit,omitempty"`  // and the exit status for that

	File string `json:"-"`
}

// Folder is where results are kept, under the lab's root.
const Folder = ".iolab/bench"

// Save keeps r under a name of its kind, time, machine, kernel and commit.
func (r *Result) Save(root string) error {
	dir := filepath.Join(root, filepath.FromSlash(Folder))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("the result cannot be kept: %w", err)
	}
	commit := r.Machine.Commit
	if commit == "" {
		commit = "no-commit"
	}
	name := strings.Join([]string{r.Time.Format("2006-01-02T15-04-05"), r.Kind, fileName(r.Machine.Host), fileName(r.Machine.Kernel), fileName(commit)}, "_")
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, name+".json")
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		os.Remove(file) // a part of one would not be a result
		return fmt.Errorf("the result cannot be kept: %w", err)
	}
	r.File = file
	return nil
}

// Name is how the result can be asked for.
func (r *Result) Name() string { return strings.TrimSuffix(filepath.Base(r.File), ".json") }

// List names the kept results of a kind, the oldest first; of all kinds if it is empty.
func List(root, kind string) []string {
	files, _ := filepath.Glob(filepath.Join(root, filepath.FromSlash(Folder), "*.json"))
	slices.Sort(files)
	return slices.DeleteFunc(files, func(f string) bool {
		return kind != "" && !strings.Contains(filepath.Base(f), "_"+kind+"_")
	})
}

// Load finds a result: a file, "last", "before" (the one before the last), or a part of a
// kept one's name that no other has.
func Load(root, kind, name string) (*Result, error) {
	file := name
	if info, err := os.Stat(name); err != nil || info.IsDir() {
		if file, err = kept(List(root, kind), kind, name); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &Result{File: file}
	if err := json.Unmarshal(text, r); err != nil || r.Kind == "" {
		return nil, fmt.Errorf("%s is no result of the bench", file)
	}
	if kind != "" && r.Kind != kind {
		return nil, fmt.Errorf("%s is a result of %q, and one of %q is needed", file, r.Kind, kind)
	}
	return r, nil
}

func kept(files []string, kind, name string) (string, error) {
	if len(files) == 0 {
		return "", errors.New("no results are kept yet (" + Folder + "): run " + runOf(kind))
	}
	switch name {
	case "last":
		return files[len(files)-1], nil
	case "before":
		if len(files) < 2 {
			return "", errors.New("there is one result only, and nothing before it: run " + runOf(kind) + " again")
		}
		return files[len(files)-2], nil
	}
	var found []string
	for _, f := range files {
		if strings.Contains(filepath.Base(f), name) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("no result is called %q; there are:\n  %s", name, names(files))
	}
	return "", fmt.Errorf("%d results have %q in their name; which one?\n  %s", len(found), name, names(found))
}

func runOf(kind string) string {
	if kind == "" || kind == "bench" {
		return "go run ./checker bench"
	}
	return "go run ./checker bench " + kind
}

func names(files []string) string {
	var all []string
	for _, f := range files[max(0, len(files)-10):] {
		all = append(all, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	return strings.Join(all, "\n  ")
}

// Change is a figure in two results.
type Change struct {
	Subject  string   `json:"subject"`
	Scenario Scenario `json:"scenario"`
	What     string   `json:"what"`
	A        float64  `json:"a"`
	B        float64  `json:"b"`
	Percent  float64  `json:"percent"`
	Chance   float64  `json:"chance"` // how often rounds that measure the same are as far apart
	Clear    bool     `json:"clear"`  // that is not above clearBelow
	Few      bool     `json:"few"`    // there are too few rounds for that, however far apart they are
}

// clearBelow is how likely chance may be, at most, where a change is called clear.
const clearBelow = 0.05

// chance is how likely it is that the ranks of a and b differ as much as they do if both
// measure the same: the exact two-sided test of Mann and Whitney, equal values with the mean
// of their ranks. least is the lowest that it can be with so many.
func chance(a, b []float64) (p, least float64) {
	// Ranks are doubled, so that a mean of two is a whole number.
	all := slices.Sorted(slices.Values(append(slices.Clone(a), b...)))
	rank := func(x float64) int {
		first, _ := slices.BinarySearch(all, x)
		last := first
		for last < len(all) && all[last] == x {
			last++
		}
		return first + last + 1
	}
	sum, total := 0, 0
	for _, x := range a {
		sum += rank(x)
	}
	// ways[k][s]: the ways to choose k of the ranks with the sum s.
	n := len(all)
	ways := make([][]float64, len(a)+1)
	for k := range ways {
		ways[k] = make([]float64, n*(n+1)+1)
	}
	ways[0][0] = 1
	for _, x := range all {
		r := rank(x)
		total += r
		for k := len(a); k > 0; k-- {
			for s := total; s >= r; s-- {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	// As far as this from the middle, on either side. The middle is len(a)*total/n.
	far := func(s int) int { return max(s*n-len(a)*total, len(a)*total-s*n) }
	var as, every float64
	for s, w := range ways[len(a)] {
		every += w
		if far(s) >= far(sum) {
			as += w
		}
	}
	return as / every, 2 / every
}

// compared are the figures that are compared.
var compared = []struct {
	what string
	of   func(*Sample) *float64
}{
	{"CPU for a message, us", cpuOf},
	{"messages a second", fields[0]},
	{"p99, us", fields[2]},
}

// Compare sets what a and b have both measured side by side.
func Compare(a, b *Result) (changes []Change, notes []string) {
	if a.Machine.Host != b.Machine.Host || a.Machine.CPU != b.Machine.CPU {
		notes = append(notes, "these are two machines: "+a.Machine.String()+"; and "+b.Machine.String())
	} else if a.Machine.Kernel != b.Machine.Kernel {
		notes = append(notes, "these are two kernels: "+a.Machine.Kernel+" and "+b.Machine.Kernel)
	}
	if a.Pinned != b.Pinned {
		notes = append(notes, "in one of them server and load had processors of their own, in the other not")
	}
	if a.Cores != b.Cores && a.Cores > 0 && b.Cores > 0 {
		notes = append(notes, fmt.Sprintf("the server could use %s in the first and %d in the second", plural(a.Cores, "processor", "processors"), b.Cores))
	}
	if a.Window != b.Window {
		notes = append(notes, fmt.Sprintf("a measurement took %v s in the first and %v s in the second", a.Window, b.Window))
	}
	for _, rowA := range a.Rows {
		for _, rowB := range b.Rows {
			if rowA.Subject != rowB.Subject || rowA.Scenario != rowB.Scenario || len(rowA.Samples) == 0 || len(rowB.Samples) == 0 {
				continue
			}
			for _, c := range compared {
				x, y := median(rowA.all(c.of)), median(rowB.all(c.of))
				if x == 0 || y == 0 {
					continue
				}
				p, least := chance(rowA.all(c.of), rowB.all(c.of))
				changes = append(changes, Change{rowA.Subject, rowA.Scenario, c.what, x, y, 100 * (y - x) / x, p, p <= clearBelow, least > clearBelow})
			}
		}
	}
	return changes, notes
}
