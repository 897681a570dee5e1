package verify

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strconv"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/runner"
)

// Mutant is a solution with one mistake in it.
type Mutant struct {
	Name    string
	Mistake string // in a sentence
	Step    int    // that must fail
	Cause   string // ID that a report of that step must have
	Only    string // the GOOS on which it can be told; empty: wherever the lesson runs
	changed
}

// Mutants reads the mutants of a lesson.
func Mutants(root string, l catalogue.Lesson) (all []Mutant, err error) {
	err = each(root, "mutants", l, func(name string, text []byte) error {
		m, err := parseMutant(l, name, text)
		all = append(all, m)
		return err
	})
	return all, err
}

func parseMutant(l catalogue.Lesson, name string, text []byte) (Mutant, error) {
	header, sentence, c, err := parseChanged(l, text)
	m := Mutant{Name: name, Mistake: sentence, Cause: header["cause"], Only: header["only"], changed: c}
	m.Step, _ = strconv.Atoi(header["step"])
	switch _, ok := l.Step(m.Step); {
	case !ok:
		return m, fmt.Errorf("its header should have a line \"step: N\" with a step of lesson %s", l.Folder)
	case m.Mistake == "" || m.Cause == "":
		return m, fmt.Errorf("its header should have a sentence and a line \"cause: id\"")
	case c.files != nil:
		return m, fmt.Errorf("it should have pairs of files, NAME find and NAME replace")
	}
	return m, err
}

// Here says whether the mistake can be told on this system.
func (m Mutant) Here() bool { return m.Only == "" || m.Only == runtime.GOOS }

// AllBefore is for [Mutant.Check]: every step before the mutant's own.
const AllBefore = math.MaxInt

// Check wants the mutant to pass the steps before its own, the last so many of them, and
// to fail its own with its cause.
func (m Mutant) Check(ctx context.Context, root string, before int) error {
	b, remove, err := m.build(ctx, root, "mutant-"+m.Name)
	if err != nil {
		return err
	}
	defer remove()
	for _, step := range m.lesson.Steps {
		if step.Number > m.Step || m.Step-step.Number > before {
			continue
		}
		r, err := b.Step(ctx, step.Number, limits(false))
		switch {
		case err != nil:
			return err
		case r.Outcome == report.Unavailable:
			continue
		case step.Number < m.Step && r.Outcome != runner.Passed:
			return unexpected(r, fmt.Sprintf("pass: the mistake (%s) is step %d's", m.Mistake, m.Step))
		case step.Number < m.Step:
			continue
		case r.Outcome != report.Failed:
			return unexpected(r, "fail: "+m.Mistake)
		}
		// The first report is the one that the reader sees.
		if cause := r.Reports[0].Cause; cause != nil && cause.ID == m.Cause {
			return nil
		}
		return unexpected(r, fmt.Sprintf("name the cause %q", m.Cause))
	}
	return nil
}
