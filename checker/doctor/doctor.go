// Package doctor looks at what this machine can do for the lab, and knows the cure
// for what it cannot. It gathers [Facts], on each system in its own way, and judges
// them, everywhere in the same: so the judgement is tested for all systems on one. It
// changes nothing: the file that it writes to see that it can, it takes away.
package doctor

// State says how good a thing is.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // a lesson or two will be unavailable, or less well shown
	Problem State = "problem" // the lab does not work
	Info    State = "info"
)

// Check is one thing that was looked at.
type Check struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Value string `json:"value"`
	Means string `json:"means,omitempty"` // for which lesson, if anything
	Cure  string `json:"cure,omitempty"`
}

// Setting is a kernel setting that measurements with many connections may need. The
// lab recommends it and never sets it.
type Setting struct {
	Name   string `json:"name"`
	Now    string `json:"now"`
	Wanted string `json:"wanted"`
	Does   string `json:"does"`
	Enough bool   `json:"enough"` // Now will do
}

// Report is all that the doctor says.
type Report struct {
	Checks   []Check   `json:"checks"`
	Settings []Setting `json:"settings"`
}

// Examine looks at everything. root is the clone.
func Examine(root string) Report {
	f := gather(root)
	return Report{Judge(f), Settings(f)}
}
