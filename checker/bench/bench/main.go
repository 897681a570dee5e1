// Command bench is what `go run ./checker bench` runs. With load.Flag as its first
// argument it is the load generator.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"iolab/checker/bench"
	"iolab/checker/bench/options"
	"iolab/checker/catalogue"
	"iolab/checker/load"
	"iolab/checker/workspace"
)

// Exit statuses, as the checker's.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitCannot      = 3
	exitInterrupted = 130
)

type app struct {
	ctx   context.Context
	o     *options.Options
	b     *bench.Bench
	json  bool
	plain bool
	set   []string // the flags that were given
	said  bool     // the JSON document is written, with what went wrong in it
	out   output

	unread func() // is called when nobody reads the progress any more
}

func main() {
	load.Main()
	runtime.LockOSThread() // the processes that it starts end with this thread
	a := &app{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&a.json, "json", false, "print JSON")
	flags.Bool("ascii", false, "print nothing but ASCII (it never does)")
	flags.BoolVar(&a.plain, "no-color", false, "no colours")
	a.o = options.Define(flags)
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(exitUsage)
	}
	flags.Visit(func(f *flag.Flag) { a.set = append(a.set, f.Name) })
	var stop func()
	a.ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// Where nobody reads what it says any more (head, or less that was left) it ends in good
	// order: dying of SIGPIPE it would leave its servers' folder behind. The signal itself
	// tells nothing: it also comes of a server that has died.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	a.unread = stop
	err := a.run(flags.Args())
	var status statusError
	switch {
	case err == nil && a.out.err == nil:
		return
	case a.ctx.Err() != nil:
		status = statusError{exitInterrupted, errors.New("interrupted")}
	case err != nil:
		status = statusOf(err)
	}
	if a.json && !a.said {
		a.print(map[string]any{"error": status.Error(), "exit": status.code})
	} else if !a.json && status.err != nil && status.code != exitInterrupted {
		fmt.Fprintln(os.Stderr, "bench:", status.err)
	}
	if a.out.err != nil {
		fmt.Fprintln(os.Stderr, "bench: the result cannot be written:", a.out.err)
		status.code = max(status.code, exitFailed)
	}
	os.Exit(status.code)
}

// output is the standard output, and the first error that it gave.
type output struct{ err error }

func (o *output) Write(p []byte) (int, error) {
	n, err := os.Stdout.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// statusOf is err with its exit status.
func statusOf(err error) statusError {
	var status statusError
	switch {
	case errors.As(err, &status):
	case errors.Is(err, bench.ErrCannot):
		status = statusError{code: exitCannot, err: err}
	default:
		status = statusError{code: exitFailed, err: err}
	}
	return status
}

type statusError struct {
	code int
	err  error
}

func (e statusError) Error() string { return e.err.Error() }

func usage(format string, args ...any) error {
	return statusError{exitUsage, fmt.Errorf(format, args...)}
}

func (a *app) run(args []string) error {
	if err := cmp.Or(a.o.Check(), a.checkFlags()); err != nil {
		return statusError{exitUsage, err}
	}
	dir, err := os.Getwd()
	if err == nil {
		dir, err = catalogue.Root(dir)
	}
	if err != nil {
		return statusError{exitCannot, err}
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	a.b = &bench.Bench{Root: dir, Exe: exe, Progress: a.progress}
	verbs := map[string]func([]string) error{"compare": a.compare, "table": a.table, "plots": a.plots, "scale": a.scale}
	if len(args) > 0 {
		if verb, ok := verbs[args[0]]; ok {
			if err := options.Used(args[0], a.set); err != nil {
				return statusError{exitUsage, err}
			}
			return verb(args[1:])
		}
	}
	verb := ""
	if a.o.CheckSyscalls {
		verb = options.CheckSyscallsVerb
	}
	if err := options.Used(verb, a.set); err != nil {
		return statusError{exitUsage, err}
	}
	return a.bench(args)
}

// progress shows how far it is: in one line on a terminal, else in one line each.
func (a *app) progress(done, all int, what string) {
	if a.json {
		return
	}
	format := "%3d%%  %s\n"
	if a.terminal() {
		format = "\r\x1b[K%3d%%  %.73s"
	}
	if _, err := fmt.Fprintf(os.Stderr, format, 100*done/max(all, 1), what); err != nil {
		a.unread()
	}
}

func (a *app) terminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && !a.plain
}

// finished takes the progress away.
func (a *app) finished() {
	if !a.json && a.terminal() {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

// print writes the one JSON document.
func (a *app) print(v any) {
	a.said = true
	e := json.NewEncoder(&a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	e.Encode(v) // a.out keeps the error
}

// finish shows r, in JSON with err, which is what went wrong in a part of it or with
// keeping it, and returns err.
func (a *app) finish(r *bench.Result, show func(), err error) error {
	if !a.json {
		show()
		if r.File != "" {
			fmt.Fprintf(&a.out, "kept as %s/%s.json\n", bench.Folder, r.Name())
		}
		return err
	}
	if err != nil {
		status := statusOf(err)
		r.Error, r.Exit = status.Error(), status.code
	}
	a.print(r)
	return err
}

// subjects finds those that args name, or else the usual ones.
func (a *app) subjects(args []string) (all []bench.Subject, err error) {
	if len(args) == 0 {
		args = a.usual()
	}
	for _, arg := range args {
		s, err := bench.ParseSubject(arg)
		switch {
		case errors.Is(err, bench.ErrCannot):
			return nil, statusError{exitCannot, err}
		case err != nil:
			return nil, statusError{exitUsage, err}
		}
		if !slices.ContainsFunc(all, func(t bench.Subject) bool { return t.Name == s.Name }) {
			all = append(all, s)
		}
	}
	return all, nil
}

// usual are the subjects of a bench that is not told: the reader's servers that are
// complete, the solutions that run natively here, and package net.
func (a *app) usual() (names []string) {
	p := workspace.Load(a.b.Root)
	var solutions []string
	for _, l := range catalogue.All() {
		if run := l.Runs(runtime.GOOS); !l.Ready() || run.How != catalogue.Native || l.Number == 7 {
			continue
		}
		if p.Of(l).Done(l) == len(l.Steps) {
			names = append(names, l.ID(0))
		}
		solutions = append(solutions, "solution/"+l.ID(0))
	}
	return append(append(names, solutions...), "net")
}

func (a *app) bench(args []string) error {
	subjects, err := a.subjects(args)
	if err != nil {
		return err
	}
	plan, err := bench.NewPlan(a.o, subjects)
	if err != nil {
		return statusError{exitUsage, err}
	}
	if a.o.CheckSyscalls {
		return a.checkSyscalls(plan)
	}
	if !slices.Contains(a.set, "memory") {
		plan.Memory = min(plan.Memory, bench.Fit())
	}
	if need := plan.Needs(); need > bench.Fit() {
		if text := bench.RaiseLimit(need); !a.json {
			fmt.Fprintln(os.Stderr, text)
		}
	}
	r, err := a.b.Run(a.ctx, plan)
	a.finished()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(r.Rows, func(row bench.Row) bool { return len(row.Samples) > 0 }) {
		return fmt.Errorf("%s was not measured: %s", r.Rows[0].Subject, r.Rows[0].Problem) // nothing to keep
	}
	return a.finish(r, func() {
		r.Show(&a.out)
		fmt.Fprintf(&a.out, "%s\n\ncompare two results: go run ./checker bench compare before last\n", r.Ceiling())
	}, errors.Join(unmeasured(r), a.keep(r)))
}

// checkFlags says so now if the processors are not there, or the folder for the plot, and
// not after some minutes.
func (a *app) checkFlags() error {
	if slices.Contains(a.set, "server-cores") {
		if err := bench.CheckCores(a.o.ServerCores); err != nil {
			return err
		}
	}
	if a.o.Plot == "" {
		return nil
	}
	if info, err := os.Stat(filepath.Dir(a.o.Plot)); err != nil || !info.IsDir() {
		return fmt.Errorf("-plot %s: there is no folder %s", a.o.Plot, filepath.Dir(a.o.Plot))
	}
	return nil
}

// unmeasured is the error of the first row or memory that was not measured in full.
func unmeasured(r *bench.Result) error {
	for _, row := range r.Rows {
		if row.Problem != "" && !row.Skipped {
			return fmt.Errorf("%s was not measured in full: %s", row.Subject, row.Problem)
		}
	}
	for _, m := range r.Memory {
		if runtime.GOOS == "linux" && m.Problem != "" {
			return fmt.Errorf("the memory of %s was not measured: %s", m.Subject, m.Problem)
		}
	}
	return nil
}

func (a *app) checkSyscalls(plan bench.Plan) error {
	if n := len(plan.Scenarios); n > 1 && (a.o.Connections != "" || a.o.Depth != "") {
		return usage("-check-syscalls counts under one load; -connections and -depth ask for %d", n)
	}
	all, err := a.b.CheckSyscalls(a.ctx, plan)
	a.finished()
	if err != nil {
		return err
	}
	for _, c := range all {
		if !c.OK && err == nil {
			err = fmt.Errorf("%s counts %d calls of %s, and the kernel %d", c.Subject, c.Counted, c.Call, c.Kernel)
		}
	}
	if !a.json {
		bench.ShowChecked(&a.out, all)
		return err
	}
	document := map[string]any{"checked": all}
	if err != nil {
		document["error"], document["exit"] = err.Error(), exitFailed
	}
	a.print(document)
	return err
}

// pace is how many rounds of which length a table or plot has.
func (a *app) pace() (rounds int, window time.Duration) {
	rounds, window = 3, 500*time.Millisecond
	if a.o.Thorough {
		rounds, window = 7, 2*time.Second
	}
	if a.o.Rounds > 0 {
		rounds = a.o.Rounds
	}
	if a.o.Window > 0 {
		window = a.o.Window
	}
	return rounds, window
}

func (a *app) table(args []string) error {
	if len(args) > 0 {
		return usage("table takes no subjects: it measures every solution that runs here")
	}
	rounds, window := a.pace()
	plan, err := bench.TablePlan(rounds, window, a.o.ServerCores)
	if err != nil {
		return err
	}
	r, err := a.b.Table(a.ctx, plan, a.o.Most)
	a.finished()
	if err != nil {
		return err
	}
	return a.finish(r, func() { r.ShowTable(&a.out) }, errors.Join(untabled(r), a.keep(r)))
}

// untabled is the error of the first part of a table that was not measured in full.
func untabled(r *bench.Result) error {
	all := bench.Result{}
	for _, m := range r.Table {
		all.Rows = append(all.Rows, m.Paced, m.Full)
		if m.Climb.Problem != "" {
			return fmt.Errorf("%s: %s", m.Subject, m.Climb.Problem)
		}
	}
	if r.Echo != nil {
		all.Rows = append(all.Rows, r.Echo.Rows...)
	}
	return unmeasured(&all)
}

func (a *app) plots(args []string) error {
	if len(args) > 0 {
		return usage("plots takes no subjects: it draws the figures of the lessons; for a figure of one's own: bench SUBJECT... -plot file.svg")
	}
	r, err := a.plotted()
	a.finished()
	if err != nil {
		return err
	}
	if err := unmeasured(r); err != nil {
		return err // a figure of a part would not be one of the lessons'
	}
	if !r.Measured() {
		return statusError{exitCannot, errors.New("this system does not tell another process's processor time, and that is what the figures show")}
	}
	var files []string
	for name, draw := range bench.Figures {
		if err := a.write(filepath.Join(a.b.Root, filepath.FromSlash(name)), func(w io.Writer) error { return draw(r, w) }); err != nil {
			return err
		}
		files = append(files, name)
	}
	slices.Sort(files)
	if a.json {
		a.print(map[string]any{"result": r, "files": files})
		return nil
	}
	r.Show(&a.out)
	for _, name := range files {
		fmt.Fprintln(&a.out, "drawn:", name)
	}
	return nil
}

// plotted is what the figures show: measured now, or earlier.
func (a *app) plotted() (*bench.Result, error) {
	if a.o.From != "" {
		r, err := bench.Load(a.b.Root, "plots", a.o.From)
		if err != nil {
			return nil, statusError{exitUsage, err}
		}
		return r, nil
	}
	rounds, window := a.pace()
	plan, err := bench.PlotsPlan(rounds, window)
	if err != nil {
		return nil, err
	}
	r, err := a.b.Plots(a.ctx, plan)
	if err != nil {
		return nil, err
	}
	return r, r.Save(a.b.Root)
}

func (a *app) scale(args []string) error {
	if runtime.GOOS == "windows" {
		return statusError{exitCannot, errors.New("scale climbs against limits of Linux and its like; on Windows memory is the limit")}
	}
	ascents, err := a.ascents(args)
	if err != nil {
		return err
	}
	most := 0
	for _, s := range ascents {
		most = max(most, s.Most)
	}
	settings := bench.Settings(most)
	if len(settings) == 0 {
		fmt.Fprintln(os.Stderr, "no sysctl has to be changed for this")
	}
	fmt.Fprintln(os.Stderr, bench.RaiseLimit(most))
	a.unread = func() {} // should nobody read what it says, it goes on, and puts back
	restore := sync.OnceFunc(bench.Apply(os.Stderr, settings))
	defer restore()
	defer context.AfterFunc(a.ctx, restore)() // at once after Ctrl-C: the connections may take long to close
	r, err := a.b.Scale(a.ctx, ascents)
	a.finished()
	if err != nil {
		return err
	}
	return a.finish(r, func() { r.ShowScale(&a.out) }, errors.Join(unscaled(r), a.keep(r)))
}

// unscaled is the error of the first climb that did not go as it should.
func unscaled(r *bench.Result) error {
	for _, c := range r.Climbs {
		switch {
		case c.Problem != "":
			return fmt.Errorf("%s: %s", c.Subject, c.Problem)
		case !c.Again:
			return fmt.Errorf("%s: not all connections had their second echo", c.Subject)
		}
	}
	return nil
}

// ascents are the climbs that were asked for, or the usual ones.
func (a *app) ascents(args []string) ([]bench.Ascent, error) {
	if len(args) == 0 && a.o.Processes == 0 {
		return bench.Ascents(a.o.Most)
	}
	if len(args) == 0 {
		return nil, usage("-processes needs a subject that shares its port: go run ./checker bench scale solution/03 -processes 6")
	}
	subjects, err := a.subjects(args)
	if err != nil {
		return nil, err
	}
	var all []bench.Ascent
	for _, s := range subjects {
		if a.o.Processes > 1 && s.Lesson != 3 {
			return nil, usage("%s does not share its port; lesson 03 does", s.Name)
		}
		all = append(all, bench.Ascent{Subject: s, Processes: max(a.o.Processes, 1), Most: a.o.Most})
	}
	return all, nil
}

// keep saves r, and draws it if that was asked for.
func (a *app) keep(r *bench.Result) error {
	if err := r.Save(a.b.Root); err != nil {
		return err
	}
	if a.o.Plot == "" {
		return nil
	}
	draw := r.Plot
	if r.Kind == "scale" {
		draw = r.PlotScale
	}
	if err := a.write(a.o.Plot, draw); err != nil {
		return err
	}
	if !a.json {
		fmt.Fprintln(os.Stderr, "drawn:", a.o.Plot)
	}
	return nil
}

func (a *app) write(file string, draw func(io.Writer) error) error {
	f, err := os.Create(file)
	if err != nil {
		return statusError{exitUsage, err}
	}
	if err := draw(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func (a *app) compare(args []string) error {
	if len(args) == 0 {
		args = []string{"before", "last"}
	}
	if len(args) != 2 {
		return usage("compare wants two results, or none for the last two: go run ./checker bench compare A B")
	}
	first, err := bench.Load(a.b.Root, "bench", args[0])
	if err != nil {
		return statusError{exitUsage, err}
	}
	second, err := bench.Load(a.b.Root, "bench", args[1])
	if err != nil {
		return statusError{exitUsage, err}
	}
	changes, notes := bench.Compare(first, second)
	if len(changes) == 0 {
		return statusError{exitFailed, errors.New("the two have nothing in common: no subject in the same scenario")}
	}
	if a.json {
		a.print(map[string]any{"a": first.Name(), "b": second.Name(), "notes": notes, "changes": changes})
		return nil
	}
	bench.ShowChanges(&a.out, first, second, changes, notes)
	return nil
}
