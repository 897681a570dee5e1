// Package engines is the table of the lab's engines by name: the reader's own, from
// the lessons, and the solutions'.
package engines

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"iolab/lessons/engine"
)

// Solutions is what the name of a solution's engine begins with, as in
// solutions/epoll-et; epoll-et alone is the reader's own.
const Solutions = "solutions/"

// lessons may be written before the name of a reader's engine.
const lessons = "lessons/"

// everywhere are the names of all engines, wherever they run.
var everywhere = []string{"select", "epoll-lt", "epoll-et", "kqueue", "iocp", "io_uring"}

// Engine is one engine of the table.
type Engine struct {
	Name   string // such as "epoll-et", or "solutions/epoll-et"
	Lesson int
	How    string // "native" or "emulated"
	Timer  string // what Poll's timeout is rounded up to: "1 ms", "1 µs", "1 ns"
	New    func(engine.Config, engine.Handler) (engine.Engine, error)
}

// Solution says whether it is the solution's, not the reader's own.
func (e Engine) Solution() bool { return strings.HasPrefix(e.Name, Solutions) }

// pair is an engine of the reader's and the solution's twin of it.
type pair struct {
	Engine
	solution func(engine.Config, engine.Handler) (engine.Engine, error)
}

// as makes a constructor of the table's type of one that returns its own type.
func as[E engine.Engine](newEngine func(engine.Config, engine.Handler) (E, error)) func(engine.Config, engine.Handler) (engine.Engine, error) {
	return func(cfg engine.Config, h engine.Handler) (engine.Engine, error) {
		e, err := newEngine(cfg, h)
		if err != nil {
			return nil, err // not a nil of type E in an interface
		}
		return e, nil
	}
}

// All returns the engines that this system has, in the order of the lessons: first
// the reader's, then the solutions'.
func All() []Engine {
	var all, solutions []Engine
	for _, p := range here {
		all = append(all, p.Engine)
		p.Name, p.New = Solutions+p.Name, p.solution
		solutions = append(solutions, p.Engine)
	}
	return append(all, solutions...)
}

// Find returns the engine of that name. One without a folder before it is looked for
// in folder: "" for the reader's, [Solutions] for the solutions'.
func Find(name, folder string) (Engine, error) {
	bare, ok := strings.CutPrefix(name, Solutions)
	if ok {
		folder = Solutions
	} else if bare, ok = strings.CutPrefix(name, lessons); ok {
		folder = ""
	}
	for _, e := range All() {
		if e.Name == folder+bare {
			return e, nil
		}
	}
	if slices.Contains(everywhere, bare) {
		return Engine{}, fmt.Errorf("engine %q does not run on %s: choose %s", name, runtime.GOOS, Names(folder))
	}
	return Engine{}, fmt.Errorf("there is no engine %q: choose %s", name, Names(folder))
}

// Names is what -engine can be on this system, in words.
func Names(folder string) string {
	var names []string
	for _, p := range here {
		names = append(names, p.Name)
	}
	list := strings.Join(names, ", ")
	if folder == Solutions {
		return list + "; or, with " + lessons + " before the name, your own"
	}
	return list + "; or, with " + Solutions + " before the name, the solution's"
}
