// Package doctor looks at what this machine can do for the lab, and knows the cure
// for what it cannot.
package doctor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// State says how good a thing is.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // a lesson or two will be unavailable, or less well shown
	Problem State = "problem" // the lab does not work
	Info    State = "info"
)

// Check is one thing that was looked at.
type Check struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Value string `json:"value"`
	Cure  string `json:"cure,omitempty"`
}

// Examine looks at everything. root is the clone.
func Examine(root string) []Check {
	checks := []Check{{"system", Info, runtime.GOOS + "/" + runtime.GOARCH + ", " + plural(runtime.NumCPU(), "CPU"), ""}}
	checks = append(checks, goVersion(root), disk(root))
	checks = append(checks, system()...)
	return checks
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

var version = regexp.MustCompile(`go(\d+)\.(\d+)`)

func goVersion(root string) Check {
	c := Check{Name: "go", State: OK}
	cmd := exec.Command("go", "env", "GOVERSION")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		c.State, c.Value = Problem, "no go command that works"
		c.Cure = "install Go from https://go.dev/dl/ and add its bin folder to PATH"
		return c
	}
	c.Value = strings.TrimSpace(string(out))
	mod, _ := os.ReadFile(filepath.Join(root, "go.mod"))
	var want string
	for line := range strings.Lines(string(mod)) {
		if v, ok := strings.CutPrefix(line, "go "); ok {
			want = "go" + strings.TrimSpace(v)
		}
	}
	c.Value += " (the lab needs " + want + ")"
	if older(c.Value, want) {
		c.State, c.Cure = Problem, "install "+want+" or newer, or let the go command fetch it: GOTOOLCHAIN=auto"
	}
	return c
}

// older compares major and minor version.
func older(have, want string) bool {
	h, w := version.FindStringSubmatch(have), version.FindStringSubmatch(want)
	if h == nil || w == nil {
		return false
	}
	for i := 1; i <= 2; i++ {
		a, _ := strconv.Atoi(h[i])
		b, _ := strconv.Atoi(w[i])
		if a != b {
			return a < b
		}
	}
	return false
}

func disk(root string) Check {
	dir := filepath.Join(root, ".iolab")
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, "try-"); err == nil {
			f.Close()
			os.Remove(f.Name())
			return Check{"progress", OK, "can be kept in " + dir, ""}
		}
	}
	return Check{"progress", Warning, fmt.Sprintf("cannot be kept: %v", err),
		"everything works, but the map forgets; make the folder writable to change that"}
}
