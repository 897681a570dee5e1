// Package bench measures echo servers beside each other: how many messages, how late, and
// at what cost in processor time and system calls. The servers are processes of their own,
// and so are the clients (package load); where the system can, the server has one
// processor and the load another. Subjects take turns, round after round, so that what
// else the machine does meets them all; what is shown is the median of the rounds.
//
// On a small machine the figure that holds is the server's processor time for a message.
// Messages a second and latencies of a closed loop are what is left when server, clients
// and kernel share what there is.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"time"

	"iolab/checker/bench/options"
	"iolab/checker/load"
	"iolab/checker/probe"
)

// Scenario is a load.
type Scenario struct {
	Connections int     `json:"connections"`
	Depth       int     `json:"depth,omitempty"`
	Rate        float64 `json:"rate,omitempty"` // open loop
	Size        int     `json:"size"`
	Churn       int     `json:"churn,omitempty"`
	Idle        int     `json:"idle,omitempty"`
	Slow        int     `json:"slow,omitempty"`
}

// String says the scenario in words.
func (s Scenario) String() string {
	text := fmt.Sprintf("%s of %d bytes", plural(s.Connections, "connection, messages", "connections, messages"), s.Size)
	switch {
	case s.Rate > 0:
		text += fmt.Sprintf(", %s due each second in all (open loop)", thousands(s.Rate))
	case s.Depth == 1:
		text += ", one under way on each"
	default:
		text += fmt.Sprintf(", %d under way on each", s.Depth)
	}
	if s.Churn > 0 {
		text += fmt.Sprintf(", a new connection after every %d", s.Churn+1)
	}
	if s.Idle > 0 {
		text += fmt.Sprintf(", %s beside them", plural(s.Idle, "silent connection", "silent connections"))
	}
	if s.Slow > 0 {
		text += fmt.Sprintf(", %s beside them", plural(s.Slow, "slow reader", "slow readers"))
	}
	return text
}

// all is the number of its connections.
func (s Scenario) all() int { return s.Connections + s.Idle + s.Slow }

// Sample is one measurement of one subject. Times are in microseconds; the processor time
// for a message in microseconds is that for a million messages in seconds.
type Sample struct {
	Rate float64 `json:"messages_per_second"`
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`

	CPU    float64 `json:"server_cpu_us"` // for a message; 0: unknown
	User   float64 `json:"server_user_us"`
	System float64 `json:"server_system_us"`
	Share  float64 `json:"server_share"` // of a processor

	Calls map[string]float64 `json:"calls,omitempty"` // of the system for a message, in the window, all that the engine counts

	LoadCPU   float64 `json:"load_cpu_us"` // the clients' processor time for a message
	LoadShare float64 `json:"load_share"`
	LateP99   float64 `json:"late_p99_us,omitempty"` // open loop: how late the clients were themselves
	Due       int64   `json:"due,omitempty"`         // open loop: messages that were due in the window,
	Sent      int64   `json:"sent,omitempty"`        // that were sent in it,
	Answered  int64   `json:"answered,omitempty"`    // and that came back in it
	Lost      int64   `json:"lost,omitempty"`        // open loop: not back five seconds after
	Connects  float64 `json:"connects_per_second,omitempty"`
}

// Row is what was measured of a subject in a scenario.
type Row struct {
	Subject  string   `json:"subject"`
	Runs     string   `json:"runs"` // "native", "emulated", "Wine"
	Scenario Scenario `json:"scenario"`
	Samples  []Sample `json:"samples"`
	Problem  string   `json:"problem,omitempty"` // why there are none, or no more
	Skipped  bool     `json:"skipped,omitempty"` // the problem is a limit of the mechanism
	Empty    int      `json:"empty,omitempty"`   // rounds in which no message came back
}

// Median is the median of each figure over the samples, User and System in the proportion
// that they have over all; Due, Sent and Answered are sums, Lost is the most.
func (r Row) Median() Sample {
	m := Sample{Calls: map[string]float64{}}
	for _, f := range fields {
		*f(&m) = median(r.all(f))
	}
	var user, total float64
	for _, s := range r.Samples {
		user, total = user+s.User, total+s.User+s.System
		for name := range s.Calls {
			if _, ok := m.Calls[name]; !ok {
				m.Calls[name] = median(r.all(func(s *Sample) *float64 { n := s.Calls[name]; return &n }))
			}
		}
		m.Lost = max(m.Lost, s.Lost)
		m.Due, m.Sent, m.Answered = m.Due+s.Due, m.Sent+s.Sent, m.Answered+s.Answered
	}
	if total > 0 { // the kernel tells the two apart by samples, of which one round has few
		m.User = m.CPU * user / total
		m.System = m.CPU - m.User
	}
	return m
}

// fields are the figures of a sample that have a median.
var fields = []func(*Sample) *float64{
	func(s *Sample) *float64 { return &s.Rate }, func(s *Sample) *float64 { return &s.P50 },
	func(s *Sample) *float64 { return &s.P99 }, func(s *Sample) *float64 { return &s.P999 },
	cpuOf, func(s *Sample) *float64 { return &s.Share }, func(s *Sample) *float64 { return &s.LoadCPU },
	func(s *Sample) *float64 { return &s.LoadShare }, func(s *Sample) *float64 { return &s.LateP99 },
	func(s *Sample) *float64 { return &s.Connects },
}

func cpuOf(s *Sample) *float64 { return &s.CPU }

func (r Row) all(f func(*Sample) *float64) []float64 {
	var all []float64
	for i := range r.Samples {
		all = append(all, *f(&r.Samples[i]))
	}
	return all
}

// Spread is the least and the greatest of a figure.
func (r Row) Spread(f func(*Sample) *float64) (least, most float64) {
	all := r.all(f)
	if len(all) == 0 {
		return 0, 0
	}
	return slices.Min(all), slices.Max(all)
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// Memory is what silent connections cost a server.
type Memory struct {
	Subject     string  `json:"subject"`
	Connections int     `json:"connections"`
	Grown       int64   `json:"grown_bytes"`          // growth of the resident memory with all of them
	PerConn     float64 `json:"bytes_per_connection"` // and for each
	Fixed       int64   `json:"fixed_bytes"`          // growth before that, with the first messages, whatever the number of connections
	Problem     string  `json:"problem,omitempty"`
}

// Plan is what is to be measured.
type Plan struct {
	Subjects  []Subject
	Scenarios []Scenario
	Rounds    int
	WarmUp    time.Duration
	Window    time.Duration
	Memory    int // connections for the measurement of memory, 0 for none
	Cores     int // processors for the server
}

// NewPlan is the plan that the flags ask for.
func NewPlan(o *options.Options, subjects []Subject) (Plan, error) {
	if err := o.Check(); err != nil {
		return Plan{}, err
	}
	p := Plan{Subjects: subjects, Rounds: o.Rounds, Window: o.Window, Memory: o.Memory, Cores: o.ServerCores}
	rounds, window := 4, 400*time.Millisecond // with three rounds no difference could be told from chance
	if o.Thorough {
		rounds, window = 7, 2*time.Second
	}
	if p.Rounds == 0 {
		p.Rounds = rounds
	}
	if p.Window == 0 {
		p.Window = window
	}
	p.WarmUp = p.Window / 4
	n, _ := o.Numbers()
	base := Scenario{Size: o.Size, Churn: o.Churn, Idle: o.Idle, Slow: o.Slow}
	asked := n.Connections != nil || n.Depth != nil || o.Rate > 0
	if n.Connections == nil {
		n.Connections = []int{50, 1000}
		if o.Thorough && Fit() >= 10_000 {
			n.Connections = []int{50, 1000, 10_000}
		}
	}
	if n.Depth == nil {
		n.Depth = []int{1}
		if o.Thorough {
			n.Depth = []int{1, 16}
		}
	}
	for _, c := range n.Connections {
		base.Connections = c
		if o.Rate > 0 {
			base.Rate = o.Rate
			p.Scenarios = append(p.Scenarios, base)
			continue
		}
		for _, d := range n.Depth {
			base.Depth = d
			p.Scenarios = append(p.Scenarios, base)
		}
	}
	if !asked && o.Churn == 0 {
		base.Connections, base.Depth, base.Rate = 1000, 0, 20_000
		p.Scenarios = append(p.Scenarios, base)
	}
	return p, nil
}

// Needs is the most connections that p has at once.
func (p Plan) Needs() int {
	most := p.Memory
	for _, sc := range p.Scenarios {
		most = max(most, sc.all())
	}
	return most
}

// ownFDs is how many descriptors a server, or the clients, may have beside those of their
// connections.
const ownFDs = 100

// Fit is how many connections a process may have here, going by RLIMIT_NOFILE.
func Fit() int {
	if limit := fileLimit(); limit > 0 {
		return max(int(limit)-ownFDs, 0)
	}
	return math.MaxInt
}

// fits says so if p needs more connections than a process may have.
func (p Plan) fits() error {
	n := p.Needs()
	if n <= Fit() {
		return nil
	}
	return fmt.Errorf("%s connections %w: the server and the clients need a descriptor for each, and %d of their own, and RLIMIT_NOFILE allows a process %s. "+
		"Take fewer, or raise it as root (ulimit -n %d in the shell from which you start this; LimitNOFILE= of a service; --ulimit nofile= of a container)",
		thousands(float64(n)), ErrCannot, ownFDs, thousands(float64(fileLimit())), n+ownFDs)
}

// Bench measures. The goroutine that calls its methods must be locked to its thread: see
// startOn.
type Bench struct {
	Root     string
	Exe      string // a program that calls load.Main first
	Progress func(done, all int, what string)

	dir      string
	programs map[string]string // by subject
	plan     Plan
	done     int
	all      int
}

// Run measures what plan says. What a subject cannot do is in its rows; an error is for
// the whole.
func (b *Bench) Run(ctx context.Context, plan Plan) (*Result, error) {
	if err := plan.fits(); err != nil {
		return nil, err
	}
	if err := b.build(ctx, plan); err != nil {
		return nil, err
	}
	defer b.remove()
	r := &Result{Kind: "bench", Machine: ThisMachine(b.Root), Time: time.Now().UTC().Truncate(time.Second),
		Rounds: plan.Rounds, Window: plan.Window.Seconds(), Cores: plan.Cores, Pinned: b.pinned(), Busy: othersRunning()}
	for _, sc := range plan.Scenarios {
		for _, s := range plan.Subjects {
			row := Row{Subject: s.Name, Runs: s.Runs, Scenario: sc}
			if row.Skipped = s.Most > 0 && sc.all() > s.Most; row.Skipped {
				row.Problem = fmt.Sprintf("select takes no more than FD_SETSIZE, 1024, descriptors: %d clients and its own", s.Most)
			}
			r.Rows = append(r.Rows, row)
		}
	}
	b.all = len(r.Rows) * plan.Rounds
	if plan.Memory > 0 {
		b.all += len(plan.Subjects)
	}
	for round := range plan.Rounds {
		for i := range r.Rows {
			// Every other round goes backwards: nobody always comes after the same.
			n := i
			if round%2 == 1 {
				n = len(r.Rows) - 1 - i
			}
			row := &r.Rows[n]
			b.step(fmt.Sprintf("round %d of %d, %s: %s", round+1, plan.Rounds, row.Subject, row.Scenario))
			if row.Problem != "" {
				continue
			}
			sample, err := b.measure(ctx, plan.Subjects[n%len(plan.Subjects)], row.Scenario)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				row.Problem = err.Error()
				continue
			}
			if sample.Rate == 0 {
				row.Empty++ // the machine did other things
				continue
			}
			row.Samples = append(row.Samples, sample)
		}
	}
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Empty == plan.Rounds {
			row.Problem = "no message came back in the window of any round, and all of them later: the window is too short for this server on this machine"
		}
	}
	if plan.Memory > 0 {
		for _, s := range plan.Subjects {
			b.step("memory of " + s.Name)
			r.Memory = append(r.Memory, b.memory(ctx, s, plan.Memory))
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return r, nil
}

func (b *Bench) step(what string) {
	if b.Progress != nil {
		b.Progress(b.done, b.all, what)
	}
	b.done++
}

// build builds every subject.
func (b *Bench) build(ctx context.Context, plan Plan) (err error) {
	b.plan, b.done, b.all, b.programs = plan, 0, len(plan.Subjects), map[string]string{}
	if b.dir, err = os.MkdirTemp("", "iolab-bench-"); err != nil {
		return err
	}
	for _, s := range plan.Subjects {
		b.step("building " + s.Name)
		if b.programs[s.Name], err = s.build(ctx, b.Root, b.dir); err != nil {
			b.remove()
			return err
		}
	}
	b.done = 0
	return nil
}

func (b *Bench) remove() { os.RemoveAll(b.dir) }

// pinned tells whether server and load have processors of their own.
func (b *Bench) pinned() bool { return pins(b.plan.Cores) }

// pins tells whether a server can have so many processors of its own, and the load one.
func pins(serverCores int) bool { return len(cores()) > serverCores }

// CheckCores says so if a server cannot have so many processors of its own.
func CheckCores(n int) error {
	if !pins(n) {
		return fmt.Errorf("-server-cores %d: the load needs one more for itself, and %s to share out here", n, plural(len(cores()), "processor is", "processors are"))
	}
	return nil
}

// serverCores and loadCores are the processors of each: the first ones, and the last.
func (b *Bench) serverCores() []int {
	if b.pinned() {
		return cores()[:max(b.plan.Cores, 1)]
	}
	return nil
}

func (b *Bench) loadCores() []int {
	if all := cores(); b.pinned() {
		return all[len(all)-1:]
	}
	return nil
}

// pair is a server and its clients.
type pair struct {
	server    *server
	load      *load.Process
	connected int
	release   func() bool // of the load from its context
}

// pair starts a server and connects its clients; see load.Start about an error.
func (b *Bench) pair(ctx context.Context, s Subject, spec load.Spec) (*pair, error) {
	v, err := startServer(s, b.programs[s.Name], b.serverCores())
	if err != nil {
		return nil, err
	}
	return b.connect(ctx, v, spec)
}

// connect connects clients to v, which are killed when ctx is cancelled.
func (b *Bench) connect(ctx context.Context, v *server, spec load.Spec) (p *pair, err error) {
	p = &pair{server: v, release: func() bool { return true }}
	spec.Addr, spec.Server = v.addr, v.pid()
	p.load, p.connected, err = load.Start(b.Exe, spec, func(cmd *exec.Cmd) error {
		err := startOn(cmd, b.loadCores(), false)
		if err == nil {
			p.release = context.AfterFunc(ctx, func() { cmd.Process.Kill() })
		}
		return err
	})
	return p, p.explain(err)
}

// explain adds to an error of the load that the server has ended, if it has.
func (p *pair) explain(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, p.server.ended())
}

// stop ends both. The server is asked before the clients leave, so that its counters have
// nothing of that.
func (p *pair) stop() (*Counters, error) {
	p.server.interrupt()
	p.leave()
	return p.server.stop()
}

// leave ends the clients.
func (p *pair) leave() {
	p.release()
	if p.load != nil {
		p.load.Close()
	}
}

// kill ends both at once.
func (p *pair) kill() {
	p.server.kill()
	p.leave()
}

// measure is one round of one subject.
func (b *Bench) measure(ctx context.Context, s Subject, sc Scenario) (Sample, error) {
	p, err := b.pair(ctx, s, load.Spec{Connections: sc.Connections, Idle: sc.Idle, Slow: sc.Slow, Size: sc.Size, Depth: sc.Depth,
		Rate: sc.Rate, Churn: sc.Churn, WarmUp: b.plan.WarmUp, Window: b.plan.Window})
	if p == nil {
		return Sample{}, err
	}
	var r load.Result
	var from, to *Counters
	if err == nil {
		r, err = p.load.Run(func(begins bool) {
			if begins {
				from = p.server.ask()
			} else if from != nil {
				to = p.server.ask()
			}
		})
		err = p.explain(err)
	}
	if err != nil {
		p.kill()
		return Sample{}, err
	}
	if _, err := p.stop(); err != nil {
		return Sample{}, err
	}
	var counted *Counters
	if from != nil && to != nil {
		counted = to.since(from)
	}
	return sample(r, counted, sc), nil
}

func sample(r load.Result, c *Counters, sc Scenario) Sample {
	n := max(float64(r.Messages), 1)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	s := Sample{
		Rate: float64(r.Messages) / r.Seconds, P50: us(r.Latency.Quantile(0.5)), P99: us(r.Latency.Quantile(0.99)), P999: us(r.Latency.Quantile(0.999)),
		LoadCPU: us(r.Load.Total()) / n, LoadShare: r.LoadShare(),
		Due: r.Due, Sent: r.Sent, Answered: r.Answered, Lost: r.Lost, Connects: float64(r.Connects) / r.Seconds,
	}
	if r.Server != nil {
		s.CPU, s.User, s.System = us(r.Server.Total())/n, us(r.Server.User)/n, us(r.Server.System)/n
		s.Share = r.Server.Total().Seconds() / r.Seconds
	}
	if r.Late != nil {
		s.LateP99 = us(r.Late.Quantile(0.99))
	}
	if c != nil && c.BytesIn > 0 && sc.Slow == 0 {
		s.Calls = map[string]float64{}
		messages := float64(c.BytesIn) / float64(sc.Size) // between the same two moments as the calls
		for name, calls := range c.Calls {
			s.Calls[name] = float64(calls) / messages
		}
	}
	return s
}

// memory measures what n silent connections cost s.
func (b *Bench) memory(ctx context.Context, s Subject, n int) Memory {
	m := Memory{Subject: s.Name, Connections: n}
	if s.Most > 0 {
		m.Connections = min(n, s.Most)
	}
	if err := b.growth(ctx, s, &m); err != nil {
		m.Problem = err.Error()
	}
	return m
}

// growth measures how the resident memory of s grows: first with messages on a few
// connections, which go again, and then with those of m, each of which has had its echo. The
// first part is what a server makes once, however many there are: a ring of buffers, for one,
// of which each takes memory when it is first used, and would otherwise be taken for a part
// of the first few thousand connections.
func (b *Bench) growth(ctx context.Context, s Subject, m *Memory) error {
	v, err := startServer(s, b.programs[s.Name], b.serverCores())
	if err != nil {
		return err
	}
	defer v.stop()
	start, err := probe.RSS(v.pid())
	if err != nil {
		return err
	}
	few, err := b.connect(ctx, v, load.Spec{Connections: 50, Depth: 16, Window: 300 * time.Millisecond})
	if err == nil {
		_, err = few.load.Run(nil)
		err = few.explain(err)
	}
	few.leave()
	if err != nil {
		return err
	}
	warm, err := probe.RSS(v.pid())
	if err != nil {
		return err
	}
	p, err := b.connect(ctx, v, load.Spec{Idle: m.Connections})
	defer p.leave()
	if err != nil {
		return err
	}
	full, err := probe.RSS(v.pid())
	m.Fixed, m.Grown = warm-start, full-warm
	m.PerConn = float64(m.Grown) / float64(m.Connections)
	return err
}
