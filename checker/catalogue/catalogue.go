// Package catalogue is the table of the lab's lessons: what there is, where each
// lesson runs, and (from the generated manifest) the steps and the tests that are
// expected of it.
package catalogue

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Lesson is one lesson of the lab.
type Lesson struct {
	Number  int
	Folder  string // under lessons and solutions, such as "02-epoll-lt"
	Package string // the folder's Go package, such as "epolllt"
	Title   string
	About   string // one line: what the reader builds

	runs func(goos string) Run

	// From the manifest; a lesson that is still to come has none.
	Steps    []Step
	Tests    map[string]string // test files of the folder and their hashes
	Skeleton map[string]string // files the reader writes in, and their hashes as delivered
}

// Step is one numbered step of a lesson.
type Step struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	Asks   string `json:"asks,omitempty"` // what the tests do, in the lesson's words
	Tests  []Test `json:"tests"`
}

// Test is one test function of a step.
type Test struct {
	Name string   `json:"name"`
	Only []string `json:"only,omitempty"` // the GOOS values that have it; empty: all
}

// Here says whether this system has the test.
func (t Test) Here() bool { return t.On(runtime.GOOS) }

// On says whether the system goos has the test.
func (t Test) On(goos string) bool { return len(t.Only) == 0 || slices.Contains(t.Only, goos) }

// Run says how a lesson runs on a system.
type Run struct {
	How string // "native", "emulated", or "" if it does not run
	Why string // if it does not run, or how it is emulated
}

// OK says whether the lesson runs at all.
func (r Run) OK() bool { return r.How != "" }

// Native is how a lesson runs on a system that has the mechanism itself.
const Native = "native"

var bsd = []string{"darwin", "freebsd", "netbsd", "openbsd", "dragonfly"}

var lessons = []Lesson{
	{Number: 1, Folder: "01-select", Package: "selectloop", Title: "select",
		About: "one call that waits for many sockets, and what it costs",
		runs: func(goos string) Run {
			if goos == "linux" || goos == "windows" || slices.Contains(bsd, goos) {
				return Run{How: Native}
			}
			return Run{Why: "the lab has no select for " + goos}
		}},
	{Number: 2, Folder: "02-epoll-lt", Package: "epolllt", Title: "epoll, level-triggered",
		About: "the kernel keeps the list", runs: onLinux("epoll")},
	{Number: 3, Folder: "03-epoll-et", Package: "epollet", Title: "epoll, edge-triggered",
		About: "told once, and several loops", runs: onLinux("epoll")},
	{Number: 4, Folder: "04-kqueue", Package: "kqueueloop", Title: "kqueue",
		About: "changes and events in one call",
		runs: func(goos string) Run {
			switch {
			case slices.Contains(bsd, goos):
				return Run{How: Native}
			case goos == "linux":
				return Run{How: "emulated", Why: "kqueue is the BSDs' and macOS's; the lab brings an emulation"}
			}
			return Run{Why: "kqueue is the BSDs' and macOS's; its emulation runs on Linux"}
		}},
	{Number: 5, Folder: "05-iocp", Package: "iocploop", Title: "I/O completion ports",
		About: "completion instead of readiness",
		runs: func(goos string) Run {
			switch goos {
			case "windows":
				return Run{How: Native}
			case "linux":
				return Run{How: "emulated", Why: "completion ports are Windows'; the lab brings an emulation"}
			}
			return Run{Why: "completion ports are Windows'; their emulation runs on Linux"}
		}},
	{Number: 6, Folder: "06-io_uring", Package: "uringloop", Title: "io_uring",
		About: "system calls without the calls", runs: onLinux("io_uring")},
	{Number: 7, Folder: "07-game-loop", Package: "gameloop", Title: "game loop",
		About: "a real-time server on the engine of your choice",
		runs: func(goos string) Run {
			return Run{How: Native}
		}},
}

func onLinux(what string) func(string) Run {
	return func(goos string) Run {
		if goos == "linux" {
			return Run{How: Native}
		}
		return Run{Why: what + " is Linux's: use a Linux machine, container or WSL 2"}
	}
}

// All returns the lessons in their order.
func All() []Lesson {
	all := slices.Clone(lessons)
	for i := range all {
		all[i].fill(delivered)
	}
	return all
}

func (l *Lesson) fill(m Manifest) {
	for _, e := range m.Lessons {
		if e.Folder == l.Folder {
			l.Steps, l.Tests, l.Skeleton = e.Steps, e.Tests, e.Skeleton
		}
	}
}

// Ready says whether the lesson is in this clone; the others are still to come.
func (l Lesson) Ready() bool { return len(l.Steps) > 0 }

// Runs says how the lesson runs on goos.
func (l Lesson) Runs(goos string) Run { return l.runs(goos) }

// Step returns the step with number n.
func (l Lesson) Step(n int) (Step, bool) {
	for _, s := range l.Steps {
		if s.Number == n {
			return s, true
		}
	}
	return Step{}, false
}

// Dir is the lesson's folder.
func (l Lesson) Dir(root string) string { return filepath.Join(root, "lessons", l.Folder) }

// Solution is the folder of the lesson's solution.
func (l Lesson) Solution(root string) string { return filepath.Join(root, "solutions", l.Folder) }

// ID is how the lesson, or one of its steps, is written: "02", "02.4".
func (l Lesson) ID(step int) string {
	if step == 0 {
		return fmt.Sprintf("%02d", l.Number)
	}
	return fmt.Sprintf("%02d.%d", l.Number, step)
}

// Find returns the lesson, and the step if there is one, that arg names: 2, 02,
// 02-epoll-lt, epoll-lt, each also with a step, as in 02.4. Without a step the
// number is 0.
func Find(arg string) (Lesson, int, error) {
	name, step := arg, 0
	if before, after, ok := strings.Cut(arg, "."); ok {
		n, err := strconv.Atoi(after)
		if err != nil || n < 1 {
			return Lesson{}, 0, fmt.Errorf("%q: the step after the dot should be a number, as in 02.4", arg)
		}
		name, step = before, n
	}
	name = strings.TrimSuffix(filepath.ToSlash(strings.ToLower(name)), "/")
	name = name[strings.LastIndexByte(name, '/')+1:] // lessons/02-epoll-lt is understood too
	number, _ := strconv.Atoi(name)
	all := All()
	for _, l := range all {
		if l.Number != number && l.Folder != name && l.Folder[3:] != name && l.Package != name {
			continue
		}
		if !l.Ready() {
			return l, 0, fmt.Errorf("lesson %s is still to come", l.Folder)
		}
		if _, ok := l.Step(step); step != 0 && !ok {
			return l, 0, fmt.Errorf("lesson %s has steps 1 to %d, not %d", l.Folder, l.Steps[len(l.Steps)-1].Number, step)
		}
		return l, step, nil
	}
	var names []string
	for _, l := range all {
		names = append(names, l.Folder, l.Folder[3:])
	}
	msg := fmt.Sprintf("there is no lesson %q", arg)
	if near := Nearest(name, names); near != "" {
		msg += fmt.Sprintf("; did you mean %s?", near)
	} else {
		msg += "; say it as 2, 02 or 02-epoll-lt"
	}
	return Lesson{}, 0, errors.New(msg)
}

// Nearest returns the name that is most like s, or "" if none is.
func Nearest(s string, names []string) string {
	best, least := "", max(2, len(s)/3)+1
	for _, name := range names {
		if d := distance(s, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d++
			}
			diagonal = row[j+1]
			row[j+1] = min(d, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// Root finds the clone that dir is in: the folder whose go.mod says "module
// iolab". IOLAB_ROOT overrides it.
func Root(dir string) (string, error) {
	if root := os.Getenv("IOLAB_ROOT"); root != "" {
		if mod, err := os.ReadFile(filepath.Join(root, "go.mod")); err != nil || !isLab(string(mod)) {
			return "", fmt.Errorf("IOLAB_ROOT is %s, which is not a clone of iolab", root)
		}
		return root, nil
	}
	for d := dir; ; d = filepath.Dir(d) {
		if mod, err := os.ReadFile(filepath.Join(d, "go.mod")); err == nil && isLab(string(mod)) {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is not in a clone of iolab: change to the clone's folder first", dir)
		}
	}
}

func isLab(mod string) bool {
	for line := range strings.Lines(mod) {
		if strings.TrimSpace(line) == "module iolab" {
			return true
		}
	}
	return false
}

// MainFile is the file the reader begins with.
func (l Lesson) MainFile() string {
	if _, ok := l.Skeleton["server.go"]; ok || len(l.Skeleton) == 0 {
		return "server.go"
	}
	return slices.Sorted(maps.Keys(l.Skeleton))[0]
}
