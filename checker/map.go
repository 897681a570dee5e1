package main

import (
	"flag"
	"fmt"
	"runtime"
	"strings"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/runner"
	"iolab/checker/wine"
	"iolab/checker/workspace"
)

// lessonJSON is a lesson in the output of map and list.
type lessonJSON struct {
	Number int        `json:"number"`
	Folder string     `json:"folder"`
	Title  string     `json:"title"`
	Ready  bool       `json:"ready"`
	Runs   string     `json:"runs"`
	Why    string     `json:"why,omitempty"`
	Done   int        `json:"done"`
	Before int        `json:"before,omitempty"`
	Steps  []stepJSON `json:"steps"`
}

type stepJSON struct {
	catalogue.Step
	Outcome report.Outcome `json:"outcome"`
	Before  bool           `json:"before,omitempty"`
}

func describe(l catalogue.Lesson, p *workspace.Progress) lessonJSON {
	run := l.Runs(runtime.GOOS)
	if l.Number == 5 && run.How == "emulated" {
		if wine.Find() != "" {
			run.Why += "; under Wine: go run ./checker run -wine 05"
		} else {
			run.Why += "; for the real Windows code: apt install wine64"
		}
	}
	j := lessonJSON{Number: l.Number, Folder: l.Folder, Title: l.Title, Ready: l.Ready(),
		Runs: run.How, Why: run.Why, Steps: []stepJSON{}}
	if l.Ready() {
		record := p.Of(l)
		j.Done, j.Before = record.Done(l), record.Ever(l)
		for _, s := range l.Steps {
			j.Steps = append(j.Steps, stepJSON{s, record.Steps[s.Number], record.Before[s.Number]})
		}
	}
	return j
}

func runMap(a *app, _ *flag.FlagSet, _ []string) error {
	p := workspace.Load(a.root)
	var all []lessonJSON
	notes := []string{}
	for _, l := range catalogue.All() {
		all = append(all, describe(l, p))
		notes = append(notes, runner.Notes(a.root, l)...)
	}
	current, ok := p.Current()
	step, again := 0, false
	if ok {
		step, again = p.Of(current).At(current)
	}
	if a.json {
		next := ""
		if ok {
			next = current.ID(step)
		}
		a.printJSON(map[string]any{"os": runtime.GOOS, "next": next, "notes": notes, "lessons": all})
		return nil
	}

	a.printf("\n  %s\n\n", a.paint(report.Bold, "iolab: one thread, many connections, seven ways"))
	for _, l := range all {
		a.mapLine(l, ok && l.Number == current.Number)
	}
	a.printf("\n")
	for _, l := range all {
		if l.Ready && l.Runs != catalogue.Native {
			a.printf("  %02d: %s\n", l.Number, l.Why)
		}
	}
	for _, n := range notes {
		a.wrapped(2, "note: "+n)
	}
	a.next(current, step, ok, again)
	return nil
}

func (a *app) mapLine(l lessonJSON, current bool) {
	mark := " "
	if current {
		mark = a.paint(report.Bold, a.sign("›", ">"))
	}
	title := fmt.Sprintf("%02d  %-24s", l.Number, l.Title)
	if !l.Ready {
		a.printf("  %s %s\n", mark, a.paint(report.Faint, title+"still to come"))
		return
	}
	how := l.Runs
	if how == "" {
		how = "not here"
	}
	bar := a.bar(l)
	extra := ""
	if l.Before > l.Done {
		extra = fmt.Sprintf("  (%d before the last edit: %s)", l.Before, a.sign(signBefore.unicode, signBefore.ascii))
	}
	if l.Done == len(l.Steps) {
		extra = "  done"
	}
	a.printf("  %s %s%s %2d/%-2d  %s%s\n", mark, title, bar, l.Done, len(l.Steps), how, extra)
}

// stepSign is how a step is shown in a bar.
type stepSign struct{ unicode, ascii, color string }

var (
	signPassed = stepSign{"●", "#", report.Green}
	signFailed = stepSign{"✗", "x", report.Red}
	signBefore = stepSign{"◐", "+", report.Green} // passed with files that have changed since
	signOpen   = stepSign{"○", ".", report.Faint}
)

// bar shows a sign a step.
func (a *app) bar(l lessonJSON) string {
	bar := ""
	for _, s := range l.Steps {
		sign := signOpen
		switch {
		case s.Outcome == runner.Passed || s.Outcome == report.Unavailable:
			sign = signPassed
		case s.Outcome == report.Failed:
			sign = signFailed
		case s.Before:
			sign = signBefore
		}
		bar += a.paint(sign.color, a.sign(sign.unicode, sign.ascii))
	}
	if a.ascii {
		bar = "[" + bar + "]"
	}
	return bar + strings.Repeat(" ", max(0, 9-len(l.Steps)))
}

func (a *app) sign(unicode, ascii string) string {
	if a.ascii {
		return ascii
	}
	return unicode
}

// next says what to do now.
func (a *app) next(l catalogue.Lesson, step int, ok, again bool) {
	if !ok {
		a.printf("  All lessons that run here are done. Compare: go run ./checker solution 01\n\n")
		return
	}
	s, _ := l.Step(step)
	id := l.ID(step)
	if again {
		a.printf("  Next: %s\n\n", a.paint(report.Bold, "go run ./checker run "+l.ID(0)))
		a.wrapped(2, fmt.Sprintf("Every step of lesson %s has passed, and its files have changed since: run them again.", l.ID(0)))
		a.printf("\n")
		return
	}
	a.printf("  Next: %s\n", a.paint(report.Bold, fmt.Sprintf("%s, %s", id, s.Title)))
	rows := [][2]string{
		{"read", "lessons/" + l.Folder + "/README.md"},
		{"write", "lessons/" + l.Folder + "/" + l.MainFile()},
		{"run", "go run ./checker run " + l.ID(0) + a.sign("    · at every save: ", "    - at every save: ") + "go run ./checker watch"},
		{"stuck?", "go run ./checker hint" + a.sign("      · all commands:  ", "      - all commands:  ") + "go run ./checker help"},
	}
	for _, r := range rows {
		a.printf("    %-8s%s\n", r[0], r[1])
	}
	a.printf("\n")
}

func runList(a *app, _ *flag.FlagSet, args []string) error {
	lessons := catalogue.All()
	if len(args) > 0 {
		l, _, err := find(args[0])
		if err != nil {
			return err
		}
		lessons = []catalogue.Lesson{l}
	}
	p := workspace.Load(a.root)
	if a.json {
		all := []lessonJSON{}
		for _, l := range lessons {
			all = append(all, describe(l, p))
		}
		a.printJSON(map[string]any{"lessons": all})
		return nil
	}
	for _, l := range lessons {
		if !l.Ready() {
			a.printf("%s  %s (still to come)\n", l.ID(0), l.Title)
			continue
		}
		a.printf("%s  %s: %s\n", l.ID(0), a.paint(report.Bold, l.Title), l.About)
		for _, s := range l.Steps {
			a.printf("  %s  %s\n", l.ID(s.Number), s.Title)
			for _, t := range s.Tests {
				a.printf("        %s\n", a.paint(report.Faint, t.Name))
			}
		}
	}
	return nil
}

// find is catalogue.Find with the exit status that its errors mean.
func find(arg string) (catalogue.Lesson, int, error) {
	l, step, err := catalogue.Find(arg)
	if err != nil {
		code := exitUsage
		if l.Folder != "" && !l.Ready() {
			code = exitCannot
		}
		err = statusError{code, err}
	}
	return l, step, err
}

// lesson finds the lesson that args name, or else the current one.
func (a *app) lesson(args []string) (catalogue.Lesson, int, error) {
	if len(args) > 0 {
		l, step, err := find(args[0])
		return l, step, err
	}
	p := workspace.Load(a.root)
	l, ok := p.Current()
	if !ok {
		return l, 0, usage("all lessons that run here are done; name one to run it again")
	}
	return l, 0, nil
}

// runnable says why the lesson cannot run here, if it cannot.
func runnable(l catalogue.Lesson) error {
	if run := l.Runs(runtime.GOOS); !run.OK() {
		return statusError{exitCannot, fmt.Errorf("lesson %s does not run on %s: %s", l.Folder, runtime.GOOS, run.Why)}
	}
	return nil
}
