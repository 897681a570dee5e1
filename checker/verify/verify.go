// Package verify proves that the lessons teach what they say: the solution passes
// every step, the untouched skeleton fails every step as not started, a reader who
// writes one step after the other sees one step after the other pass, each variant (a
// right server in another style) passes every step, and each mutant (a plausible
// mistake) fails at its step with its cause.
//
// The lesson's own tests are the only tests; `go test -overlay` puts other files
// in the place of the reader's.
package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/runner"
	"iolab/checker/workspace"
)

// Check is the result of one check.
type Check struct {
	Lesson  string  `json:"lesson"`
	Check   string  `json:"check"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Problem string  `json:"problem,omitempty"`
	// Unavailable are the steps that this machine cannot show.
	Unavailable []string `json:"unavailable,omitempty"`
}

// Options say what Run does.
type Options struct {
	Root     string
	Lessons  []catalogue.Lesson
	Quick    bool                // leave out the reader's path, and a mutant's earlier steps
	Race     bool                // solutions with the race detector, too
	Count    int                 // times that each solution runs
	Commands map[string][]string // the checker's verbs and their flags, nil to leave the READMEs out
	Report   func(Check)
}

// Run makes all the checks and returns how many failed.
func Run(ctx context.Context, o Options) (failed int, err error) {
	check := func(lesson, name string, f func() ([]string, error)) {
		if ctx.Err() != nil {
			return
		}
		start := time.Now()
		unavailable, err := f()
		if ctx.Err() != nil {
			return
		}
		c := Check{Lesson: lesson, Check: name, OK: err == nil, Seconds: time.Since(start).Seconds(), Unavailable: unavailable}
		if err != nil {
			failed++
			c.Problem = err.Error()
		}
		o.Report(c)
	}
	plain := func(f func() error) func() ([]string, error) {
		return func() ([]string, error) { return nil, f() }
	}
	if o.Commands != nil {
		check("", "commands in the READMEs exist", plain(func() error { return Commands(o.Root, o.Commands) }))
	}
	for _, l := range o.Lessons {
		check(l.Folder, "skeleton and solution export the same", plain(func() error { return SameAPI(o.Root, l) }))
		for i := range max(o.Count, 1) {
			name := "the solution passes"
			if o.Count > 1 {
				name += fmt.Sprintf(" (%d)", i+1)
			}
			check(l.Folder, name, func() ([]string, error) { return SolutionPasses(ctx, o.Root, l, false) })
		}
		if o.Race {
			check(l.Folder, "the solution passes with -race", func() ([]string, error) { return SolutionPasses(ctx, o.Root, l, true) })
		}
		check(l.Folder, "the untouched skeleton is not started", plain(func() error { return SkeletonNotStarted(ctx, o.Root, l) }))
		for k := range l.Steps {
			if !o.Quick {
				check(l.Folder, fmt.Sprintf("written up to step %d", k), plain(func() error { return Path(ctx, o.Root, l, k) }))
			}
		}
		variants, err := Variants(o.Root, l)
		if err != nil {
			return failed, err
		}
		for _, v := range variants {
			if v.Here() {
				check(l.Folder, "variant "+v.Name, plain(func() error { return v.Check(ctx, o.Root) }))
			}
		}
		mutants, err := Mutants(o.Root, l)
		if err != nil {
			return failed, err
		}
		for _, m := range mutants {
			if !m.Here() {
				continue
			}
			before := AllBefore
			if o.Quick {
				before = 0
			}
			check(l.Folder, "mutant "+m.Name, plain(func() error { return m.Check(ctx, o.Root, before) }))
		}
	}
	return failed, ctx.Err()
}

// limits are the steps' under this package.
func limits(race bool) runner.Limits {
	l := runner.DefaultLimits.Patient()
	l.Time *= time.Duration(l.Processes) // one process has the time of all
	l.Processes = 1                      // whoever calls has several subjects to run side by side
	if race {
		l.Time *= 2
	}
	return l
}

// SolutionPasses wants every step of the solution to pass. It returns the steps
// that this machine cannot show, with the reason.
func SolutionPasses(ctx context.Context, root string, l catalogue.Lesson, race bool) (unavailable []string, err error) {
	s, err := runner.Solution(root, l)
	if err != nil {
		return nil, err
	}
	s.Race = race
	b, err := runner.Build(ctx, root, s)
	if err != nil {
		return nil, err
	}
	defer b.Remove()
	return passes(ctx, b, l, race)
}

// passes wants every step to pass, as SolutionPasses does.
func passes(ctx context.Context, b *runner.Binary, l catalogue.Lesson, race bool) (unavailable []string, err error) {
	for _, step := range l.Steps {
		r, err := b.Step(ctx, step.Number, limits(race))
		if err != nil {
			return nil, err
		}
		switch r.Outcome {
		case runner.Passed:
		case report.Unavailable:
			unavailable = append(unavailable, l.ID(step.Number)+": "+r.Reports[0].Problem)
		default:
			return nil, unexpected(r, "pass")
		}
	}
	return unavailable, nil
}

// unexpected says what a step did that it should not have.
func unexpected(r runner.Result, want string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "step %d should %s, but its outcome is %q", r.Step, want, r.Outcome)
	for _, rep := range r.Reports {
		b.WriteString("\n" + report.Text(rep, report.Options{ASCII: true, Width: 100}))
	}
	return errors.New(b.String())
}

// SkeletonNotStarted wants every step of the lesson as delivered to end as not
// started.
func SkeletonNotStarted(ctx context.Context, root string, l catalogue.Lesson) error {
	dir, err := os.MkdirTemp("", "iolab-skeleton-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := workspace.Untouched(root, l, dir)
	if err != nil {
		return err
	}
	b, err := runner.Build(ctx, root, s)
	if err != nil {
		return err
	}
	defer b.Remove()
	for _, step := range l.Steps {
		r, err := b.Step(ctx, step.Number, limits(false))
		if err != nil {
			return err
		}
		if r.Outcome != report.NotStarted && r.Outcome != report.Unavailable {
			return unexpected(r, "be not started")
		}
	}
	return nil
}

// Path wants a reader who has written the steps up to k, and no more, to see step
// k pass and step k+1 not started. (Steps before k have passed with less.)
func Path(ctx context.Context, root string, l catalogue.Lesson, k int) error {
	dir, err := os.MkdirTemp("", "iolab-path-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files, err := partial(root, l, k)
	if err != nil {
		return err
	}
	s := runner.Subject{Lesson: l, Name: fmt.Sprintf("upto%d", k), Once: true}
	if err := workspace.Overlay(&s, root, files, dir); err != nil {
		return err
	}
	b, err := runner.Build(ctx, root, s)
	if err != nil {
		return err
	}
	defer b.Remove()
	if k > 0 {
		r, err := b.Step(ctx, k, limits(false))
		if err != nil {
			return err
		}
		if r.Outcome != runner.Passed && r.Outcome != report.Unavailable {
			return unexpected(r, "pass with nothing written after it")
		}
	}
	if k >= len(l.Steps) {
		return nil
	}
	r, err := b.Step(ctx, k+1, limits(false))
	if err != nil {
		return err
	}
	if r.Outcome == report.Unavailable {
		return nil
	}
	if r.Outcome != report.NotStarted {
		return unexpected(r, "be not started")
	}
	for _, rep := range r.Reports {
		if strings.Contains(rep.Problem, "step "+l.ID(k+1)+" ") {
			return nil
		}
	}
	return unexpected(r, fmt.Sprintf("be not started, and name step %s", l.ID(k+1)))
}
