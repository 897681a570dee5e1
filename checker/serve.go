package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"iolab/checker/runner"
)

// Serve, doctor, inspect and verify: programs of the lab that the checker builds and runs in the
// foreground.

func runServe(a *app, args []string) error {
	solution := false
	var rest []string
	for _, arg := range args {
		if strings.TrimLeft(arg, "-") == "solution" && strings.HasPrefix(arg, "-") {
			solution = true
			continue
		}
		rest = append(rest, arg)
	}
	if len(rest) == 0 || strings.HasPrefix(rest[0], "-") {
		return usage("serve needs a lesson first, as in: go run ./checker serve 02 -addr 127.0.0.1:7000")
	}
	l, step, err := find(rest[0])
	if err != nil {
		return err
	}
	if step != 0 {
		return usage("serve works on whole lessons: go run ./checker serve %s", l.ID(0))
	}
	if err := runnable(l); err != nil {
		return err
	}
	top := "./lessons/"
	if solution {
		top = "./solutions/"
	}
	return a.foreground(top+l.Folder+"/server", rest[1:])
}

// foreground builds pkg and runs it in the checker's place.
func (a *app) foreground(pkg string, args []string) error {
	return a.program(pkg, args, runner.Foreground)
}

// program builds pkg and has run run it.
func (a *app) program(pkg string, args []string, run func(context.Context, *exec.Cmd) (int, error)) error {
	dir, err := os.MkdirTemp("", "iolab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "program.exe")
	a.status("building " + pkg + " ...")
	err = runner.BuildMain(a.ctx, a.root, pkg, file)
	a.status("")
	if err != nil {
		return err
	}
	cmd := exec.Command(file, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.out, a.err
	cmd.Dir = a.root
	code, err := run(a.ctx, cmd)
	if err != nil {
		return err
	}
	if code != 0 {
		return statusError{code: code}
	}
	return nil
}

// runDoctor runs the doctor, which is a program of its own so that the map does not
// wait for golang.org/x/sys to be compiled.
func runDoctor(a *app, _ *flag.FlagSet, _ []string) error {
	return a.foreground("./checker/doctor/doctor", a.style())
}

func inspectFlags(f *flag.FlagSet) {
	f.Duration("for", time.Second, "look for this long: what lasts as long is taken for a fault")
	f.Bool("all", false, "show every socket and entry, not the first few")
	f.Bool("watch", false, "look again and again, until Ctrl-C")
}

// runInspect runs the inspector, a program of its own like the doctor.
func runInspect(a *app, f *flag.FlagSet, args []string) error {
	if len(args) == 0 {
		return usage("inspect needs a process id, as in: go run ./checker inspect 4711 (ss -ltnp shows who listens)")
	}
	if pid, err := strconv.Atoi(args[0]); err != nil || pid <= 0 {
		return usage("%q is no process id; pidof NAME and ss -ltnp show them", args[0])
	}
	pass := append(a.style(), fmt.Sprintf("-for=%v", value[time.Duration](f, "for")),
		fmt.Sprintf("-all=%v", value[bool](f, "all")), fmt.Sprintf("-watch=%v", value[bool](f, "watch")))
	return a.foreground("./checker/inspect/inspect", append(pass, args[0]))
}

// style are the flags that every program of the checker's has.
func (a *app) style() []string {
	return []string{fmt.Sprintf("-json=%v", a.json), fmt.Sprintf("-ascii=%v", a.ascii), fmt.Sprintf("-no-color=%v", a.plain)}
}

func verifyFlags(f *flag.FlagSet) {
	f.Bool("quick", false, "leave out the reader's path and the repetitions")
	f.Bool("race", false, "run the solutions with the race detector, too")
	f.Int("count", 1, "run the solutions this many times")
}

// runVerify runs the verifier, which is a program of its own so that the map does
// not wait for its Go parser to be compiled.
func runVerify(a *app, f *flag.FlagSet, args []string) error {
	if len(args) > 0 {
		l, step, err := find(args[0])
		if err != nil {
			return err
		}
		if step != 0 {
			return usage("verify works on whole lessons: go run ./checker verify %s", l.ID(0))
		}
		args = []string{l.Folder}
	}
	pass := append(a.style(),
		fmt.Sprintf("-quick=%v", value[bool](f, "quick")), fmt.Sprintf("-race=%v", value[bool](f, "race")),
		fmt.Sprintf("-count=%d", value[int](f, "count")),
		"-commands="+a.commandTable())
	return a.foreground("./checker/verify/verify", append(pass, args...))
}

// commandTable is the verbs and their flags, as JSON.
func (a *app) commandTable() string {
	table := map[string][]string{}
	for _, v := range verbs {
		table[v.name] = []string{}
		if v.raw != nil {
			table[v.name] = nil // any flag
			continue
		}
		v.flagSet(a).VisitAll(func(f *flag.Flag) { table[v.name] = append(table[v.name], f.Name) })
	}
	text, _ := json.Marshal(table)
	return string(text)
}
