package conformance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iolab/checker/labtest"
	"iolab/lessons/engine"
)

// WakeMakesPollReturn: from another goroutine, before the wait or during it, and
// more than once.
func WakeMakesPollReturn(t *testing.T, newEngine Engine, opts ...labtest.Option) {
	l := start(t, newEngine, append(opts, labtest.Paused())...)
	for range 3 {
		l.Did("Wake, from another goroutine, then Poll(1m)")
		go l.Engine().Wake()
		if took := l.TurnWithin(time.Minute); took > labtest.Patience {
			l.Fail(labtest.Failure{Symptom: labtest.WakeLost, Suspect: "wake-lost", Problem: "Wake should make Poll return, but it waited on"})
		}
	}
	l.Did("Wake after Close")
	l.Do(func(e engine.Engine) { e.Close() })
	l.Engine().Wake()
}

// PollWithoutLimitWaits: a negative timeout is no limit, not none; the longest there is
// does not overflow.
func PollWithoutLimitWaits(t *testing.T, newEngine Engine) {
	const lasting = 250 * time.Millisecond
	for _, c := range []struct {
		timeout     time.Duration
		name, cause string
	}{{-1, "Poll(-1)", "no-limit-taken-for-none"}, {math.MaxInt64, "Poll(math.MaxInt64)", "timeout-overflows"}} {
		l := start(t, newEngine, labtest.Paused()) // the first one's wake is not what is asked about
		l.Did("%s, again and again, until somebody calls Wake after %v", c.name, lasting)
		var over atomic.Bool
		time.AfterFunc(lasting, func() { over.Store(true); l.Engine().Wake() })
		turns := 0
		var err error
		l.Do(func(e engine.Engine) {
			for !over.Load() && err == nil {
				err = e.Poll(c.timeout)
				turns++
			}
		})
		switch {
		case err != nil:
			l.Got("%v", err)
			l.Fail(labtest.Failure{Symptom: labtest.PollEarly, Suspect: c.cause,
				Problem: fmt.Sprintf("%s should wait until something happens, but returned an error: %v", c.name, err)})
		case turns > 50: // a signal may end a wait too
			l.Got("%d turns", turns)
			l.Fail(labtest.Failure{Symptom: labtest.PollEarly, Suspect: c.cause,
				Problem: fmt.Sprintf("%s should wait until something happens, but in %v without anything it returned %d times", c.name, lasting, turns)})
		}
	}
}

// NoWakeIsLost: four goroutines leave a thousand pieces of work each and call Wake;
// the loop, which never waits for less than a minute, finds them all.
func NoWakeIsLost(t *testing.T, newEngine Engine) {
	const goroutines, pieces = 4, 1000
	l := start(t, newEngine, labtest.Paused())
	l.Did("%d goroutines: leave a piece of work, call Wake, %d times", goroutines, pieces)
	var left atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range pieces {
				left.Add(1)
				l.Engine().Wake()
			}
		})
	}
	for done := int64(0); done < goroutines*pieces; {
		if took := l.TurnWithin(time.Minute); took > labtest.Patience {
			l.Got("%d of %d pieces found", done, goroutines*pieces)
			l.Fail(labtest.Failure{Symptom: labtest.WakeLost, Suspect: "wake-lost",
				Problem: fmt.Sprintf("each Wake should make Poll return, but after %d of %d pieces of work it waited on", done, goroutines*pieces)})
		}
		done += left.Swap(0)
	}
	wg.Wait()
}

// WakesAreOne: a thousand wakes that come before the loop looks cost one turn.
func WakesAreOne(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused())
	const wakes = 1000
	l.Did("Wake, %d times, then Poll", wakes)
	for range wakes {
		l.Engine().Wake()
	}
	l.TurnWithin(time.Minute)
	l.Did("Poll(%v), %d times", pause, pauses)
	if waits := waitsOf(l); waits < pauses/2 {
		l.Got("%d of them waited", waits)
		for range 2 * wakes {
			l.Turn(0)
		}
		if waits := waitsOf(l); waits >= pauses/2 {
			l.Fail(labtest.Failure{Symptom: labtest.Busy, Suspect: "wakes-not-coalesced",
				Problem: fmt.Sprintf("%d wakes that came before the loop looked should make one Poll return, but most of the %d after it returned at once, though nobody called Wake", wakes, pauses)})
		}
	}
	l.SuspectNext(
		labtest.Rule{ID: "wakeup-not-cleared", For: []labtest.Symptom{labtest.Busy}, When: func(s *labtest.Scene) bool { return s.Ready == nil && s.Stats.Wakeups > 2*wakes }},
		labtest.Rule{ID: "wakes-not-coalesced", For: []labtest.Symptom{labtest.Busy}, When: func(s *labtest.Scene) bool { return s.Ready == nil }})
	l.WantIdle()
}

// ShutdownSendsWhatIsQueued: a client that reads late gets everything and the end of
// data; nobody can connect any more; Shutdown returns nil.
func ShutdownSendsWhatIsQueued(t *testing.T, newEngine Engine, opts ...labtest.Option) {
	answer := labtest.Pattern(8, 8<<20)
	var heirs labtest.Heirs
	l := start(t, newEngine, append(opts, labtest.WithConfig(engine.Config{HardLimit: 64 << 20}),
		labtest.WithHandler(service{
			data:  func(c engine.Conn, _ []byte) { c.Send(answer) },
			close: func(engine.Conn, error) { heirs.Take() },
		}))...)
	l.Did("in OnData the handler sends 8 MiB")
	idle, busy := l.Dial(), l.DialSmall()
	idle.WantOpen()
	busy.Send([]byte("go"))
	l.Eventually(labtest.Failure{Symptom: labtest.NoData, Client: busy, Problem: "the client's bytes should arrive, but do not"},
		func(engine.Engine) bool { return busy.Received() == 2 })
	addr := l.Addr()
	heirs.Open(l)
	ctx, cancel := context.WithTimeout(context.Background(), 20*labtest.Patience)
	defer cancel()
	done := l.Shutdown(ctx)
	l.Did("connect while it shuts down")
	l.UntilRefused(addr)
	unfinished := func(s *labtest.Scene) bool { return s.ShutdownErr == nil }
	busy.Suspect(labtest.Rule{ID: "shutdown-drops-queue", For: []labtest.Symptom{labtest.EarlyEOF, labtest.EarlyReset}, When: unfinished})
	busy.Want(answer)
	busy.WantEOF()
	busy.Close()
	idle.Suspect(labtest.Rule{ID: "shutdown-drops-queue", For: []labtest.Symptom{labtest.EarlyReset}, When: unfinished})
	idle.WantEOF()
	idle.Suspect(labtest.Rule{ID: "shutdown-does-not-wait", For: []labtest.Symptom{labtest.EarlyReset}})
	for range 3 { // the first would be answered by a reset, which the others meet
		idle.Send([]byte("I was not done"))
		idle.WaitDelivered()
	}
	idle.Close()
	if err := l.WantDone(done, labtest.Patience); err != nil {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Shutdown should return nil when every connection has ended in order, but returned %q", err)})
	}
	if n := idle.Received(); n > 0 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: idle, Suspect: "shutdown-serves-on",
			Problem: fmt.Sprintf("what comes in after Shutdown has begun should be discarded, but OnData got %d bytes", n)})
	}
	unharmed(l, &heirs, "used-after-close", "Shutdown")
	var poll error
	l.Do(func(e engine.Engine) { poll = e.Poll(0) })
	if !errors.Is(poll, engine.ErrClosed) {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "poll-after-close", Problem: fmt.Sprintf("after Shutdown the engine should be closed and Poll return ErrClosed, but it returned %v", poll)})
	}
}

// ShutdownDiscardsFromPausedClients: a client that is not read from, because it does not
// read, gets its chance: what it still sends is discarded, so that it can come to the
// end and read.
func ShutdownDiscardsFromPausedClients(t *testing.T, newEngine Engine, opts ...labtest.Option) {
	l := start(t, newEngine, append(opts, labtest.WithConfig(engine.Config{HighWater: 64 << 10}))...)
	c := l.DialSmall()
	c.SendInBackground(labtest.Pattern(9, 48<<20))
	c.WaitStalled()
	ctx, cancel := context.WithTimeout(context.Background(), 20*labtest.Patience)
	defer cancel()
	done := l.Shutdown(ctx)
	c.Suspect(labtest.Rule{ID: "shutdown-leaves-paused", For: []labtest.Symptom{labtest.SendStalls}})
	l.Did("%s still does not read, and can send all it has", c.Name)
	c.WaitSent()
	c.WantGone()
	c.Close()
	if err := l.WantDone(done, labtest.Patience); err != nil {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Shutdown should return nil when every connection has ended in order, but returned %q", err)})
	}
}

// ShutdownKeepsItsDeadline: a client that never reads does not hold it up for ever.
func ShutdownKeepsItsDeadline(t *testing.T, newEngine Engine, opts ...labtest.Option) {
	answer := labtest.Pattern(8, 16<<20)
	l := start(t, newEngine, append(opts, labtest.WithConfig(engine.Config{HardLimit: 64 << 20}),
		labtest.WithHandler(service{open: func(c engine.Conn) { c.Send(answer) }}))...)
	l.Did("in OnOpen the handler sends 16 MiB")
	c := l.DialSmall()
	c.WantOpen()
	const grace = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	l.SuspectNext(labtest.Rule{ID: "shutdown-ignores-deadline", For: []labtest.Symptom{labtest.ShutdownHangs}})
	err := l.WantDone(l.Shutdown(ctx), grace)
	if !errors.Is(err, context.DeadlineExceeded) {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Shutdown should return its context's error when time is over, but returned %v", err)})
	}
	if err := c.WantClosed(); !errors.Is(err, engine.ErrShutdown) {
		l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: c, Problem: fmt.Sprintf("a connection that Shutdown had to cut should get ErrShutdown, but got %v", err)})
	}
}

// CloseEndsEverything: Close in the middle of traffic ends each connection with
// ErrClosed, and after it the engine touches no descriptor any more: the numbers are
// somebody else's by then.
func CloseEndsEverything(t *testing.T, newEngine Engine, opts ...labtest.Option) {
	var heirs labtest.Heirs
	l := start(t, newEngine, append(opts, labtest.WithHandler(service{
		data:  func(c engine.Conn, data []byte) { c.Send(data) },
		close: func(engine.Conn, error) { heirs.Take() },
	}))...)
	clients := l.DialMany(20)
	l.WantCount(20)
	conn := clients[0].WantOpen()
	heirs.Open(l)
	for i, c := range clients {
		c.SendInBackground(labtest.Pattern(i, 1<<20))
	}
	clients[0].WaitMoving(1000)
	l.Did("Close, in the middle of it")
	l.Pause()
	l.Do(func(e engine.Engine) { e.Close() })
	for _, c := range clients {
		if err := c.WantClosed(); err == nil {
			l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: c, Problem: "OnClose should get ErrClosed for a connection that Close has cut, but got nil"})
		}
		c.WantGone()
	}
	unharmed(l, &heirs, "used-after-close", "Close")
	l.Did("others open files, which get the numbers that have come free; then Wake")
	heirs.Take()
	l.Engine().Wake()
	unharmed(l, &heirs, "wake-after-close", "Wake, after Close,")
	l.Did("Poll(0), Close and Shutdown once more")
	var shutdown error
	l.Do(func(e engine.Engine) { e.Poll(0); e.Close(); shutdown = e.Shutdown(context.Background()) })
	unharmed(l, &heirs, "used-after-close", "Poll, Close and Shutdown, after Close,")
	if !errors.Is(shutdown, engine.ErrClosed) {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Shutdown after Close should return ErrClosed, but returned %v", shutdown)})
	}
	if len(opts) > 0 {
		return // the connection may be another goroutine's
	}
	l.Did("Send, CloseWrite and Close of a connection that it had")
	l.Do(func(engine.Engine) { conn.Send([]byte("too late")); conn.CloseWrite(); conn.Close() })
	unharmed(l, &heirs, "used-after-close", "a connection's Send, CloseWrite and Close, after the engine's Close,")
}

// unharmed ends the test if something was done to heirs, and says that what did it.
func unharmed(l *labtest.Lab, heirs *labtest.Heirs, cause, what string) {
	if harm := heirs.Harm(); harm != "" {
		l.Got("%s", harm)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: cause,
			Problem: fmt.Sprintf("%s should leave descriptors alone that are closed, since their numbers are given out again, but %s", what, harm)})
	}
}
