package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"iolab/checker/load"
	"iolab/checker/probe"
)

// Climb is how many connections a server was brought to, and what ended it.
type Climb struct {
	Subject   string `json:"subject"`
	Runs      string `json:"runs"`
	Processes int    `json:"processes"` // of the server
	Clients   int    `json:"clients"`   // processes of the load

	Connections int     `json:"connections"` // alive: each has had its echo
	Again       bool    `json:"again"`       // and all of them a second one when all were there
	Limit       string  `json:"limit"`       // what gave, or that nothing did
	Seconds     float64 `json:"seconds"`
	Own         float64 `json:"own_bytes"`    // growth of the server's resident memory for a connection
	Kernel      float64 `json:"kernel_bytes"` // loss of available memory for a connection, both ends, less what the processes grew
	Problem     string  `json:"problem,omitempty"`
}

// climbing is how long a connection may take before it is said not to come.
const climbing = 8 * time.Second

// rise are the servers and clients of a climb.
type rise struct {
	b       *Bench
	s       Subject
	servers []*server
	loads   []*load.Process
	climb   Climb
}

// perClient is the most connections that a process of clients makes.
func perClient() int {
	n := load.PerSource
	if limit := fileLimit(); limit > 0 {
		n = min(n, int(limit)-50)
	}
	return n
}

// climb brings s, in so many processes that share a port, to at most most connections.
func (b *Bench) climb(ctx context.Context, s Subject, processes, most int) Climb {
	r := &rise{b: b, s: s, climb: Climb{Subject: s.Name, Runs: s.Runs, Processes: processes}}
	defer r.stop()
	start := time.Now()
	if err := r.startServers(processes); err != nil {
		r.climb.Problem = err.Error()
		return r.climb
	}
	if err := r.warm(ctx); err != nil {
		r.climb.Problem = err.Error()
		return r.climb
	}
	memory, own := available(), r.own()
	for r.climb.Limit == "" {
		left := most - r.climb.Connections
		if left == 0 {
			r.climb.Limit = fmt.Sprintf("none: the climb ends at %s", thousands(float64(most)))
			break
		}
		if ctx.Err() != nil {
			r.climb.Problem = "interrupted"
			return r.climb
		}
		n := min(left, perClient())
		if problem := r.memoryLeft(n, memory); problem != "" {
			r.climb.Limit = problem
			break
		}
		b.done = r.climb.Connections * b.all / most
		b.step(fmt.Sprintf("%s: %s connections, %s more", s.Name, thousands(float64(r.climb.Connections)), thousands(float64(n))))
		p, connected, err := r.connect(ctx, n)
		if p != nil {
			r.loads = append(r.loads, p)
			r.climb.Connections += connected
		}
		if err != nil {
			r.climb.Limit = r.why(err)
		}
	}
	r.climb.Clients, r.climb.Seconds = len(r.loads), time.Since(start).Seconds()
	if n := float64(r.climb.Connections); n > 0 {
		grown := r.own() - own
		r.climb.Own = float64(grown) / n
		for _, p := range r.loads {
			size, _ := probe.RSS(p.PID())
			grown += size
		}
		if memory > 0 {
			r.climb.Kernel = float64(memory-available()-grown) / n
		}
	}
	b.step(s.Name + ": an echo on each")
	r.climb.Again = r.echo()
	return r.climb
}

// warm has a few clients come and go, so that what is made once is made.
func (r *rise) warm(ctx context.Context) error {
	before := countFDs(r.servers[0].pid())
	few, _, err := r.connect(ctx, 50)
	if few != nil {
		few.Close()
	}
	for limit := time.Now().Add(climbing); err == nil && countFDs(r.servers[0].pid()) > before && time.Now().Before(limit); {
		time.Sleep(time.Millisecond) // until the server has seen the last of them go
	}
	return err
}

func (r *rise) startServers(n int) error {
	addr := "127.0.0.1:0"
	for range n {
		s := r.s
		if n > 1 {
			s.args = append([]string{"-shared", "-addr", addr}, s.args...)
		}
		v, err := startServer(s, r.b.programs[r.s.Name], nil)
		if err != nil {
			return err
		}
		r.servers = append(r.servers, v)
		addr = v.addr.String()
	}
	return nil
}

// connect has another process of clients connect n of them, from a source address of its
// own. They are killed when ctx is cancelled.
func (r *rise) connect(ctx context.Context, n int) (p *load.Process, connected int, err error) {
	return load.Start(r.b.Exe, load.Spec{Addr: r.servers[0].addr, Server: r.servers[0].pid(), Idle: n, Source: len(r.loads), Size: 8, Patience: climbing},
		func(cmd *exec.Cmd) error {
			err := startOn(cmd, nil, false)
			if err == nil {
				context.AfterFunc(ctx, func() { cmd.Process.Kill() })
			}
			return err
		})
}

// own is the servers' resident memory.
func (r *rise) own() (sum int64) {
	for _, v := range r.servers {
		size, _ := probe.RSS(v.pid())
		sum += size
	}
	return sum
}

// echo has every connection send and read back.
func (r *rise) echo() bool {
	for _, p := range r.loads {
		if p.Echo() != nil {
			return false
		}
	}
	return len(r.loads) > 0
}

func (r *rise) stop() {
	for _, p := range r.loads {
		p.Close()
	}
	for _, v := range r.servers {
		v.stop()
	}
}

// reserve is what a climb leaves of the memory, in bytes.
const reserve = 1 << 30

// memoryLeft says so if there is not enough for n more, going by those that are there, or
// else by what a connection needs by experience.
func (r *rise) memoryLeft(n int, begin int64) string {
	now := available()
	if now == 0 {
		return ""
	}
	each := int64(12 << 10)
	if c := int64(r.climb.Connections); c > 5000 {
		each = max((begin-now)/c, 4<<10)
	}
	if now-int64(n)*each > reserve {
		return ""
	}
	return fmt.Sprintf("memory: %s MB are left, a connection needs %.1f KB for both its ends, and 1 GB stays free", thousands(float64(now>>20)), float64(each)/1024)
}

// why says which limit an error of the clients comes from, by what can be seen.
func (r *rise) why(err error) string {
	n := r.climb.Connections
	if r.s.Lesson == 1 && n < 1024 && n > 900 {
		return fmt.Sprintf("FD_SETSIZE: select's sets end at descriptor 1023, so %s clients and the server's own", thousands(float64(n)))
	}
	limit := fileLimit()
	for _, v := range r.servers {
		if problem := v.ended(); problem != nil {
			return problem.Error()
		}
		if fds := countFDs(v.pid()); limit > 0 && fds+20 >= int(limit) {
			text := fmt.Sprintf("RLIMIT_NOFILE: a server process has %s of at most %s descriptors", thousands(float64(fds)), thousands(float64(limit)))
			if most := number("/proc/sys/fs/nr_open"); most > int64(limit) {
				text += fmt.Sprintf(" (fs.nr_open would allow %s)", thousands(float64(most)))
			}
			return text
		}
	}
	switch {
	case errors.Is(err, syscall.EMFILE):
		return fmt.Sprintf("RLIMIT_NOFILE of the clients: %s descriptors a process", thousands(float64(limit)))
	case errors.Is(err, syscall.ENFILE):
		return fmt.Sprintf("fs.file-max: %s open files in the whole system", thousands(float64(number("/proc/sys/fs/file-max"))))
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EADDRINUSE):
		text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
		return fmt.Sprintf("ephemeral ports: %s to one destination from one source address (net.ipv4.ip_local_port_range %s)",
			thousands(float64(n)), strings.Join(strings.Fields(string(text)), "-"))
	case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		return fmt.Sprintf("memory: %s MB are left (%v)", thousands(float64(available()>>20)), err)
	}
	if most, now := number("/proc/sys/net/netfilter/nf_conntrack_max"), number("/proc/sys/net/netfilter/nf_conntrack_count"); most > 0 && now >= most*99/100 {
		return fmt.Sprintf("nf_conntrack_max: the firewall's table has %s of at most %s entries", thousands(float64(now)), thousands(float64(most)))
	}
	if slices.Contains(r.s.args, "-direct") {
		return fmt.Sprintf("a ring's table is full, or the rings do not keep up: a table has at most RLIMIT_NOFILE, %s, places, and the kernel deals connections out by a hash (%v)",
			thousands(float64(limit)), err)
	}
	return fmt.Sprintf("not known: %v", err)
}

// countFDs is the number of descriptors that process pid has open, 0 if unknown.
func countFDs(pid int) int {
	names, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(names)
}

// number is the number in a file, 0 if there is none.
func number(path string) int64 {
	text, _ := os.ReadFile(path)
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// available is the memory that can be had without swapping, in bytes; 0: unknown.
func available() int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	return 0
}
