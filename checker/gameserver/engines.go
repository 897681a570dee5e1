package gameserver

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"iolab/checker/catalogue"
)

// ErrNotWritten is the reader's server, or engine, that is not complete.
var ErrNotWritten = errors.New("is not written yet")

// UsageError is a command line that asks for what there is not.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// Status is the exit status that an error of the arena or of the terminal client means:
// see the checker's.
func Status(err error) int {
	var usage *UsageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrNotWritten):
		return 1
	case errors.As(err, &usage):
		return 2
	}
	return 3
}

// Names of engines begin with where they come from.
const (
	lessons   = "lessons/"
	solutions = "solutions/"
)

// Engines are the names of the engines that run on this system: the reader's, or the
// solutions'.
func Engines(solution bool) (names []string) {
	for _, l := range catalogue.All() {
		if l.Number <= 6 && l.Runs(runtime.GOOS).OK() {
			names = append(names, folder(solution)+l.Folder[3:])
		}
	}
	return names
}

func folder(solution bool) string {
	if solution {
		return solutions
	}
	return lessons
}

// Engine returns the full name of an engine, or says why there is no such engine
// here. One that does not say where it comes from is the reader's, or with solution the
// solution's; "" is the one that most people will want to see.
func Engine(name string, solution bool) (string, error) {
	full := name
	switch {
	case name == "":
		names := Engines(solution)
		for _, best := range []string{"epoll-et", "kqueue", "iocp"} {
			if full = folder(solution) + best; slices.Contains(names, full) {
				return full, nil
			}
		}
		return names[0], nil
	case !strings.Contains(name, "/"):
		full = folder(solution) + name
	}
	here := append(Engines(solution), Engines(!solution)...)
	if slices.Contains(here, full) {
		return full, nil
	}
	from, bare, _ := strings.Cut(full, "/")
	if l, _, err := catalogue.Find(bare); err == nil && !l.Runs(runtime.GOOS).OK() {
		return "", fmt.Errorf("engine %s does not run here: %s; choose %s", name, l.Runs(runtime.GOOS).Why, strings.Join(here, ", "))
	}
	why := ""
	var names []string // of that folder
	for _, n := range here {
		if n, ok := strings.CutPrefix(n, from+"/"); ok {
			names = append(names, n)
		}
	}
	if near := catalogue.Nearest(bare, names); near != "" {
		why = "; did you mean " + from + "/" + near + "?"
	}
	return "", &UsageError{fmt.Sprintf("there is no engine %s%s (there are %s)", name, why, strings.Join(here, ", "))}
}

// Explain turns the error of a server that did not start on engine into one for the
// reader.
func Explain(err error, engine string) error {
	var not *NotWritten
	switch {
	case !errors.As(err, &not):
		return err
	case strings.HasPrefix(not.Step, "step 07"):
		return fmt.Errorf("your lesson 07 %w (%s). With -solution you see it with ours", ErrNotWritten, not.Step)
	}
	return fmt.Errorf("your engine %s %w (%s). Choose one that is, with -engine, or the solution's: -engine %s",
		engine, ErrNotWritten, not.Step, solutions+strings.TrimPrefix(engine, lessons))
}
