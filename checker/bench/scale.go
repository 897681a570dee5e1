package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Ascent is a climb to be made.
type Ascent struct {
	Subject   Subject
	Processes int // of the server; more than one share a port
	Most      int
	Optional  bool // left out if the server does not have its flags
}

// sharedMost is how far several processes on epoll are to come.
const sharedMost = 100_000

// Ascents are the usual climbs to at most most connections: each model in one process, and
// epoll in as many as sharedMost needs.
func Ascents(most int) (all []Ascent, err error) {
	add := func(name string, processes, most int) {
		var s Subject
		if s, err = ParseSubject(name); err == nil {
			all = append(all, Ascent{Subject: s, Processes: processes, Most: most, Optional: len(s.args) > 0})
		}
	}
	add("solution/01", 1, most)
	if runtime.GOOS != "linux" {
		return all, err
	}
	add("solution/02", 1, most)
	if limit := int(fileLimit()); limit > 0 && min(most, sharedMost) > limit-100 {
		add("solution/03", Workers(min(most, sharedMost)), min(most, sharedMost))
	}
	add("solution/06", 1, most)
	// Connections without descriptors, in tables of rings; a table is capped like a process.
	if rings := Workers(most); rings > 1 {
		add(fmt.Sprintf("solution/06 -loops %d -direct", rings), 1, most)
	}
	return all, err
}

// Workers is how many processes, or tables of rings, n connections need. The kernel deals
// connections out by a hash, so some get more than others: a tenth is left over.
func Workers(n int) int {
	limit := int(fileLimit())
	if limit == 0 {
		return 1
	}
	each := (limit - 50) * 9 / 10
	return max(1, (n+each-1)/each)
}

// Scale makes the climbs.
func (b *Bench) Scale(ctx context.Context, ascents []Ascent) (*Result, error) {
	plan := Plan{Cores: 1}
	for _, a := range ascents {
		plan.Subjects = append(plan.Subjects, a.Subject)
	}
	if err := b.build(ctx, plan); err != nil {
		return nil, err
	}
	defer b.remove()
	r := &Result{Kind: "scale", Machine: ThisMachine(b.Root), Time: time.Now().UTC().Truncate(time.Second)}
	for _, a := range ascents {
		if a.Optional && !knows(b.programs[a.Subject.Name], a.Subject.args) {
			continue
		}
		b.all = a.Most // the steps count connections here
		r.Climbs = append(r.Climbs, b.climb(ctx, a.Subject, a.Processes, a.Most))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return r, nil
}

// knows tells whether a server has the flags in args.
func knows(program string, args []string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	help, _ := exec.CommandContext(ctx, program, "-help").CombinedOutput()
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") && !strings.Contains(string(help), "  "+arg) {
			return false
		}
	}
	return true
}

// ShowScale writes the climbs for people.
func (r *Result) ShowScale(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n\n", r.Machine)
	rows := [][]string{{"subject", "processes", "connections", "second echo", "client processes", "seconds", "own bytes", "kernel bytes"}}
	for _, c := range r.Climbs {
		again := "all"
		if !c.Again {
			again = "NOT all"
		}
		kernel := "-" // others took or gave back more
		if c.Kernel > 0 {
			kernel = thousands(c.Kernel)
		}
		rows = append(rows, []string{c.Subject, strconv.Itoa(c.Processes), thousands(float64(c.Connections)), again, strconv.Itoa(c.Clients),
			figure(c.Seconds), thousands(c.Own), kernel})
	}
	grid{left: 1, rows: rows}.write(w)
	fmt.Fprintf(w, "\nWhat gave:\n")
	for _, c := range r.Climbs {
		fmt.Fprintf(w, "  %s in %s: %s%s\n", c.Subject, plural(c.Processes, "process", "processes"), c.Limit, c.Problem)
	}
	fmt.Fprintf(w, `
Every connection has had an echo when it was made, and a second one when all were there.
own bytes: growth of the servers' resident memory for a connection. kernel bytes: what the
system's available memory lost for it beside these processes, for both ends, which are both here.

`)
}

// Setting is a sysctl that a climb needs.
type Setting struct {
	Name string // fs.file-max
	Now  int64
	Want int64
	Why  string
}

// Settings are the sysctls that are too low for n connections, both ends on this machine.
func Settings(n int) (all []Setting) {
	for _, s := range []Setting{
		{Name: "fs.file-max", Want: 2*int64(n) + 100_000, Why: "each end of each connection is an open file"},
		{Name: "net.netfilter.nf_conntrack_max", Want: int64(n) + 10_000, Why: "the firewall keeps an entry for each connection"},
		{Name: "net.core.somaxconn", Want: 1024, Why: "clients that come at once wait in the accept queue"},
	} {
		if s.Name == "net.netfilter.nf_conntrack_max" && number("/proc/sys/net/netfilter/nf_conntrack_count") == 0 {
			continue // no rule makes the firewall look at connections
		}
		if s.Now = number(s.path()); s.Now > 0 && s.Now < s.Want {
			all = append(all, s)
		}
	}
	return all
}

func (s Setting) path() string {
	return filepath.Join("/proc/sys", strings.ReplaceAll(s.Name, ".", "/"))
}

// Apply sets the sysctls, says each on out before, and returns what puts them back. What
// may not be set stays: the climb then ends at it, and says so.
func Apply(out io.Writer, settings []Setting) (restore func()) {
	var changed []Setting
	for _, s := range settings {
		fmt.Fprintf(out, "sysctl %s=%d (now %d; put back afterwards): %s\n", s.Name, s.Want, s.Now, s.Why)
		if err := os.WriteFile(s.path(), []byte(strconv.FormatInt(s.Want, 10)), 0); err != nil {
			fmt.Fprintf(out, "  it stays as it is: %v. To set it yourself: sudo sysctl -w %s=%d\n", err, s.Name, s.Want)
			continue
		}
		changed = append(changed, s)
	}
	return func() {
		for _, s := range changed {
			if err := os.WriteFile(s.path(), []byte(strconv.FormatInt(s.Now, 10)), 0); err != nil {
				fmt.Fprintf(out, "sysctl %s could not be put back to %d: %v\n", s.Name, s.Now, err)
			} else {
				fmt.Fprintf(out, "sysctl %s=%d again\n", s.Name, s.Now)
			}
		}
	}
}
