package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"strings"
	"time"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/runner"
	"iolab/checker/wine"
	"iolab/checker/workspace"
)

// runJSON is the output of run -json.
type runJSON struct {
	Lesson  string          `json:"lesson"`
	Subject string          `json:"subject"`
	Outcome report.Outcome  `json:"outcome"`
	Notes   []string        `json:"notes"`
	Steps   []runner.Result `json:"steps"`
}

func runFlags(f *flag.FlagSet) {
	f.Bool("race", false, "build with the race detector")
	wineFlag(f)
	limitFlags(f)
}

func wineFlag(f *flag.FlagSet) {
	f.Bool("wine", false, "build for Windows and run under Wine (on Linux, lesson 05)")
}

func limitFlags(f *flag.FlagSet) {
	f.Duration("timeout", runner.DefaultLimits.Time, "end a step that runs longer")
	f.Int("memory", int(runner.DefaultLimits.Memory>>20), "end a step that needs more `MiB` (Linux)")
}

func limits(f *flag.FlagSet) (runner.Limits, error) {
	l := runner.DefaultLimits
	if d := value[time.Duration](f, "timeout"); d != l.Time {
		l.Time = d // as the reader said
	} else {
		l = l.Patient()
	}
	l.Memory = int64(value[int](f, "memory")) << 20
	if l.Time <= 0 || l.Memory <= 0 {
		return l, usage("-timeout and -memory must be greater than zero")
	}
	return l, nil
}

func runRun(a *app, f *flag.FlagSet, args []string) error {
	l, step, err := a.lesson(args)
	if err == nil {
		err = runnable(l)
	}
	if err != nil {
		return err
	}
	lim, err := limits(f)
	if err != nil {
		return err
	}
	s := runner.Yours(l)
	s.Race = value[bool](f, "race")
	if s.Wine = value[bool](f, "wine"); s.Wine {
		if err := winable(l, s.Race); err != nil {
			return err
		}
		s.Name = "yours-under" // its results are not what the map counts
	}
	return a.runSteps(s, step, lim)
}

// winable says why the lesson cannot run under Wine, if it cannot.
func winable(l catalogue.Lesson, race bool) error {
	switch {
	case runtime.GOOS != "linux":
		return statusError{exitCannot, errors.New("-wine is for Linux: elsewhere lesson 05 runs as the map says")}
	case race:
		return usage("-race and -wine do not go together: the race detector needs a C compiler for Windows")
	case l.Number != 5:
		return statusError{exitCannot, fmt.Errorf("lesson %s does not run under Wine: -wine is for lesson 05", l.Folder)}
	case wine.Find() == "":
		return statusError{exitCannot, wine.ErrMissing}
	}
	return nil
}

// runSteps runs one step of the subject, or all in order up to the first that does
// not pass, and shows them.
func (a *app) runSteps(s runner.Subject, only int, lim runner.Limits) error {
	l := s.Lesson
	steps := l.Steps
	if only != 0 {
		step, _ := l.Step(only)
		steps = []catalogue.Step{step}
	}
	result := runJSON{Lesson: l.Folder, Subject: s.Name, Notes: runner.Notes(a.root, l), Steps: []runner.Result{}}
	if !a.json {
		a.printf("\n  %s\n\n", a.paint(report.Bold, fmt.Sprintf("Lesson %s, %s", l.ID(0), l.Title)))
		for _, n := range result.Notes {
			a.wrapped(2, "note: "+n)
		}
	}
	s2 := session{app: a, subject: s, limits: lim}
	for _, step := range steps {
		r, err := s2.step(a.ctx, step.Number)
		if err != nil {
			return err
		}
		if !a.json {
			a.stepLine(l, r)
		}
		result.Steps = append(result.Steps, r)
		if r.Outcome != runner.Passed && r.Outcome != report.Unavailable {
			break
		}
	}
	s2.close()
	result.Outcome = worst(result.Steps)
	last := result.Steps[len(result.Steps)-1]
	if a.json {
		a.printJSON(result)
	} else {
		a.explain(l, last)
		a.summary(s, result, only)
	}
	switch result.Outcome {
	case runner.Passed:
		return nil
	case report.Unavailable:
		return statusError{code: exitCannot}
	}
	return statusError{code: exitFailed}
}

func worst(results []runner.Result) report.Outcome {
	for _, o := range []report.Outcome{report.Failed, report.NotStarted, report.Unavailable} {
		for _, r := range results {
			if r.Outcome == o {
				return o
			}
		}
	}
	return runner.Passed
}

// session builds a subject once and runs steps of it.
type session struct {
	*app
	subject runner.Subject
	limits  runner.Limits
	binary  *runner.Binary
	files   string // fingerprint of what the binary was built from
	warned  bool
}

func (s *session) close() {
	if s.binary != nil {
		s.binary.Remove()
	}
}

// step runs one step, and remembers the result if the subject is the reader's.
func (s *session) step(ctx context.Context, n int) (runner.Result, error) {
	l := s.subject.Lesson
	step, _ := l.Step(n)
	if s.binary == nil {
		s.status("building lesson " + l.ID(0) + " ...")
		s.files = workspace.Fingerprint(s.root, l)
		b, err := runner.Build(ctx, s.root, s.subject)
		s.status("")
		var compile *runner.CompileError
		if errors.As(err, &compile) {
			r := runner.Result{Step: n, Title: step.Title, Outcome: report.Failed,
				Reports: []report.Report{compile.Report(n)}}
			return r, nil // it says nothing of the step
		}
		if err != nil {
			return runner.Result{}, err
		}
		s.binary = b
	}
	s.status(fmt.Sprintf("step %d, %s ...", n, step.Title))
	r, err := s.binary.Step(ctx, n, s.limits)
	s.status("")
	if err == nil {
		s.remember(n, r.Outcome)
	}
	return r, err
}

func (s *session) remember(step int, o report.Outcome) {
	if s.subject.Name != "yours" {
		return
	}
	p := workspace.Load(s.root)
	p.Set(s.subject.Lesson, s.files, step, o)
	if err := p.Save(); err != nil && !s.warned {
		s.note("%v", err)
		s.warned = true
	}
}

func (a *app) stepLine(l catalogue.Lesson, r runner.Result) {
	var sign, color string
	switch r.Outcome {
	case runner.Passed:
		sign, color = a.sign("✓", "ok"), report.Green
	case report.Failed:
		sign, color = a.sign("✗", "!!"), report.Red
	case report.NotStarted:
		sign, color = a.sign("○", ".."), report.Yellow
	default:
		sign, color = a.sign("–", "--"), report.Blue
	}
	if !compiles(r) {
		a.printf("  %s  %-6s does not compile\n", a.paint(color, fmt.Sprintf("%-2s", sign)), l.ID(0))
		return
	}
	a.printf("  %s  %-6s %-50s %6.2f s\n", a.paint(color, fmt.Sprintf("%-2s", sign)), l.ID(r.Step), r.Title, r.Seconds)
	if r.Outcome == report.Unavailable {
		for _, rep := range r.Reports {
			a.wrapped(13, rep.Problem)
		}
	}
}

func compiles(r runner.Result) bool { return len(r.Reports) != 1 || r.Reports[0].Compiles() }

func (a *app) wrapped(indent int, s string) {
	for _, line := range report.Wrap(s, 78-indent) {
		a.printf("%s%s\n", strings.Repeat(" ", indent), line)
	}
}

// explain shows why a step did not pass: the first report in full, the other
// tests by name.
func (a *app) explain(l catalogue.Lesson, r runner.Result) {
	if r.Outcome == runner.Passed || r.Outcome == report.Unavailable {
		return
	}
	a.printf("\n")
	step, _ := l.Step(r.Step)
	var shown *report.Report
	var others []string
	for i, rep := range r.Reports {
		switch {
		case shown == nil && rep.Outcome == r.Outcome:
			shown = &r.Reports[i]
		case rep.Outcome != report.Unavailable && rep.Test != "":
			others = append(others, rep.Test)
		}
	}
	if shown == nil {
		return
	}
	if r.Outcome == report.NotStarted {
		a.wrapped(2, strings.ToUpper(shown.Problem[:1])+shown.Problem[1:]+".")
		a.printf("\n")
		a.wrapped(2, "The tests of this step: "+step.Asks)
		return
	}
	a.printf("%s", report.Text(*shown, a.options()))
	if len(others) > 0 {
		a.printf("\n")
		a.wrapped(2, fmt.Sprintf("Also not passed in this step: %s.", strings.Join(others, ", ")))
	}
}

// summary says where the reader stands and what to do.
func (a *app) summary(s runner.Subject, r runJSON, only int) {
	l, last := s.Lesson, r.Steps[len(r.Steps)-1]
	a.printf("\n")
	switch {
	case r.Outcome == report.Failed || r.Outcome == report.NotStarted:
		if (s.Name == "yours" || s.Wine) && compiles(last) {
			a.printf("  Read: lessons/%s/README.md, step %d    Stuck? go run ./checker hint %s\n", l.Folder, last.Step, l.ID(last.Step))
		}
	case only != 0:
		a.printf("  Step %s passes.\n", l.ID(only))
	case s.Wine:
		a.printf("  All %d steps pass under Wine.\n", len(l.Steps))
	case s.Name == "yours":
		a.printf("  All %d steps pass. Compare with the solution: go run ./checker solution %s\n", len(l.Steps), l.ID(0))
	default:
		a.printf("  All %d steps pass with the %s.\n", len(l.Steps), s.Name)
	}
	a.printf("\n")
}
