package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"iolab/checker/load"
)

// Checked is a server's own count of a system call beside the kernel's, which strace -c
// makes. The kernel's has Go's runtime in it, too.
type Checked struct {
	Subject string `json:"subject"`
	Call    string `json:"call"`
	Counted uint64 `json:"counted"`
	Kernel  uint64 `json:"kernel"`
	OK      bool   `json:"ok"`
}

// kernelNames are the calls of the kernel's that an engine's counter stands for, where
// they have another name.
var kernelNames = map[string][]string{
	"accept":     {"accept", "accept4"},
	"read":       {"read", "recvfrom", "recvmsg", "readv"},
	"write":      {"write", "sendto", "sendmsg", "writev"},
	"select":     {"select", "pselect6", "_newselect"},
	"epoll_wait": {"epoll_wait", "epoll_pwait", "epoll_pwait2"},
}

// runtimeCalls is how many calls of a kind Go's runtime, the log and the start may make
// beside the engine's.
const runtimeCalls = 200

// CheckSyscalls runs each subject under strace for a moment and compares its counters,
// over its whole life, with what the kernel saw.
func (b *Bench) CheckSyscalls(ctx context.Context, plan Plan) (all []Checked, err error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return nil, fmt.Errorf("system calls %w by another: strace is not installed (apt install strace)", ErrCannot)
	}
	if err := plan.fits(); err != nil {
		return nil, err
	}
	if err := b.build(ctx, plan); err != nil {
		return nil, err
	}
	defer b.remove()
	sc := plan.Scenarios[0]
	for _, s := range plan.Subjects {
		b.step(s.Name + " under strace")
		if s.Lesson == 0 || s.Runs != "native" {
			continue // it does not count, or counts an emulated system's calls
		}
		if s.Most > 0 && sc.all() > s.Most {
			continue // select: too many connections
		}
		checked, err := b.checkSyscalls(ctx, s, sc)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		all = append(all, checked...)
	}
	if len(all) == 0 {
		return nil, errors.New("none of these subjects counts its system calls with so many connections: name a lesson that is native here, and for select no more than it takes")
	}
	return all, nil
}

func (b *Bench) checkSyscalls(ctx context.Context, s Subject, sc Scenario) ([]Checked, error) {
	file := filepath.Join(b.dir, "strace")
	v, err := startServer(s, b.programs[s.Name], nil, "strace", "-f", "-c", "-o", file)
	if err != nil {
		return nil, err
	}
	p, err := b.connect(ctx, v, load.Spec{Connections: sc.Connections, Depth: sc.Depth, Size: sc.Size, Window: 300 * time.Millisecond})
	if err == nil {
		_, err = p.load.Run(nil)
		err = p.explain(err)
	}
	if err != nil {
		p.kill()
		return nil, err
	}
	counters, err := p.stop()
	if err != nil {
		return nil, fmt.Errorf("under strace: %w", err)
	}
	if counters == nil {
		return nil, errors.New("it printed no counters")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	seen, err := parseStrace(f)
	if err != nil {
		return nil, err
	}
	return compareCalls(s.Name, counters.Calls, seen, sc.all()), nil
}

// compareCalls sets the calls that a server has counted beside those that the kernel has
// seen, over its whole life, with so many connections: all kinds that an engine counts, also
// those of which the server says nothing.
func compareCalls(subject string, counted, seen map[string]uint64, conns int) (all []Checked) {
	for _, call := range countedCalls {
		names := kernelNames[call]
		if names == nil {
			names = []string{call}
		}
		c := Checked{Subject: subject, Call: call, Counted: counted[call]}
		for _, name := range names {
			c.Kernel += seen[name]
		}
		more := uint64(runtimeCalls)
		if slices.Contains(ending, call) {
			more += uint64(conns)
		}
		c.OK = c.Counted <= c.Kernel+c.Kernel/100 && c.Kernel <= c.Counted+c.Counted/100+more
		if c.Counted > 0 || !c.OK {
			all = append(all, c)
		}
	}
	return all
}

// countedCalls are the calls of Linux's that an engine counts (iolab/lessons/engine.Call).
var countedCalls = []string{"accept", "close", "epoll_ctl", "epoll_wait", "getpeername", "io_uring_enter", "read", "select", "shutdown", "write"}

// ending are the calls with which connections may end, after the counters are printed.
var ending = []string{"close", "shutdown", "epoll_ctl", "write", "read"}

// parseStrace reads the table of strace -c: calls by name.
func parseStrace(in io.Reader) (map[string]uint64, error) {
	calls := map[string]uint64{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		// % time, seconds, usecs/call, calls, errors (may be missing), syscall
		words := strings.Fields(lines.Text())
		if len(words) < 5 {
			continue
		}
		if n, err := strconv.ParseUint(words[3], 10, 64); err == nil {
			calls[words[len(words)-1]] = n
		}
	}
	if len(calls) == 0 {
		return nil, errors.New("strace said nothing: is it allowed to trace here (kernel.yama.ptrace_scope, seccomp)?")
	}
	return calls, lines.Err()
}

// ShowChecked writes what CheckSyscalls found.
func ShowChecked(w io.Writer, all []Checked) {
	rows := [][]string{{"subject", "call", "counted", "strace -c", ""}}
	for _, c := range all {
		word := "ok"
		if !c.OK {
			word = "DIFFERS"
		}
		rows = append(rows, []string{c.Subject, c.Call, thousands(float64(c.Counted)), thousands(float64(c.Kernel)), word})
	}
	fmt.Fprintln(w)
	grid{left: 2, rows: rows}.write(w)
	fmt.Fprint(w, `
Each server from its start to its end, all calls that an engine counts, those for the connections
(accept, epoll_ctl, close) included. The kernel's count also has what Go's runtime does, and the
closing of the connections. A call that an engine makes and never counts is shown with 0.

`)
}
