package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/checker/bench/options"
	"iolab/checker/catalogue"
	"iolab/checker/load"
	"iolab/lessons/engine"
)

func TestMain(m *testing.M) {
	load.Main()
	if mode := os.Getenv(asServer); mode != "" {
		odd(mode)
		return
	}
	os.Exit(m.Run())
}

// asServer is the environment's variable that makes this program a server that is not as it
// should be.
const asServer = "IOLAB_BENCH_TEST_SERVER"

func odd(mode string) {
	// Not longer than the test, whatever becomes of that.
	time.AfterFunc(5*time.Minute, func() { os.Exit(1) })
	if file, mute := strings.CutPrefix(mode, "mute:"); mute {
		os.WriteFile(file+".new", []byte(strconv.Itoa(os.Getpid())), 0o644)
		os.Rename(file+".new", file)
		select {}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(os.Stderr, "msg=listening addr=%s\n", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		go func() { // it answers the first message and no other
			buf := make([]byte, 64)
			io.ReadFull(c, buf)
			c.Write(buf)
			io.Copy(io.Discard, c)
		}()
	}
}

// oddly is a bench of a server in a mode.
func oddly(t *testing.T, mode string) (*Bench, Subject) {
	t.Helper()
	t.Setenv(asServer, mode)
	b := newBench(t)
	b.programs = map[string]string{"odd": b.Exe}
	b.plan = Plan{Cores: 1, Window: 50 * time.Millisecond}
	return b, Subject{Name: "odd", Lesson: 1, Runs: "native"}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	dir, err = catalogue.Root(dir)
	require.NoError(t, err)
	return dir
}

func newBench(t *testing.T) *Bench {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	return &Bench{Root: root(t), Exe: exe}
}

func subject(t *testing.T, name string) Subject {
	t.Helper()
	s, err := ParseSubject(name)
	require.NoError(t, err)
	return s
}

func TestSubjects(t *testing.T) {
	assert.Equal(t, "01-select", subject(t, "1").Name)
	assert.Equal(t, selectMost, subject(t, "solution/select").Most)
	assert.Equal(t, "solution/01-select -high-water 5", subject(t, "solutions/01  -high-water 5").Name)
	assert.Equal(t, "net", subject(t, "net").Name)
	for name, want := range map[string]string{
		"":            "this one is empty",
		"epol-lt":     "did you mean epoll-lt",
		"01.2":        "of a whole lesson",
		"solution/99": "no lesson",
		"solution/07": "no echo server",
	} {
		_, err := ParseSubject(name)
		assert.ErrorContains(t, err, want)
	}
	if runtime.GOOS != "linux" {
		_, err := ParseSubject("02")
		assert.ErrorIs(t, err, ErrCannot)
	}
}

func TestFlagsThatMakeNoSenseAreSaid(t *testing.T) {
	for args, want := range map[string]string{
		"-connections=0":        "want numbers from 1",
		"-connections=5,x":      "as in -connections 50,1000",
		"-depth=2000":           "want numbers from 1 to 1024",
		"-size=0":               "-size is 1 to",
		"-rate=-1":              "-rate is 0 to",
		"-rate=NaN":             "-rate is 0 to",
		"-rate=1e9":             "-rate is 0 to",
		"-rounds=-1":            "below zero",
		"-window=-1s":           "below zero",
		"-server-cores=0":       "one processor at least",
		"-rate=5 -depth=3":      "a closed loop's",
		"-most=0":               "climb to nowhere",
		"-memory=-3":            "below zero",
		"-rounds=51":            "more than 50 say no more",
		"-churn=-1 -slow=0":     "below zero",
		"-rate=1000 -churn=100": "a closed loop's",
	} {
		f := flag.NewFlagSet("bench", flag.ContinueOnError)
		o := options.Define(f)
		require.NoError(t, f.Parse(strings.Fields(args)))
		assert.ErrorContains(t, o.Check(), want, args)
	}
}

func TestPlans(t *testing.T) {
	plan := func(args string) Plan {
		f := flag.NewFlagSet("bench", flag.ContinueOnError)
		o := options.Define(f)
		require.NoError(t, f.Parse(strings.Fields(args)))
		p, err := NewPlan(o, nil)
		require.NoError(t, err)
		return p
	}
	p := plan("")
	assert.Equal(t, 4, p.Rounds, "fewer cannot be told from chance")
	assert.Len(t, p.Scenarios, 3, "two closed loops and an open one")
	assert.Positive(t, p.Scenarios[2].Rate)
	p = plan("-connections 5,6 -depth 1,2 -size 9")
	assert.Equal(t, []Scenario{{Connections: 5, Depth: 1, Size: 9}, {Connections: 5, Depth: 2, Size: 9},
		{Connections: 6, Depth: 1, Size: 9}, {Connections: 6, Depth: 2, Size: 9}}, p.Scenarios)
	p = plan("-connections 5 -rate 100")
	assert.Equal(t, []Scenario{{Connections: 5, Rate: 100, Size: 64}}, p.Scenarios)
	assert.Greater(t, plan("-thorough").Rounds, 3)
}

// The whole of it, small: two rounds of package net, kept, drawn, compared.
func TestASmallBench(t *testing.T) {
	b := newBench(t)
	steps := 0
	b.Progress = func(done, all int, what string) {
		steps++
		assert.LessOrEqual(t, done, all)
		assert.NotEmpty(t, what)
	}
	plan := Plan{Subjects: []Subject{subject(t, "net"), subject(t, "solution/01")}, Rounds: 2, WarmUp: 20 * time.Millisecond, Window: 300 * time.Millisecond,
		Memory: 100, Cores: 1, Scenarios: []Scenario{{Connections: 5, Depth: 2, Size: 32}, {Connections: 5, Rate: 500, Size: 32}, {Connections: 5, Depth: 1, Churn: 10, Size: 32}}}
	r, err := b.Run(context.Background(), plan)
	require.NoError(t, err)
	require.Len(t, r.Rows, 6)
	assert.Equal(t, 2+6*2+2, steps)
	for _, m := range r.Memory {
		assert.Equal(t, 100, m.Connections)
		if runtime.GOOS == "linux" {
			assert.Empty(t, m.Problem)
			assert.Positive(t, m.Fixed+m.Grown)
		}
	}
	for _, row := range r.Rows {
		require.Empty(t, row.Problem)
		require.NotEmpty(t, row.Samples)
		require.Equal(t, 2, len(row.Samples)+row.Empty)
		m := row.Median()
		assert.Positive(t, m.Rate)
		assert.LessOrEqual(t, m.P50, m.P999)
		if runtime.GOOS == "linux" {
			assert.Positive(t, m.CPU)
			assert.InDelta(t, m.CPU, m.User+m.System, m.CPU/1000)
		}
		if row.Subject != "net" && runtime.GOOS != "windows" {
			assert.Positive(t, m.Calls["write"])
			assert.LessOrEqual(t, m.Calls["write"], 1.5, "an echo is a write, and several that wait are one")
			if row.Scenario.Churn > 0 {
				assert.Positive(t, m.Calls["accept"])
			} else {
				assert.NotContains(t, m.Calls, "accept", "they were before the window")
			}
		}
	}
	r.Kind = "bench"
	dir := t.TempDir()
	require.NoError(t, r.Save(dir))
	again, err := Load(dir, "bench", "last")
	require.NoError(t, err)
	assert.Equal(t, r.Rows, again.Rows)
	var out bytes.Buffer
	r.Show(&out)
	assert.Contains(t, out.String(), "solution/01-select")
	assert.Contains(t, out.String(), "due each second")
	assert.Contains(t, r.Ceiling(), "are its ceiling")
	out.Reset()
	require.NoError(t, r.Plot(&out))
	d := xml.NewDecoder(&out)
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
	}
}

func TestMoreThanSelectTakesIsNoFailure(t *testing.T) {
	b := newBench(t)
	r, err := b.Run(context.Background(), Plan{Subjects: []Subject{subject(t, "solution/01")}, Rounds: 1, Window: 20 * time.Millisecond,
		Scenarios: []Scenario{{Connections: 2000, Depth: 1, Size: 32}}})
	require.NoError(t, err)
	assert.True(t, r.Rows[0].Skipped)
	assert.Contains(t, r.Rows[0].Problem, "FD_SETSIZE")
	assert.Empty(t, r.Rows[0].Samples)
}

func TestAnUnwrittenServerIsSaid(t *testing.T) {
	b := newBench(t)
	s := subject(t, "solution/01")
	s.args = []string{"-nonsense"}
	r, err := b.Run(context.Background(), Plan{Subjects: []Subject{s}, Rounds: 1, Window: 20 * time.Millisecond,
		Scenarios: []Scenario{{Connections: 2, Depth: 1, Size: 32}}})
	require.NoError(t, err)
	assert.Contains(t, r.Rows[0].Problem, "does not start")
	v := newServer(nil)
	v.hear(strings.NewReader("debug\n{}\n" + strings.Repeat("x", 1<<20) + "\n{\"Accepts\":3,\"Calls\":{\"read\":7}}\nbye"))
	require.NotNil(t, v.last)
	assert.EqualValues(t, 7, v.last.Calls["read"])
	assert.EqualValues(t, 7, (<-v.counts).Calls["read"])
	v = &server{tail: []string{`level=ERROR msg="step 01.1 is not written yet: Engine.listen"`}}
	assert.Equal(t, "step 01.1 is not written yet: Engine.listen", v.lastWords())
}

func TestGnetThatCannotBeFetchedIsSaid(t *testing.T) {
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOPROXY", "off")
	s, err := ParseSubject("gnet")
	if err == nil {
		_, err = s.build(context.Background(), root(t), t.TempDir())
		assert.ErrorContains(t, err, "it needs the network or a module proxy once")
	}
	assert.ErrorIs(t, err, ErrCannot)
}

func TestSettingsThatAreHighEnoughStay(t *testing.T) {
	assert.Empty(t, Settings(1))
	var out bytes.Buffer
	restore := Apply(&out, []Setting{{Name: "no.such.setting", Now: 1, Want: 5, Why: "of a test"}})
	assert.Contains(t, out.String(), "sysctl no.such.setting=5 (now 1; put back afterwards): of a test")
	assert.Contains(t, out.String(), "it stays as it is")
	out.Reset()
	restore()
	assert.Empty(t, out.String(), "what was not changed is not put back")
}

func TestWorkersCoverAnUnevenDeal(t *testing.T) {
	if limit := int(fileLimit()); limit > 100 {
		assert.Equal(t, 1, Workers(limit/2))
		assert.GreaterOrEqual(t, Workers(10*limit), 11)
	}
}

func TestSelectClimbsToItsSets(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Winsock's sets have another limit")
	}
	if limit := fileLimit(); limit < 2000 {
		t.Skipf("a limit of %d descriptors comes first", limit)
	}
	b := newBench(t)
	plan := Plan{Subjects: []Subject{subject(t, "solution/01")}, Cores: 1}
	require.NoError(t, b.build(context.Background(), plan))
	defer b.remove()
	c := b.climb(context.Background(), plan.Subjects[0], 1, 5000)
	require.Empty(t, c.Problem)
	assert.Contains(t, c.Limit, "FD_SETSIZE")
	assert.Less(t, c.Connections, 1024)
	assert.Greater(t, c.Connections, 1000)
	assert.True(t, knows(b.programs["solution/01-select"], []string{"-addr", "x", "-json-stats", "1h"}))
	assert.False(t, knows(b.programs["solution/01-select"], []string{"-nonsense"}))
	c = b.climb(context.Background(), plan.Subjects[0], 1, 300)
	assert.Equal(t, 300, c.Connections)
	assert.True(t, c.Again)
	assert.Contains(t, c.Limit, "none")
}

func results(cpuA, cpuB []float64) (a, b *Result) {
	sc := Scenario{Connections: 50, Depth: 1, Size: 64}
	make := func(cpu []float64) *Result {
		row := Row{Subject: "net", Scenario: sc}
		for _, x := range cpu {
			row.Samples = append(row.Samples, Sample{CPU: x, Rate: 1000, P99: 5})
		}
		return &Result{Kind: "bench", Rows: []Row{row, {Subject: "gnet", Scenario: sc, Samples: []Sample{{CPU: 1}}}}}
	}
	a, b = make(cpuA), make(cpuB)
	b.Rows = b.Rows[:1]
	return a, b
}

func TestCompare(t *testing.T) {
	a, b := results([]float64{4, 5, 6, 6.5}, []float64{7, 8, 9, 10})
	changes, notes := Compare(a, b)
	require.Len(t, changes, 3, "of what both have measured")
	assert.Empty(t, notes)
	assert.Equal(t, "CPU for a message, us", changes[0].What)
	assert.InDelta(t, 54.5, changes[0].Percent, 0.1)
	assert.InDelta(t, 2.0/70, changes[0].Chance, 1e-9)
	assert.True(t, changes[0].Clear)
	assert.False(t, changes[1].Clear)
	assert.False(t, changes[1].Few)

	a, b = results([]float64{4, 5, 6, 6}, []float64{6, 7, 8, 9})
	b.Machine.Kernel, b.Pinned = "7", true
	changes, notes = Compare(a, b)
	assert.False(t, changes[0].Clear, "the best rounds of one are as good as the worst of the other")
	assert.Len(t, notes, 2)
	b.Machine.Host = "other"
	_, notes = Compare(a, b)
	assert.Contains(t, notes[0], "two machines")
	var out bytes.Buffer
	ShowChanges(&out, a, b, changes, notes)
	assert.Contains(t, out.String(), "the rounds may differ so by chance")
	assert.Contains(t, out.String(), "+36.4%")
}

// Three rounds beside three are as far apart in one of ten comparisons of the same.
func TestThreeRoundsSayNothing(t *testing.T) {
	a, b := results([]float64{4, 5, 6}, []float64{70, 80, 90})
	changes, _ := Compare(a, b)
	assert.True(t, changes[0].Few)
	assert.False(t, changes[0].Clear)
	var out bytes.Buffer
	ShowChanges(&out, a, b, changes, nil)
	assert.Contains(t, out.String(), "not enough rounds to say")
	assert.NotContains(t, out.String(), "  clear")
}

// The values are those of tables of the test: twice the part of the arrangements that are as
// far apart.
func TestChance(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		p    float64
	}{
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 0.1},
		{[]float64{4, 5, 6, 7}, []float64{1, 2, 3}, 2.0 / 35},
		{[]float64{1, 2, 3, 5}, []float64{4, 6, 7, 8}, 4.0 / 70},
		{[]float64{1, 3, 5, 7}, []float64{2, 4, 6, 8}, 48.0 / 70}, // ranks 16 of 10 to 26: 24 have as few
		{[]float64{5, 5, 5}, []float64{5, 5, 5}, 1},
		{[]float64{1, 1, 1}, []float64{5, 5, 5}, 0.1},
	} {
		p, least := chance(c.a, c.b)
		assert.InDelta(t, c.p, p, 1e-9, "%v %v", c.a, c.b)
		assert.LessOrEqual(t, least, p)
	}
	_, least := chance(make([]float64, 4), make([]float64, 4))
	assert.InDelta(t, 2.0/70, least, 1e-9)
}

func TestAnOverloadIsSaid(t *testing.T) {
	row := Row{Subject: "net", Scenario: Scenario{Connections: 5, Rate: 20_000}}
	notes := func(s ...Sample) string { row.Samples = s; return strings.Join(row.notes(), "\n") }
	whole := Sample{Rate: 1, CPU: 1, Due: 8000, Sent: 8000, Answered: 7990}
	assert.Empty(t, notes(whole, whole), "some are always under way")
	slow := Sample{Rate: 1, CPU: 1, Due: 8000, Sent: 8000, Answered: 5000}
	assert.Contains(t, notes(slow, slow), "overloaded: 10,000 of 16,000 messages that were due in the windows were answered in them; the server does not keep up")
	assert.Contains(t, notes(Sample{Rate: 1, CPU: 1, Due: 8000, Sent: 5500, Answered: 5000}), "the clients do not keep up: they sent 5,500")
}

func TestCallsOfTheWindow(t *testing.T) {
	from := &Counters{BytesIn: 1000, Calls: map[string]uint64{"read": 10, "accept": 5}}
	to := &Counters{BytesIn: 7400, Calls: map[string]uint64{"read": 110, "accept": 5, "epoll_ctl": 50}}
	d := to.since(from)
	s := sample(load.Result{Messages: 90, Seconds: 1, Latency: load.NewHistogram()}, d, Scenario{Size: 64})
	assert.Equal(t, map[string]float64{"read": 1, "epoll_ctl": 0.5}, s.Calls, "of the hundred messages between the two")
}

func TestCallsThatAreNotCountedAreSeen(t *testing.T) {
	for call := range engine.NumCalls {
		if name := call.String(); name != "kevent" && !strings.ContainsAny(name, "ACGW") { // of other systems
			assert.Contains(t, countedCalls, name)
		}
	}
	seen := map[string]uint64{"read": 5000, "epoll_ctl": 4000, "epoll_pwait2": 300, "close": 1150, "futex": 9000}
	all := compareCalls("x", map[string]uint64{"read": 4990, "epoll_wait": 290, "close": 10}, seen, 1000)
	require.Len(t, all, 4)
	assert.Equal(t, Checked{"x", "close", 10, 1150, true}, all[0], "connections end after the count")
	assert.Equal(t, Checked{"x", "epoll_ctl", 0, 4000, false}, all[1])
	assert.True(t, all[2].OK && all[3].OK)
}

func TestAServerThatAnswersNothingIsNoBusyMachine(t *testing.T) {
	b, s := oddly(t, "silent")
	sample, err := b.measure(context.Background(), s, Scenario{Connections: 4, Depth: 1, Size: 64})
	assert.Zero(t, sample)
	assert.ErrorContains(t, err, "the server does not answer: 4 messages on 4 connections are not back")
	assert.ErrorContains(t, err, "nothing has come back since the load began")
	if runtime.GOOS == "linux" {
		assert.ErrorContains(t, err, "s of that the server used ")
	}
}

// Under strace, whose child the server is: with that alone the server would live on, and
// hold the pipes.
func TestAServerUnderAnotherProgramIsKilledWithIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("strace is Linux's")
	}
	file := filepath.Join(t.TempDir(), "pid")
	b, s := oddly(t, "mute:"+file)
	startWithin = 10 * time.Second
	t.Cleanup(func() { startWithin = 30 * time.Second })
	_, err := startServer(s, b.Exe, nil, "sh", "-c", `"$@"; exit 1`, "sh")
	require.ErrorContains(t, err, "it has not said within 10s where it listens")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Eventually(t, func() bool {
		stat, err := os.ReadFile("/proc/" + string(text) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z")
	}, time.Minute, 10*time.Millisecond)
}

func TestAServerMaySayTwiceThatItEnds(t *testing.T) {
	v := newServer(nil)
	v.watch(strings.NewReader("msg=\"shutting down\"\nmsg=\"shutting down\"\nbye\n"))
	assert.Len(t, v.ending, 1)
	assert.Contains(t, v.lastWords(), "bye")
}

func TestMoreThanTheDescriptorsIsRefused(t *testing.T) {
	if Fit() > 1<<40 {
		t.Skip("no limit here")
	}
	b := newBench(t)
	for _, plan := range []Plan{{Memory: Fit() + 1}, {Scenarios: []Scenario{{Connections: Fit(), Idle: 1}}}} {
		_, err := b.Run(context.Background(), plan)
		assert.ErrorIs(t, err, ErrCannot)
		assert.ErrorContains(t, err, "RLIMIT_NOFILE allows a process ")
		assert.ErrorContains(t, err, "ulimit -n ")
	}
	assert.NoError(t, Plan{Memory: Fit()}.fits())
}

func TestFlagsThatAVerbDoesNotUseAreRefused(t *testing.T) {
	for _, c := range []struct{ verb, flag, want string }{
		{"scale", "pipeline", "-pipeline is not used by bench scale"},
		{"scale", "rounds", "-rounds is not used by bench scale; what is: -most, -processes, -plot"},
		{"", "most", "-most is not used by bench;"},
		{"compare", "rounds", "-rounds is not used by bench compare, which has no flags"},
		{"table", "connections", "not used by bench table"},
		{options.CheckSyscallsVerb, "plot", "not used by bench -check-syscalls"},
	} {
		assert.ErrorContains(t, options.Used(c.verb, []string{"json", c.flag}), c.want)
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	options.Define(f)
	f.VisitAll(func(one *flag.Flag) {
		ok := false
		for _, verb := range []string{"", "table", "plots", "scale", "compare", options.CheckSyscallsVerb} {
			ok = ok || options.Used(verb, []string{one.Name}) == nil
		}
		assert.True(t, ok, "nobody uses -%s", one.Name)
	})
}

func TestResultsAreFound(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(dir, "bench", "last")
	assert.ErrorContains(t, err, "run go run ./checker bench")
	for i, kind := range []string{"bench", "table", "bench"} {
		r := &Result{Kind: kind, Time: time.Date(2026, 1, 2, 3, 4, 5+i, 0, time.UTC), Machine: Machine{Host: "my host/x", Kernel: "6.18", Commit: "abc+"}}
		require.NoError(t, r.Save(dir))
		assert.Equal(t, filepath.Join(dir, ".iolab", "bench"), filepath.Dir(r.File))
	}
	r, err := Load(dir, "bench", "last")
	require.NoError(t, err)
	assert.Equal(t, 7, r.Time.Second())
	assert.Contains(t, r.Name(), "_bench_x_6.18_abc+")
	r, err = Load(dir, "bench", "before")
	require.NoError(t, err)
	assert.Equal(t, 5, r.Time.Second())
	r, err = Load(dir, "bench", "03-04-05")
	require.NoError(t, err)
	assert.Equal(t, 5, r.Time.Second())
	_, err = Load(dir, "bench", "2026")
	assert.ErrorContains(t, err, "which one")
	_, err = Load(dir, "bench", "nope")
	assert.ErrorContains(t, err, "there are")
	_, err = Load(dir, "table", "before")
	assert.ErrorContains(t, err, "one result only")
	file := filepath.Join(dir, "x.json")
	require.NoError(t, os.WriteFile(file, []byte("{}"), 0o644))
	_, err = Load(dir, "bench", file)
	assert.ErrorContains(t, err, "no result of the bench")
}

func TestParseStrace(t *testing.T) {
	calls, err := parseStrace(strings.NewReader(`% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.48    0.000541           5       101           read
 20.00    0.000100           1        77         3 write
------ ----------- ----------- --------- --------- ----------------
100.00    0.000880           4       178         3 total
`))
	require.NoError(t, err)
	assert.EqualValues(t, 101, calls["read"])
	assert.EqualValues(t, 77, calls["write"])
	_, err = parseStrace(strings.NewReader(""))
	assert.Error(t, err)
}

func TestNumbersForPeople(t *testing.T) {
	assert.Equal(t, "1,234,567", thousands(1234567))
	assert.Equal(t, "-1,000", thousands(-1000))
	assert.Equal(t, "12.3 us", microseconds(12.34))
	assert.Equal(t, "1.50 ms", microseconds(1500))
	assert.Equal(t, "2.00 s", microseconds(2e6))
	assert.Equal(t, "0.012", figure(0.0123))
	assert.Equal(t, 2.5, median([]float64{4, 1, 3, 2}))
	assert.Zero(t, median(nil))
}

func TestTheQuotedRowIsAnswered(t *testing.T) {
	row := func(subject string, cpu float64) Row {
		return Row{Subject: subject, Scenario: Scenario{Connections: 10_000, Depth: 1}, Samples: []Sample{{Rate: 1e6 / cpu, CPU: cpu}}}
	}
	e := &Echo{Connections: 10_000, Rows: []Row{row("solution/03-epoll-et", 5), row("solution/06-io_uring", 4)}}
	text := strings.Join(e.words(), "\n")
	assert.Contains(t, text, "at most 22 under way", "500,000/s x 45 us")
	assert.Contains(t, text, "1.25 times epoll's messages")
	assert.Contains(t, text, "is not seen here: at best io_uring serves 1.25")
	e.Rows[1] = row("solution/06-io_uring", 3)
	assert.Contains(t, strings.Join(e.words(), "\n"), "is seen here")
	e.Rows[1] = row("solution/06-io_uring", 5)
	assert.Contains(t, strings.Join(e.words(), "\n"), "nor any gain")
	e.Rows = e.Rows[:1]
	assert.Contains(t, strings.Join(e.words(), "\n"), "nothing to compare")
}

func TestFiguresAreDrawnFromAResult(t *testing.T) {
	r := &Result{Kind: "plots"}
	for _, idle := range []int{0, 900} {
		for name, cpu := range map[string]float64{"solution/01-select": float64(10 + idle/4), "solution/02-epoll-lt": 10} {
			r.Rows = append(r.Rows, Row{Subject: name, Scenario: Scenario{Connections: 1, Idle: idle}, Samples: []Sample{{CPU: cpu}}})
		}
	}
	assert.True(t, r.Measured())
	assert.False(t, (&Result{}).Measured())
	if runtime.GOOS != "linux" {
		return
	}
	for name, draw := range Figures {
		assert.FileExists(t, filepath.Join(root(t), filepath.Dir(name), "README.md"))
		var out bytes.Buffer
		require.NoError(t, draw(r, &out))
		assert.Contains(t, out.String(), "silent connections")
	}
}

func TestAClimbIsShownAndDrawn(t *testing.T) {
	r := &Result{Kind: "scale", Climbs: []Climb{
		{Subject: "solution/01-select", Processes: 1, Clients: 1, Connections: 1015, Again: true, Limit: "FD_SETSIZE: the sets end", Own: 300, Kernel: 9000},
		{Subject: "solution/03-epoll-et", Processes: 6, Clients: 6, Connections: 100_000, Limit: "none: the climb ends", Kernel: -5}}}
	var out bytes.Buffer
	r.ShowScale(&out)
	assert.Contains(t, out.String(), "NOT all")
	assert.Contains(t, out.String(), "solution/03-epoll-et in 6 processes: none")
	assert.Contains(t, out.String(), "FD_SETSIZE")
	out.Reset()
	require.NoError(t, r.PlotScale(&out))
	assert.Contains(t, out.String(), "100,000")
}

func TestTheTableIsShown(t *testing.T) {
	row := Row{Samples: []Sample{{Rate: 1000, P50: 5, P99: 50, CPU: 4, Calls: map[string]float64{"read": 1, "write": 1}}}}
	r := &Result{Kind: "table", Busy: 9, Table: []Model{
		{Model: "select", Platform: "all", Runs: "native", Climb: Climb{Connections: 1015, Limit: "FD_SETSIZE: …"}, Paced: row, Full: row},
		{Model: "I/O completion ports", Platform: "Windows", Runs: "Wine", Climb: Climb{Connections: 30_000, Limit: "none: …"}, Paced: Row{Problem: "lost"}, Full: row}},
		Echo: &Echo{Connections: 10_000, Rows: []Row{{Subject: "solution/03-epoll-et", Problem: "gone"}}}}
	var out bytes.Buffer
	r.ShowTable(&out)
	for _, want := range []string{"1,015", ">= 30,000", "emulat", "Wine  ", "lost", "quoted", "500,000", "had other work"} {
		assert.Contains(t, out.String(), want)
	}
}

func TestResultsAreJSON(t *testing.T) {
	a, _ := results([]float64{1}, nil)
	text, err := json.Marshal(a)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "NaN")
}
