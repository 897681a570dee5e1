// Package labtest is the kit that the lessons' tests are written with: it runs the
// reader's engine on a goroutine of its own, plays its clients, and writes down
// what happens. When something does not come back as it should, it looks at the
// engine from outside (what its loop is doing, its descriptors, the queues of its
// sockets, its epoll table, its CPU time) and says what it saw and what that
// points to.
//
// Methods of [Lab] and [Client] belong to the test's goroutine. They do not return
// errors: what is not as it should be ends the test with a report.
package labtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"iolab/checker/probe"
	"iolab/checker/probe/slowness"
	"iolab/checker/report"
	"iolab/lessons/engine"
)

// Patience is how long a test waits for something that must happen, counted anew
// whenever something moves. It is far more than any machine needs, so that a slow
// one is never taken for a wrong server, and more on one that has much else to do;
// IOLAB_PATIENCE (such as "30s") changes it.
var Patience = patience()

func patience() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("IOLAB_PATIENCE")); err == nil && d > 0 {
		return d
	}
	return 5 * time.Second * time.Duration(slowness.Now())
}

// slice is the timeout of the Polls that run the loop while a test does other
// things. The lab does not count on Wake, which is a step of its own.
const slice = 2 * time.Millisecond

// Lab is one engine under test.
type Lab struct {
	t       testing.TB
	engine  engine.Engine
	cfg     engine.Config
	loop    *loop
	service *recorder
	clients []*Client
	story   []report.Action

	before   []probe.FD // the process's descriptors before New
	afterNew []probe.FD // and after it
	epfds    map[int]bool
	suspects []Rule
	several  bool // see SeveralLoops
	failed   bool
	paused   bool   // no turns but the test's own
	release  func() // set by Starve
	crowds   bool   // clients that the lab does not know have connected

	shutdown   chan error // what Shutdown returned, once it has
	shutdownAt int        // its line in the story
}

type options struct {
	cfg     engine.Config
	service engine.Handler
	paused  bool
	several bool
}

// Option changes how a Lab starts.
type Option func(*options)

// WithConfig gives the engine cfg. Without it the engine gets the zero Config.
func WithConfig(cfg engine.Config) Option { return func(o *options) { o.cfg = cfg } }

// WithHandler gives the engine h as its service. Without it the service is echo.
func WithHandler(h engine.Handler) Option { return func(o *options) { o.service = h } }

// Paused starts the engine without polling it: the test makes each turn itself,
// see [Lab.Turn].
func Paused() Option { return func(o *options) { o.paused = true } }

// SeveralLoops is for an engine that runs by itself, on several goroutines: Poll only
// waits, and callbacks come on the engine's own, for each connection always on the
// same. Such an engine cannot be paused.
func SeveralLoops() Option { return func(o *options) { o.several = true } }

// Start makes an engine with newEngine and polls it on a goroutine of its own,
// locked to its thread, until the test ends. Then it closes the engine and checks
// that every connection got its OnClose and every descriptor came back.
func Start[E engine.Engine](t testing.TB, newEngine func(engine.Config, engine.Handler) (E, error), opts ...Option) *Lab {
	t.Helper()
	o := options{service: engine.Echo{}}
	for _, opt := range opts {
		opt(&o)
	}
	warmUp()
	l := &Lab{t: t, cfg: o.cfg, epfds: map[int]bool{}, paused: true}
	l.before, _ = probe.FDs(os.Getpid())
	for _, fd := range l.before {
		if fd.Kind == "epoll" {
			l.epfds[fd.Num] = true // the Go runtime's own
		}
	}
	l.loop = newLoop()
	thread := l.loop.tid
	if o.several {
		thread = 0
	}
	l.several = o.several
	l.service = newRecorder(o.service, thread)
	t.Cleanup(l.finish)

	l.Did("New(%s)", describe(o.cfg))
	var err error
	l.onLoop("New", func() {
		e, newErr := newEngine(o.cfg, l.service)
		if err = newErr; err == nil {
			l.engine = e
		}
	})
	if errors.Is(err, probe.ErrUnavailable) {
		l.loop.stop()
		l.Unavailable("%v", err)
	}
	if err != nil {
		l.loop.stop()
		l.Fail(Failure{Symptom: NewFails, Problem: fmt.Sprintf("New should return an engine that listens, but returned the error %q", err)})
	}
	l.loop.engine = l.engine
	l.afterNew, _ = probe.FDs(os.Getpid())
	if !o.paused {
		l.Resume()
		// A turn later an engine may hold sockets ready for connections to come.
		for begin := time.Now(); l.loop.turns.Load() == 0 && !l.loopDead() && time.Since(begin) < Patience; {
			time.Sleep(100 * time.Microsecond)
		}
		l.afterNew, _ = probe.FDs(os.Getpid())
	}
	return l
}

// Part is a lab without an engine, for tests of a part that an engine is built of: its
// calls are made with [Lab.Do], on a goroutine that is locked to its thread. When the test
// ends every descriptor must be back.
func Part(t testing.TB) *Lab {
	t.Helper()
	warmUp()
	l := &Lab{t: t, epfds: map[int]bool{}}
	l.before, _ = probe.FDs(os.Getpid())
	l.loop = newLoop()
	l.service = newRecorder(engine.Echo{}, l.loop.tid)
	t.Cleanup(func() {
		t.Helper()
		defer l.loop.stop()
		if !l.failed && !l.loop.unwritten() {
			l.healthy()
			l.wantDescriptors(l.before, "the test is over")
		}
	})
	return l
}

// warmUp makes the Go runtime open the descriptors of its own network poller, so
// that they are not taken for the engine's.
func warmUp() {
	if ln, err := net.Listen("tcp4", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
}

func describe(cfg engine.Config) string {
	s := fmt.Sprintf("%+v", cfg)
	s = regexp.MustCompile(`\w+:(0s|0)?( |})`).ReplaceAllString(s, "$2")
	s = strings.Join(strings.Fields(strings.Trim(s, "{}")), " ")
	if s == "" {
		return "the zero Config"
	}
	return s
}

// T is the test.
func (l *Lab) T() testing.TB { return l.t }

// Config is the configuration in force, with the defaults filled in.
func (l *Lab) Config() engine.Config { return l.cfg.WithDefaults() }

// Did adds a line to the story.
func (l *Lab) Did(format string, args ...any) {
	l.story = append(l.story, report.Action{Did: fmt.Sprintf(format, args...)})
}

// Got says what came back for the last line of the story.
func (l *Lab) Got(format string, args ...any) {
	if n := len(l.story); n > 0 {
		l.story[n-1].Got = fmt.Sprintf(format, args...)
	}
}

// Do runs f on the loop's goroutine, between two turns: the only place where the
// engine's methods may be called.
func (l *Lab) Do(f func(e engine.Engine)) {
	l.t.Helper()
	l.onLoop("a call of the engine", func() { f(l.engine) })
}

// Call is Do for one call of the engine, which what names in a report.
func (l *Lab) Call(what string, f func(e engine.Engine)) {
	l.t.Helper()
	l.onLoop(what, func() { f(l.engine) })
}

// onLoop runs f on the loop's goroutine and waits for it. what names f in a report.
func (l *Lab) onLoop(what string, f func()) {
	l.t.Helper()
	l.await(what, l.post(f))
}

// post hands f to the loop's goroutine, and returns a channel that is closed when f
// has returned. (Not if it panics: then the loop is dead.)
func (l *Lab) post(f func()) <-chan struct{} {
	l.t.Helper()
	l.healthy()
	done := make(chan struct{})
	select {
	case l.loop.requests <- func() { f(); close(done) }:
	case <-l.loop.dead:
		l.healthy()
	case <-time.After(Patience):
		l.Fail(Failure{Symptom: PollBlocks, Problem: fmt.Sprintf("Poll(%v) should return within its timeout, but has not come back for %v", slice, Patience)})
	}
	return done
}

// await waits for what post has returned.
func (l *Lab) await(what string, done <-chan struct{}) {
	l.t.Helper()
	select {
	case <-done:
	case <-l.loop.dead:
	case <-time.After(Patience):
		l.Fail(Failure{Symptom: CallBlocks, Problem: fmt.Sprintf("%s should return at once, but has not come back for %v", what, Patience)})
	}
	l.healthy()
}

// healthy ends the test if the loop is dead or a rule of the contract was broken.
func (l *Lab) healthy() {
	l.t.Helper()
	if l.failed {
		return
	}
	select {
	case <-l.loop.dead:
		l.failFault(l.loop.fault)
	default:
	}
	if v, ok := l.service.firstViolation(); ok {
		l.Fail(Failure{Symptom: ContractBroken, Problem: v.problem, Suspect: v.cause})
	}
}

// Eventually waits until cond, which runs on the loop's goroutine, holds. The wait
// ends in a report when Patience is over.
func (l *Lab) Eventually(f Failure, cond func(e engine.Engine) bool) {
	l.t.Helper()
	l.eventually(Patience, f, cond)
}

func (l *Lab) eventually(limit time.Duration, f Failure, cond func(e engine.Engine) bool) {
	l.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		var ok bool
		l.Do(func(e engine.Engine) { ok = cond(e) })
		if ok {
			return
		}
		if time.Now().After(deadline) {
			l.Fail(f)
		}
		time.Sleep(time.Millisecond)
	}
}

// WantCount waits until ConnectionCount() is n.
func (l *Lab) WantCount(n int) {
	l.t.Helper()
	l.Did("wait for ConnectionCount() to be %d", n)
	deadline, last := time.Now().Add(Patience), -1
	for {
		var got int
		l.Do(func(e engine.Engine) { got = e.ConnectionCount() })
		if got == n {
			return
		}
		if got != last {
			deadline, last = time.Now().Add(Patience), got
		}
		if time.Now().After(deadline) {
			l.Got("%d", got)
			symptom := CountLow
			if got > n {
				symptom = CountHigh
			}
			l.Fail(Failure{Symptom: symptom, Problem: fmt.Sprintf("ConnectionCount() should become %d, but stays at %d", n, got)})
		}
		time.Sleep(time.Millisecond)
	}
}

// Stats is the engine's Stats now.
func (l *Lab) Stats() (s engine.Stats) {
	l.t.Helper()
	l.Do(func(e engine.Engine) { s = e.Stats() })
	return s
}

// Addr is where the engine listens.
func (l *Lab) Addr() string { return l.engine.Addr().String() }

// Engine is the engine under test: for Wake and Addr, the methods that may be called
// from any goroutine. For the others use [Lab.Do].
func (l *Lab) Engine() engine.Engine { return l.engine }

// Pause stops polling. When it returns no turn is under way.
func (l *Lab) Pause() {
	l.t.Helper()
	l.onLoop("Poll", func() { l.loop.paused = true })
	l.paused = true
}

// Resume goes on polling.
func (l *Lab) Resume() {
	l.t.Helper()
	l.onLoop("Poll", func() { l.loop.paused = false })
	l.paused = false
}

// Turn makes one turn, Poll(timeout), of a paused lab and returns how long it took.
func (l *Lab) Turn(timeout time.Duration) (took time.Duration) {
	l.t.Helper()
	var err error
	l.onLoop(fmt.Sprintf("Poll(%v)", timeout), func() {
		start := time.Now()
		err = l.engine.Poll(timeout)
		took = time.Since(start)
	})
	if err != nil {
		l.failFault(fault{err: err})
	}
	return took
}

// Turns waits until n turns that began after the call have ended, of a lab that is not
// paused.
func (l *Lab) Turns(n int) {
	l.t.Helper()
	// The turn under way may have begun before.
	want := l.loop.turns.Load() + int64(n) + 1
	l.Eventually(Failure{Symptom: PollBlocks, Problem: "Poll should return within its timeout, but does not"},
		func(engine.Engine) bool { return l.loop.turns.Load() >= want })
}

// TurnsUntil makes turns of a paused lab until cond, which runs on the loop's
// goroutine, holds.
func (l *Lab) TurnsUntil(f Failure, cond func(e engine.Engine) bool) {
	l.t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		l.Turn(slice)
		var ok bool
		l.Do(func(e engine.Engine) { ok = cond(e) })
		if ok {
			return
		}
		if time.Now().After(deadline) {
			l.Fail(f)
		}
	}
}

// WantIdle checks that the engine does nothing while nothing happens: for a
// quarter of a second without traffic, Poll waits, and burns no CPU.
func (l *Lab) WantIdle() {
	l.t.Helper()
	l.WantIdleBut(10) // a timeout may be rounded, a chore may be due: but not often
}

// WantIdleBut is WantIdle for an engine that has chores: in its quarter of a second it
// may make that many turns.
func (l *Lab) WantIdleBut(most int) {
	l.t.Helper()
	const window = 250 * time.Millisecond
	l.Did("no traffic for %v", window)
	l.Pause()
	defer l.Resume()
	l.Turn(0) // what was still under way
	l.Turn(0)

	// The best of a few windows: a machine under load may disturb some of them, but
	// a busy loop is busy in all.
	var turns int
	var cpu time.Duration
	var before engine.Stats
	for range 4 {
		var err error
		before = l.Stats()
		used := l.cpu()
		turns = 0
		// Without a word to this goroutine between two turns: on a machine with much
		// else to do that would be a pause in each.
		l.onLoop("Poll", func() {
			for start := time.Now(); time.Since(start) < window && err == nil; turns++ {
				err = l.engine.Poll(window - time.Since(start))
			}
		})
		if err != nil {
			l.failFault(fault{err: err})
		}
		cpu = l.cpu() - used
		if turns <= most && cpu < window/10 {
			return
		}
	}
	l.Got("%d turns, %v of CPU", turns, cpu.Round(time.Microsecond))
	l.Fail(Failure{Symptom: Busy, Moved: gained(before, l.Stats()), Problem: fmt.Sprintf(
		"an idle engine should sleep in Poll and use no CPU, but in %v without traffic Poll returned %d times and the loop used %v of CPU", window, turns, cpu.Round(time.Millisecond))})
}

// WantSleep checks that the loop's goroutine, which is inside a call of the engine that
// what names, uses no processor.
func (l *Lab) WantSleep(what string) {
	l.t.Helper()
	const window = 250 * time.Millisecond
	l.Did("look at the loop's processor time for %v", window)
	var cpu time.Duration
	for range 4 { // the best, as in WantIdle
		used, asleep := l.cpu(), 0
		const looks = 10
		for range looks {
			time.Sleep(window / looks)
			if t, err := probe.ThreadState(os.Getpid(), l.loop.tid); err != nil || t.State == "S" {
				asleep++
			}
		}
		// On a machine under load a busy loop gets little of the processor; but it never sleeps.
		if cpu = l.cpu() - used; cpu < window/10 && asleep > looks/2 {
			return
		}
	}
	l.Got("%v", cpu.Round(time.Microsecond))
	l.Fail(Failure{Symptom: Busy, Problem: fmt.Sprintf("%s should sleep, but used %v of CPU in %v", what, cpu.Round(time.Millisecond), window)})
}

// cpu is the processor time that the engine has used.
func (l *Lab) cpu() time.Duration {
	if l.several {
		d, _ := probe.ProcessCPU(os.Getpid()) // its threads are not known, and nothing else is going on
		return d
	}
	return l.loop.cpu()
}

// ProcessorTime is the processor time that the whole process has used, the clients' and
// an emulated kernel's included.
func (l *Lab) ProcessorTime() time.Duration {
	d, _ := probe.ProcessCPU(os.Getpid())
	return d
}

// WantDescriptorsBack checks that no descriptor is open that was not when the
// engine had just started.
func (l *Lab) WantDescriptorsBack() {
	l.t.Helper()
	l.Did("compare the open descriptors with those before the first client")
	l.wantDescriptors(l.afterNew, "every client has left")
}

func (l *Lab) wantDescriptors(base []probe.FD, when string) {
	l.t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		now, err := probe.FDs(os.Getpid())
		if err != nil {
			return // not to be had on this system; the workflow on Linux looks
		}
		left := slices.DeleteFunc(probe.Leaked(base, now), l.isClients)
		left = withoutReserve(left, base, now)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			l.Got("%d more", len(left))
			l.Fail(Failure{Symptom: DescriptorsLeak, Leaked: left,
				Problem: fmt.Sprintf("when %s, the engine should hold no descriptor more than before, but it holds %d more", when, len(left))})
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// withoutReserve takes the sockets out of left that an engine holds ready for connections
// to come, and has as many of now as in base: which ones they are changes with each
// connection.
func withoutReserve(left, base, now []probe.FD) []probe.FD {
	unused := func(fd probe.FD) bool { return fd.Kind == "tcp" && fd.State == "CLOSE" && fd.Local.Port() == 0 }
	number := func(fds []probe.FD) (n int) {
		for _, fd := range fds {
			if unused(fd) {
				n++
			}
		}
		return n
	}
	if number(now) > number(base) {
		return left
	}
	return slices.DeleteFunc(left, unused)
}

// isClients tells whether fd is a client's end: the lab's own.
func (l *Lab) isClients(fd probe.FD) bool {
	return slices.ContainsFunc(l.clients, func(c *Client) bool { return c.local == fd.Local })
}

// Shutdown calls the engine's Shutdown with ctx on the loop's goroutine, which is
// the last thing that happens there, and returns its error through the channel.
func (l *Lab) Shutdown(ctx context.Context) <-chan error {
	l.t.Helper()
	l.Did("Shutdown")
	l.shutdown, l.shutdownAt = make(chan error, 1), len(l.story)-1
	result, seen := make(chan error, 1), l.shutdown
	l.post(func() {
		l.loop.paused = true
		err := l.engine.Shutdown(ctx)
		seen <- err
		result <- err
	})
	return result
}

// WantDone waits for what Shutdown returned, at most for limit and Patience.
func (l *Lab) WantDone(result <-chan error, limit time.Duration) error {
	l.t.Helper()
	select {
	case err := <-result:
		return err
	case <-l.loop.dead:
		l.healthy()
	case <-time.After(limit + Patience):
		l.Fail(Failure{Symptom: ShutdownHangs, Problem: fmt.Sprintf("Shutdown should be done within %v, but has not come back for %v", limit, limit+Patience)})
	}
	return nil
}

// LastGot is what came back for the last line of the story, empty if it was as
// expected.
func (l *Lab) LastGot() string { return l.story[len(l.story)-1].Got }

// SuspectNext adds rules to every report from here on, before the general ones.
func (l *Lab) SuspectNext(rules ...Rule) { l.suspects = rules }

// TurnWithin is Turn for a timeout that must not be waited for to its end. A turn that
// has not come back after [Patience] is left alone: a result of more than Patience
// means that it waits on, and the test has to end.
func (l *Lab) TurnWithin(timeout time.Duration) (took time.Duration) {
	l.t.Helper()
	var err error
	start := time.Now()
	done := l.post(func() { err = l.engine.Poll(timeout) })
	select {
	case <-done:
	case <-l.loop.dead:
		l.healthy()
	case <-time.After(Patience):
		return time.Since(start) // the loop still waits: the test can only report it
	}
	if err != nil {
		l.failFault(fault{err: err})
	}
	return time.Since(start)
}

// InBackground runs f on a goroutine of its own until the returned function is
// called, which waits for it.
func (l *Lab) InBackground(f func(done <-chan struct{})) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); f(done) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			close(done)
			<-ended
		}
	}
	l.t.Cleanup(stop)
	return stop
}

// UntilRefused connects to addr until that is refused.
func (l *Lab) UntilRefused(addr string) {
	l.t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		c, err := net.DialTimeout("tcp", addr, Patience)
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(deadline) {
			l.Fail(Failure{Symptom: WrongResult, Suspect: "shutdown-still-accepts", Problem: "after Shutdown nobody should be able to connect, but a client can"})
		}
		time.Sleep(time.Millisecond)
	}
}

// EpollTable is the interest list of the engine's epoll instances.
func (l *Lab) EpollTable() []probe.Interest {
	l.t.Helper()
	fds, err := probe.FDs(os.Getpid())
	if err != nil {
		l.t.Fatal(err)
	}
	var table []probe.Interest
	for _, fd := range fds {
		if fd.Kind == "epoll" && !l.epfds[fd.Num] {
			t, err := probe.EpollTable(os.Getpid(), fd.Num)
			if err != nil {
				l.t.Fatal(err)
			}
			table = append(table, t...)
		}
	}
	return table
}

// Rings are the io_urings that have been made since the test began: the engine's.
func (l *Lab) Rings() []probe.Ring {
	rings, _ := probe.Rings(os.Getpid())
	return slices.DeleteFunc(rings, func(r probe.Ring) bool {
		return slices.ContainsFunc(l.before, func(fd probe.FD) bool { return fd.Kind == "io_uring" && fd.Num == r.FD })
	})
}

// HasRing tells whether the engine has an io_uring: its calls are the kernel's to make,
// so whether a socket would block is nothing to the loop.
func (l *Lab) HasRing() bool {
	l.t.Helper()
	return slices.ContainsFunc(probe.Leaked(l.before, l.afterNew), func(fd probe.FD) bool { return fd.Kind == "io_uring" })
}

// Listener is the descriptor of the engine's listener, -1 if there is none.
func (l *Lab) Listener() int {
	l.t.Helper()
	fds, _ := probe.FDs(os.Getpid())
	for _, fd := range fds {
		if fd.Kind == "listener" && fd.Local == l.engine.Addr() {
			return fd.Num
		}
	}
	return -1
}

// finish closes the engine, and checks that this leaves nothing behind.
func (l *Lab) finish() {
	l.t.Helper()
	defer l.loop.stop()
	defer func() {
		for _, c := range l.clients {
			c.abandon()
		}
	}()
	if l.engine == nil || l.failed || l.loop.unwritten() {
		return
	}
	l.healthy()
	l.Did("Close the engine")
	err, written := l.closeEngine()
	for _, c := range l.clients {
		c.abandon()
	}
	if !written {
		return
	}
	if err != nil {
		l.Fail(Failure{Symptom: CloseFails, Err: err, Problem: fmt.Sprintf("Close should return nil, but returned %q", err)})
	}
	l.healthy()
	if v, ok := l.service.unclosed(); ok {
		l.Fail(Failure{Symptom: ContractBroken, Problem: v.problem, Suspect: v.cause})
	}
	l.wantDescriptors(l.before, "the engine is closed")
}

// closeEngine calls Close on the loop's goroutine. A Close, or what it needs, that
// is not written yet has not failed the step of this test.
func (l *Lab) closeEngine() (err error, written bool) {
	l.t.Helper()
	done := l.post(func() { l.loop.paused = true; err = l.engine.Close() })
	select {
	case <-done:
	case <-l.loop.dead:
	case <-time.After(Patience):
	}
	if l.loop.unwritten() {
		return nil, false
	}
	l.await("Close", done)
	return err, true
}

// fault is why the loop died.
type fault struct {
	err   error  // what Poll returned
	panic any    // or what was thrown
	stack string // and where
}

func (l *Lab) failFault(f fault) {
	l.t.Helper()
	var missing engine.ErrNotImplemented
	switch err, _ := f.panic.(error); {
	case errors.As(err, &missing), errors.As(f.err, &missing):
		l.failed = true
		l.feed()
		l.publish(report.Report{Outcome: report.NotStarted, Problem: missing.Error() + tooEarly(missing.Step, step(l.t.Name()), f.stack)})
		l.t.FailNow()
	case f.panic != nil:
		l.Got("panic: %v", f.panic)
		l.Fail(Failure{Symptom: Panics, Panic: f.panic, Stack: f.stack, Problem: fmt.Sprintf("the engine should never panic, but panicked: %v", f.panic)})
	default:
		l.Got("Poll returned: %v", f.err)
		l.Fail(Failure{Symptom: PollFails, Err: f.err, Problem: pollProblem(f.err)})
	}
}

// step is the number in a test's name, 0 if it has none.
func step(name string) int {
	m := regexp.MustCompile(`^TestStep(\d+)`).FindStringSubmatch(name)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// stackOf is the stack of the goroutine that runs the loop.
func stackOf(marker string) string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(g, marker) {
			return g
		}
	}
	return ""
}
