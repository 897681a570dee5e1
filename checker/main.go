// Command checker runs the lab's lessons and says what is wrong with them.
//
//	go run ./checker                 the map: where you are, and what is next
//	go run ./checker run 02.3        run one step
//	go run ./checker help            all commands
//
// The exit status is 0 if all that was asked for passed, 1 if a step failed or is
// not written, 2 if the command line is wrong, 3 if it cannot run here, and 130
// after Ctrl-C. (`go run` itself turns every status but 0 into 1; a checker built
// with `go build -o iolab ./checker` shows them.)
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"iolab/checker/catalogue"
	"iolab/checker/report"
)

// Exit statuses.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitCannot      = 3
	exitInterrupted = 130
)

// app is one call of the checker.
type app struct {
	ctx   context.Context
	root  string
	out   io.Writer
	err   io.Writer
	in    io.Reader
	json  bool
	ascii bool
	plain bool // no colour
}

// verb is one command.
type verb struct {
	name    string
	args    string // for the usage line
	summary string
	detail  string
	flags   func(*flag.FlagSet) // its own, nil for none
	// run gets the positional arguments. Flags are read from the set.
	run  func(a *app, flags *flag.FlagSet, args []string) error
	many bool // takes any number of positional arguments and judges them itself
	// raw verbs get their arguments as they are, for flags that are another
	// program's.
	raw func(a *app, args []string) error
}

// verbs is the table of commands. It is filled in init because help shows it.
var verbs []verb

func init() {
	verbs = []verb{
		{name: "map", summary: "the lessons and what is next; the same without a command", run: runMap},
		{name: "run", args: "[LESSON[.STEP]]", summary: "run the steps, up to the first that does not pass",
			detail: "Without a lesson: the one you are at. With a step: that step alone.", flags: runFlags, run: runRun},
		{name: "watch", args: "[LESSON]", summary: "run the current step at every save",
			detail: "Goes to the next step only when you press Enter.", flags: watchFlags, run: runWatch},
		{name: "hint", args: "[LESSON[.STEP]]", summary: "show a hint; each call shows one more",
			flags: hintFlags, run: runHint},
		{name: "reset", args: "LESSON", summary: "put the skeleton back, and your files into .iolab/backup", run: runReset},
		{name: "solution", args: "LESSON", summary: "the difference between your files and the solution",
			detail: "Shown once you have passed the lesson, or when you ask twice.", flags: solutionFlags, run: runSolution},
		{name: "serve", args: "LESSON [-solution] [FLAGS]", summary: "start the lesson's server; FLAGS are its own, see -help",
			raw: runServe},
		{name: "bench", args: "[SUBJECT...|table|plots|scale|compare A B]", summary: "measure servers beside each other: cost of a message, latency, calls, memory",
			detail: benchDetail, flags: benchFlags, run: runBench, many: true},
		{name: "arena", summary: "lesson 07's server with bots, live in a page of the browser",
			detail: "Starts your server, or with -solution ours, and prints the page's address.", flags: arenaFlags, run: runArena},
		{name: "play", summary: "join lesson 07's game from the terminal",
			detail: "Starts your server, or with -solution ours, unless -addr names one that runs: two can play.", flags: playFlags, run: runPlay},
		{name: "list", args: "[LESSON]", summary: "the lessons, their steps and tests", run: runList},
		{name: "doctor", summary: "what this machine can do, and cures for what it cannot", run: runDoctor},
		{name: "inspect", args: "PID [-for 1s]", summary: "what a server is doing, any on this machine, and what is wrong with it (Linux)",
			detail: "Exit status 1: it found a problem; 3: the process cannot be looked at.", flags: inspectFlags, run: runInspect},
		{name: "verify", args: "[LESSON]", summary: "for maintainers: solutions pass, mutants are caught",
			flags: verifyFlags, run: runVerify},
		{name: "help", args: "[COMMAND|json]", summary: "this text; a command's flags; the -json format", run: runHelp},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the checker at once
	a := &app{ctx: ctx, out: os.Stdout, err: os.Stderr, in: os.Stdin,
		ascii: !unicodeConsole(), plain: os.Getenv("NO_COLOR") != "" || !terminal(os.Stdout)}
	status := a.main(os.Args[1:])
	restoreConsole()
	os.Exit(status)
}

func (a *app) main(args []string) int {
	err := a.dispatch(args)
	var status statusError
	switch {
	case err == nil:
		return exitOK
	case a.ctx.Err() != nil:
		return exitInterrupted
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case !errors.As(err, &status):
		status = statusError{exitCannot, err}
	}
	if status.err != nil {
		if a.json {
			a.printJSON(map[string]any{"error": status.err.Error(), "exit": status.code})
		} else {
			fmt.Fprintln(a.err, "checker:", status.err)
		}
	}
	return status.code
}

// statusError is an error with the exit status it means; without an error all has
// been said already.
type statusError struct {
	code int
	err  error
}

func (e statusError) Error() string { return fmt.Sprint(e.err) }

func usage(format string, args ...any) error {
	return statusError{exitUsage, fmt.Errorf(format, args...)}
}

func (a *app) dispatch(args []string) error {
	global := flag.NewFlagSet("checker", flag.ContinueOnError)
	a.globals(global)
	if err := a.parse(global, args); err != nil {
		return err
	}
	name, rest := "map", global.Args()
	if len(rest) > 0 {
		name, rest = rest[0], rest[1:]
	}
	v, err := findVerb(name)
	if err != nil {
		return err
	}
	if v.raw != nil {
		if err := a.findRoot(); err != nil {
			return err
		}
		return v.raw(a, rest)
	}
	flags := v.flagSet(a)
	positional, err := a.parseAll(flags, rest)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			a.helpVerb(v)
		}
		return err
	}
	if n := strings.Count(v.args, "LESSON") + strings.Count(v.args, "COMMAND") + strings.Count(v.args, "PID"); !v.many && len(positional) > min(n, 1) {
		return usage("%s: unexpected argument %q; the command is: %s", v.name, positional[len(positional)-1], v.usage())
	}
	if v.name != "help" {
		if err := a.findRoot(); err != nil {
			return err
		}
	}
	return v.run(a, flags, positional)
}

func findVerb(name string) (verb, error) {
	var names []string
	for _, v := range verbs {
		if v.name == name {
			return v, nil
		}
		names = append(names, v.name)
	}
	if near := catalogue.Nearest(name, names); near != "" {
		return verb{}, usage("there is no command %q; did you mean %s?", name, near)
	}
	if _, _, err := catalogue.Find(name); err == nil {
		return verb{}, usage("there is no command %q; did you mean run %s?", name, name)
	}
	return verb{}, usage("there is no command %q; go run ./checker help shows them all", name)
}

func (a *app) findRoot() error {
	dir, err := os.Getwd()
	if err == nil {
		a.root, err = catalogue.Root(dir)
	}
	if err != nil {
		return statusError{exitCannot, err}
	}
	return nil
}

// globals are the flags that every command has.
func (a *app) globals(f *flag.FlagSet) {
	for _, g := range []struct {
		name, usage string
		field       *bool
	}{
		{"json", "print JSON; see help json", &a.json},
		{"ascii", "print nothing but ASCII", &a.ascii},
		{"no-color", "no colours", &a.plain},
	} {
		f.BoolFunc(g.name, g.usage, func(s string) (err error) {
			*g.field, err = strconv.ParseBool(s)
			return err
		})
	}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
}

func (v verb) flagSet(a *app) *flag.FlagSet {
	f := flag.NewFlagSet(v.name, flag.ContinueOnError)
	a.globals(f)
	if v.flags != nil {
		v.flags(f)
	}
	return f
}

func (a *app) parse(f *flag.FlagSet, args []string) error {
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		if f.Name() == "checker" {
			a.help()
		}
		return err
	}
	if err != nil {
		hint := "go run ./checker help " + f.Name()
		if f.Name() == "checker" {
			hint = "go run ./checker help"
		}
		return usage("%v; see: %s", err, hint)
	}
	return nil
}

// parseAll parses flags before, between and after the positional arguments.
func (a *app) parseAll(f *flag.FlagSet, args []string) (positional []string, err error) {
	for {
		if err := a.parse(f, args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return positional, nil
		}
		positional, args = append(positional, f.Arg(0)), f.Args()[1:]
	}
}

// value is the value of one of the verb's own flags.
func value[T any](f *flag.FlagSet, name string) T {
	return f.Lookup(name).Value.(flag.Getter).Get().(T)
}

func unicodeConsole() bool {
	switch runtime.GOOS {
	case "darwin":
		return true
	case "windows":
		return os.Getenv("WT_SESSION") != ""
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(os.Getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// terminal says whether w is a terminal that understands colours; a console of Windows is
// made to, if it can be.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && colorConsole(f)
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// note is for the person, not for what reads the output.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.err, "checker: "+format+"\n", args...)
}

// status shows what takes long, on a terminal, until the next output.
func (a *app) status(s string) {
	if !a.json && terminal(a.out) && terminal(a.err) && !a.plain {
		fmt.Fprintf(a.err, "\r\x1b[K%s", s)
	}
}

func (a *app) paint(color, s string) string { return report.Paint(!a.plain, color, s) }

func (a *app) options() report.Options { return report.Options{Color: !a.plain, ASCII: a.ascii} }

func (a *app) printJSON(v any) {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	e.Encode(v)
}
