package conformance

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"iolab/checker/labtest"
	"iolab/checker/probe"
	"iolab/lessons/engine"
)

// ListensAtOnce: clients can connect as soon as New has returned, before any Poll.
func ListensAtOnce(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused())
	if l.Engine().Addr().Port() == 0 {
		l.Fail(labtest.Failure{Symptom: labtest.ConnectFails, Problem: fmt.Sprintf("Addr() should give the port that the kernel chose for port 0, but is %v", l.Engine().Addr())})
	}
	l.Dial()
	l.Dial()
}

// SaysWhyItCannotListen: a New that fails says what failed, and leaves nothing open.
func SaysWhyItCannotListen(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused())
	taken := l.Addr()
	before, _ := probe.FDs(os.Getpid())
	for _, addr := range []string{taken, "no-address", "192.0.2.1:7000"} {
		l.Did("New with Addr %q", addr)
		var err error
		l.Do(func(engine.Engine) { _, err = newEngine(engine.Config{Addr: addr}, engine.Echo{}) })
		if err == nil {
			l.Fail(labtest.Failure{Symptom: labtest.NewFails, Problem: fmt.Sprintf("New should fail for %q, where nobody can listen, but did not", addr)})
		}
		l.Got("%v", err)
		if !strings.Contains(err.Error(), addr) {
			l.Fail(labtest.Failure{Symptom: labtest.NewFails, Problem: fmt.Sprintf("New's error should name the address %q, but is %q", addr, err)})
		}
	}
	now, err := probe.FDs(os.Getpid())
	if left := probe.Leaked(before, now); err == nil && len(left) > 0 {
		l.Fail(labtest.Failure{Symptom: labtest.DescriptorsLeak, Leaked: left, Suspect: "failed-new-leaks",
			Problem: fmt.Sprintf("a New that fails should leave nothing open, but left %d descriptors", len(left))})
	}
}

// EveryDescriptorIsSafe: what New opens is close-on-exec, and the listener has
// SO_REUSEADDR and is non-blocking. (Not on an io_uring: there the kernel waits in the
// engine's place, and would not if the listener said so.)
func EveryDescriptorIsSafe(t *testing.T, newEngine Engine) {
	before, err := probe.FDs(os.Getpid())
	l := start(t, newEngine, labtest.Paused())
	if errors.Is(err, probe.ErrUnavailable) {
		l.Unavailable("descriptors cannot be looked at on this system: %v", err)
	}
	now, _ := probe.FDs(os.Getpid())
	l.Did("look at the descriptors that New has opened")
	for _, fd := range probe.Leaked(before, now) {
		sock, err := probe.Queues(fd.Num)
		if err != nil {
			continue
		}
		bad := func(cause, problem string) {
			l.Got("%v: non-blocking %v, close-on-exec %v, SO_REUSEADDR %v", fd, sock.NonBlocking, sock.CloseOnExec, sock.ReuseAddr)
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: cause, Problem: problem + " (" + fd.String() + ")"})
		}
		switch {
		case !sock.CloseOnExec:
			bad("no-close-on-exec", "every descriptor should be close-on-exec, but one is not")
		case fd.Kind == "listener" && !sock.NonBlocking && !l.HasRing():
			bad("blocking-listener", "the listener should be non-blocking, but is not")
		case fd.Kind == "listener" && !sock.ReuseAddr:
			bad("no-reuseaddr", "the listener should have SO_REUSEADDR, but has not")
		}
	}
}

// CloseGivesEverythingBack: after Close the port is free, and a second Close does
// nothing. (That no descriptor is left is checked after each test.)
func CloseGivesEverythingBack(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused())
	addr := l.Addr()
	l.Did("Close, twice")
	var first, second error
	l.Do(func(e engine.Engine) { first, second = e.Close(), e.Close() })
	if first != nil {
		l.Got("%v", first)
		l.Fail(labtest.Failure{Symptom: labtest.CloseFails, Err: first, Problem: fmt.Sprintf("Close should return nil, but returned %q", first)})
	}
	if second != nil {
		l.Got("%v, %v", first, second)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Close should return nil, also the second time, but returned %v", second)})
	}
	l.Did("New on the same address, %s", addr)
	var err error
	l.Do(func(engine.Engine) {
		var e engine.Engine
		if e, err = newEngine(engine.Config{Addr: addr}, engine.Echo{}); err == nil {
			e.Close()
		}
	})
	if err != nil {
		l.Got("%v", err)
		l.Fail(labtest.Failure{Symptom: labtest.NewFails, Suspect: "engine-descriptor-not-closed", Problem: fmt.Sprintf("after Close the port should be free for another engine, but: %v", err)})
	}
}

// PollKeepsToItsTimeout: Poll(0) does not wait, Poll(d) waits about d, however short
// d is.
func PollKeepsToItsTimeout(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused())
	l.Did("Poll(0), a hundred times")
	for range 100 {
		l.Turn(0)
	}
	for _, d := range []time.Duration{200 * time.Microsecond, 1500 * time.Microsecond, 30 * time.Millisecond} {
		// A signal may cut a wait short. Most of them have their full length all the same.
		const tries = 20
		l.Did("Poll(%v), %d times", d, tries)
		short := 0
		var took time.Duration
		for range tries {
			if took = l.Turn(d); took < d-d/20 {
				short++
			}
		}
		if short > tries/2 {
			l.Got("%d returned early, the last after %v", short, took)
			const long = 30 * time.Millisecond
			l.Did("Poll(%v), to see whether a long one waits", long)
			took = l.Turn(long)
			l.Got("it returned after %v", took)
			cause := "timeout-rounded-down"
			if took < long/2 {
				cause = "wait-ignores-timeout"
			}
			l.Fail(labtest.Failure{Symptom: labtest.PollEarly, Suspect: cause,
				Problem: fmt.Sprintf("Poll(%v) should wait for %v when nothing happens, but %d of %d returned earlier", d, d, short, tries)})
		}
	}
	// How long 999 ns take cannot be measured, but a thread that waits gives its processor
	// away, and the kernel counts that. Not every time: on the way into the wait it may lose
	// the processor, or epoll_pwait2 of a new kernel find that the time is over. But one
	// whose timeout has become 0 never waits.
	const turns, shortest, call = 100, 999 * time.Nanosecond, 20 * time.Microsecond
	l.Did("Poll(%v), %d times", shortest, turns)
	hasty := 0
	l.Do(func(e engine.Engine) {
		for range turns {
			begun, before := time.Now(), labtest.Waits()
			e.Poll(shortest)
			if took := time.Since(begun); took < call && labtest.Waits() == before {
				hasty++
			}
		}
	})
	// An io_uring takes nanoseconds, and such a time is over before the thread sleeps.
	if labtest.Waits() >= 0 && hasty > turns*9/10 && !l.HasRing() {
		l.Got("the thread waited %d times", turns-hasty)
		l.Fail(labtest.Failure{Symptom: labtest.PollEarly, Suspect: "timeout-rounded-down",
			Problem: fmt.Sprintf("Poll(%v) should wait when nothing happens, however short the time, but of %d only %d did", shortest, turns, turns-hasty)})
	}
}

// AClosedEngineDoesNotPoll: after Close, Poll returns ErrClosed at once.
func AClosedEngineDoesNotPoll(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused())
	l.Did("Close")
	l.Call("Close", func(e engine.Engine) { e.Close() })
	l.Did("Poll(1m)")
	l.SuspectNext(labtest.Rule{ID: "poll-after-close"})
	var err error
	l.Call("Poll, after Close,", func(e engine.Engine) { err = e.Poll(time.Minute) })
	if !errors.Is(err, engine.ErrClosed) {
		l.Got("%v", err)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "poll-after-close", Problem: fmt.Sprintf("Poll should return ErrClosed after Close, but returned %v", err)})
	}
}

// SignalsDoNotEndTheLoop: a signal that interrupts the wait is no error.
func SignalsDoNotEndTheLoop(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused())
	for sent := l.Interrupt(50); ; {
		l.Turn(20 * time.Millisecond)
		select {
		case <-sent:
			return
		default:
		}
	}
}

// SleepsWhileNothingHappens: an engine without clients uses no CPU.
func SleepsWhileNothingHappens(t *testing.T, newEngine Engine) {
	start(t, newEngine).WantIdle()
}
