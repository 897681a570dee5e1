package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"iolab/checker/catalogue"
	"iolab/checker/runner"
)

// Subject is a server that is measured.
type Subject struct {
	Name   string // as it is shown: "02-epoll-lt", "solution/02-epoll-lt -high-water 4096", "net"
	Lesson int    // 0: one of the baselines
	Runs   string // "native", "emulated", or "Wine"
	Most   int    // connections that its mechanism can have, 0: no limit of its own

	pkg    string   // its main package
	module string   // the folder of its module, "" for the lab's
	args   []string // more flags for it
}

// selectMost is how many clients a server on select takes for sure: FD_SETSIZE, without
// the descriptors that it has itself.
const selectMost = 1000

// ErrCannot is wrapped by errors that mean: not on this machine.
var ErrCannot = errors.New("cannot be measured here")

// ParseSubject finds the subject that name asks for: a lesson (the reader's server), a
// lesson after "solution/", "net" or "gnet"; flags for the server may follow.
func ParseSubject(name string) (Subject, error) {
	words := strings.Fields(name)
	if len(words) == 0 {
		return Subject{}, errors.New(`a subject is a lesson ("02"), its solution ("solution/02"), "net" or "gnet"; this one is empty`)
	}
	s := Subject{args: words[1:], Runs: catalogue.Native}
	switch words[0] {
	case "net":
		s.Name, s.pkg = "net", "./checker/bench/baseline/net"
	case "gnet":
		s.Name, s.pkg, s.module = "gnet", ".", "checker/bench/baseline/gnet"
		if runtime.GOOS != "linux" && runtime.GOOS != "darwin" && runtime.GOOS != "freebsd" {
			return s, fmt.Errorf("gnet %w: it has no engine of its own for %s", ErrCannot, runtime.GOOS)
		}
	default:
		lesson, top := words[0], "lessons/"
		for _, prefix := range []string{"solution/", "solutions/"} {
			if rest, ok := strings.CutPrefix(lesson, prefix); ok {
				lesson, top = rest, "solutions/"
			}
		}
		l, step, err := catalogue.Find(lesson)
		if err != nil {
			return s, fmt.Errorf("%w (a subject is a lesson, its solution as in solution/02, net or gnet)", err)
		}
		if step != 0 {
			return s, fmt.Errorf("a server is of a whole lesson: %s", l.ID(0))
		}
		if l.Number == 7 {
			return s, fmt.Errorf("lesson %s is no echo server, and this measures echoes", l.Folder)
		}
		run := l.Runs(runtime.GOOS)
		if !run.OK() {
			return s, fmt.Errorf("%s %w: %s", l.Folder, ErrCannot, run.Why)
		}
		s.Name, s.Lesson, s.Runs, s.pkg = l.Folder, l.Number, run.How, "./"+top+l.Folder+"/server"
		if top == "solutions/" {
			s.Name = "solution/" + s.Name
		}
		if l.Number == 1 {
			s.Most = selectMost
		}
	}
	if len(s.args) > 0 {
		s.Name += " " + strings.Join(s.args, " ")
	}
	return s, nil
}

// Model is the mechanism, for tables.
func (s Subject) Model() string {
	for _, l := range catalogue.All() {
		if l.Number == s.Lesson {
			return l.Title
		}
	}
	return s.Name
}

// build builds the subject's server into dir and returns the program.
func (s Subject) build(ctx context.Context, root, dir string) (string, error) {
	if s.Runs == underWine {
		return s.buildWindows(ctx, root, dir)
	}
	base := strings.NewReplacer("/", "-", " ", "").Replace(s.pkg + s.module)
	program := filepath.Join(dir, base+".exe")
	if _, err := os.Stat(program); err == nil {
		return program, nil // another subject with other flags
	}
	if s.module == "" {
		return program, runner.BuildMain(ctx, root, s.pkg, program)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, s.pkg)
	cmd.Dir = filepath.Join(root, s.module)
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s %w: its module could not be fetched and built (it needs the network or a module proxy once; try: go -C %s build ./...): %s",
			s.Name, ErrCannot, s.module, lastLine(string(out)))
	}
	return program, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
