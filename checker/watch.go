package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/runner"
	"iolab/checker/watch"
	"iolab/checker/workspace"
)

func watchFlags(f *flag.FlagSet) {
	limitFlags(f)
}

func runWatch(a *app, f *flag.FlagSet, args []string) error {
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
	w := &watcher{app: a, lesson: l, limits: lim, current: step}
	if w.current == 0 {
		// The steps that passed before the last edit are run again before the next
		// one is left, not before it is begun.
		w.current, w.finished = workspace.Load(a.root).Of(l).At(l)
		if w.current == 0 {
			w.finished = true
		}
	}
	return w.loop()
}

// watcher is the state of one watch: the reader's place, and the run that is on.
type watcher struct {
	*app
	lesson   catalogue.Lesson
	limits   runner.Limits
	current  int
	passed   bool // the current step has, with the present files
	finished bool // every step had passed before the watch began: it runs them all, and goes on

	cancel context.CancelFunc // of the run that is on, nil if none is
	done   chan outcome
}

// outcome is the end of one run.
type outcome struct {
	results []runner.Result
	err     error
}

func (w *watcher) loop() error {
	ctx, stop := context.WithCancel(w.ctx)
	defer stop()
	changes := watch.Changes(ctx, []string{w.lesson.Dir(w.root), filepath.Join(w.root, "lessons", "engine")})
	keys := w.keys(ctx)
	w.begin(ctx)
	for {
		select {
		case <-w.ctx.Done():
			w.stop()
			return w.ctx.Err()
		case <-changes:
			w.stop()
			w.begin(ctx)
		case o := <-w.done:
			w.cancel, w.done = nil, nil
			if o.err != nil {
				return o.err
			}
			if w.show(o.results) {
				return nil
			}
		case key, ok := <-keys:
			if !ok {
				keys = nil // not a terminal, or closed: saves are enough
				continue
			}
			if quit := w.key(ctx, key); quit {
				w.stop()
				return nil
			}
		}
	}
}

// keys are the lines that the reader types.
func (w *watcher) keys(ctx context.Context) chan string {
	keys := make(chan string)
	go func() {
		defer close(keys)
		for s := bufio.NewScanner(w.in); s.Scan(); {
			select {
			case keys <- strings.TrimSpace(s.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return keys
}

func (w *watcher) key(ctx context.Context, key string) (quit bool) {
	switch strings.ToLower(key) {
	case "q", "quit":
		return true
	case "", "n":
		switch {
		case w.done != nil: // wait for it
		case w.passed && !w.finished:
			w.advance(ctx)
		default:
			w.begin(ctx)
		}
	case "r":
		w.stop()
		w.begin(ctx)
	case "h":
		p := workspace.Load(w.root)
		record := p.Of(w.lesson)
		hints, err := w.lesson.Hints(w.root, w.current)
		if err != nil || len(hints) == 0 {
			w.printf("  This step has no hints.\n")
			break
		}
		number := record.Hints[w.current]%len(hints) + 1 // after the last comes the first
		record.Hints[w.current] = number
		p.Save()
		w.showHint(w.lesson, w.current, number, hints)
	default:
		w.prompt()
	}
	return false
}

// advance goes to the next step, after the earlier ones that the present files have
// not yet shown to pass.
func (w *watcher) advance(ctx context.Context) {
	record := workspace.Load(w.root).Of(w.lesson)
	var run []int
	for _, s := range w.lesson.Steps {
		o := record.Steps[s.Number]
		if s.Number < w.current && o != runner.Passed && o != report.Unavailable {
			run = append(run, s.Number)
		}
	}
	next, ok := w.lesson.Step(w.current + 1)
	if ok {
		w.current, w.passed = next.Number, false
		run = append(run, next.Number)
	}
	if len(run) == 0 {
		run = []int{w.current}
	}
	w.start(ctx, run...)
}

// begin starts a run of the current step, or of a finished lesson's steps.
func (w *watcher) begin(ctx context.Context) {
	steps := []int{w.current}
	if w.finished {
		steps = nil
		for _, s := range w.lesson.Steps {
			steps = append(steps, s.Number)
		}
	}
	w.start(ctx, steps...)
}

// start builds the lesson and runs steps of it, up to the first that does not
// pass, in the background.
func (w *watcher) start(ctx context.Context, steps ...int) {
	ctx, w.cancel = context.WithCancel(ctx)
	w.done = make(chan outcome, 1)
	done := w.done
	go func() {
		s := session{app: w.app, subject: runner.Yours(w.lesson), limits: w.limits}
		defer s.close()
		var o outcome
		for _, n := range steps {
			r, err := s.step(ctx, n)
			if err != nil {
				o.err = err
				break
			}
			o.results = append(o.results, r)
			if r.Outcome != runner.Passed && r.Outcome != report.Unavailable {
				break
			}
		}
		done <- o
	}()
}

// stop ends the run that is on, and waits for it.
func (w *watcher) stop() {
	if w.done != nil {
		w.cancel()
		<-w.done
		w.cancel, w.done = nil, nil
	}
}

// show shows the results of a run, and says whether the lesson is done.
func (w *watcher) show(results []runner.Result) (done bool) {
	last := results[len(results)-1]
	w.current = last.Step // an earlier one, if that broke
	w.passed = last.Outcome == runner.Passed || last.Outcome == report.Unavailable
	record := workspace.Load(w.root).Of(w.lesson)
	all := record.Done(w.lesson) == len(w.lesson.Steps)
	done = w.passed && all && !w.finished
	if w.json {
		line, _ := json.Marshal(runJSON{Lesson: w.lesson.Folder, Subject: "yours", Outcome: worst(results),
			Notes: runner.Notes(w.root, w.lesson), Steps: results})
		w.printf("%s\n", line)
		return done
	}
	w.printf("\n  %s\n\n", w.paint(report.Faint, w.rule(time.Now())))
	for _, n := range runner.Notes(w.root, w.lesson) {
		w.wrapped(2, "note: "+n)
	}
	for _, r := range results {
		w.stepLine(w.lesson, r)
	}
	w.explain(w.lesson, last)
	switch {
	case done:
		w.printf("\n  All %d steps of lesson %s pass: there is nothing left to watch for.\n", len(w.lesson.Steps), w.lesson.ID(0))
		w.printf("  Compare with the solution: go run ./checker solution %s\n\n", w.lesson.ID(0))
		return true
	case all:
		w.printf("\n  All %d steps of lesson %s pass. The watch goes on: a save runs them all.\n", len(w.lesson.Steps), w.lesson.ID(0))
	}
	w.prompt()
	return false
}

// rule is the line between two runs.
func (w *watcher) rule(now time.Time) string {
	line := strings.Repeat(w.sign("─", "-"), 4)
	return line + now.Format(" 15:04:05 ") + strings.Repeat(w.sign("─", "-"), 62)
}

func (w *watcher) prompt() {
	if w.json {
		return
	}
	keys := "Enter: run again"
	if w.passed && !w.finished {
		keys = "Enter: run all steps"
		if next, ok := w.lesson.Step(w.current + 1); ok {
			keys = fmt.Sprintf("Enter: go on to %s, %s", w.lesson.ID(next.Number), next.Title)
		}
		keys += "   r, Enter: run again"
	}
	w.printf("\n  %s\n", w.paint(report.Faint, keys+"   h, Enter: hint   q, Enter: quit"))
}
