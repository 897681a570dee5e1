package conformance

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iolab/checker/labtest"
	"iolab/lessons/engine"
)

// These are about an engine of several loops, which runs by itself. The statements
// that need no pause are the same as for one loop.

// startLoops is start, for an engine of several loops.
func startLoops(t *testing.T, newEngine Engine, opts ...labtest.Option) *labtest.Lab {
	t.Helper()
	return labtest.Start(t, newEngine, append(opts, labtest.SeveralLoops())...)
}

// SeveralLoopsServe: what goes in comes out, count and Stats are those of all loops,
// late readers and half-closes are treated as ever, and nothing is left behind.
func SeveralLoopsServe(t *testing.T, newEngine Engine) {
	l := startLoops(t, newEngine, labtest.WithConfig(engine.Config{HighWater: 64 << 20}))
	clients := l.DialMany(100)
	l.WantCount(100)
	for i, c := range clients {
		c.EchoQuietly(labtest.Pattern(i, 1000))
	}
	if s := l.Stats(); s.Accepts != 100 || s.BytesIn != 100_000 || s.BytesOut != 100_000 || s.Connections != 100 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "stats-of-one-loop",
			Problem: fmt.Sprintf("Stats should be the sum over all loops (100 connections, 100 accepts, 100000 bytes in and out), but show %d, %d, %d and %d", s.Connections, s.Accepts, s.BytesIn, s.BytesOut)})
	}
	c := l.DialSmall()
	data := labtest.Pattern(3, 8<<20)
	c.SendInBackground(data)
	c.CloseWriteWhenSent()
	c.WaitStalled()
	c.Want(data)
	c.WantEOF()
	c.WantClosed()
	l.CloseAll(clients)
	l.WantCount(0)
	l.WantDescriptorsBack()
	l.WantIdle()
}

// SeveralLoopsShareTheWork: of many clients some are served while one client's handler
// blocks its loop. (With one loop none would be.)
func SeveralLoopsShareTheWork(t *testing.T, newEngine Engine) {
	release := make(chan struct{})
	var blocked atomic.Bool
	once := sync.OnceFunc(func() { close(release) })
	defer once()
	l := startLoops(t, newEngine, labtest.WithHandler(service{data: func(c engine.Conn, data []byte) {
		if string(data) == "block" {
			blocked.Store(true)
			<-release
		}
		c.Send(data)
	}}))
	clients := l.DialMany(64) // all in one loop's hands once in 2^63 runs
	l.WantCount(64)
	clients[0].Send([]byte("block"))
	l.Eventually(labtest.Failure{Symptom: labtest.NoData, Client: clients[0], Problem: "the client's bytes should arrive, but do not"},
		func(engine.Engine) bool { return blocked.Load() })
	l.Did("its handler blocks; the other 63 send a byte")
	for _, c := range clients[1:] {
		c.SendQuietly([]byte("x"))
		c.WaitDelivered()
	}
	answered := func() (n int) {
		for _, c := range clients[1:] {
			n += int(c.Received())
		}
		return n
	}
	l.Eventually(labtest.Failure{Symptom: labtest.Unfair, Suspect: "one-loop-does-all",
		Problem: "while one loop is blocked the others should serve their clients, but nobody is served"},
		func(engine.Engine) bool { return answered() > 0 })
	once()
	l.Eventually(labtest.Failure{Symptom: labtest.NoData, Problem: "when the handler has returned all should be served, but are not"},
		func(engine.Engine) bool { return answered() == 63 })
}

// SeveralLoopsKeepMaxConnections: the limit is that of all loops together.
func SeveralLoopsKeepMaxConnections(t *testing.T, newEngine Engine) {
	l := startLoops(t, newEngine, labtest.WithConfig(engine.Config{MaxConnections: 10}))
	clients := l.DialMany(40)
	served := 0
	for _, c := range clients {
		if c.EchoOrGone([]byte("x")) {
			served++
		}
	}
	l.Did("%d of 40 clients were served", served)
	if served != 10 {
		l.Fail(labtest.Failure{Symptom: labtest.CountHigh, Suspect: "max-connections-per-loop",
			Problem: fmt.Sprintf("MaxConnections (10) should hold for all loops together, but %d clients were served", served)})
	}
}

// SeveralLoopsKeepTheirThreads: a loop's callbacks run on one thread, also when a handler
// has been waiting and other goroutines want the processor.
func SeveralLoopsKeepTheirThreads(t *testing.T, newEngine Engine) {
	var moved atomic.Int64
	l := startLoops(t, newEngine, labtest.WithHandler(service{data: func(c engine.Conn, data []byte) {
		thread := labtest.Thread()
		for range 20 {
			time.Sleep(100 * time.Microsecond)
			if labtest.Thread() != thread {
				moved.Add(1)
			}
		}
		c.Send(data)
	}}))
	clients := l.DialMany(8)
	l.Did("a handler sleeps a little, twenty times for each of 400 messages, while other goroutines are busy")
	for range 2 {
		stop := l.InBackground(func(done <-chan struct{}) {
			for {
				select {
				case <-done:
					return
				default:
					runtime.Gosched()
				}
			}
		})
		defer stop()
	}
	for range 50 {
		for _, c := range clients {
			c.SendQuietly([]byte("x"))
		}
		for _, c := range clients {
			c.WantQuietly([]byte("x"))
		}
	}
	if n := moved.Load(); n > 0 {
		l.Got("it woke up on another thread %d times", n)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "loop-without-a-thread",
			Problem: "a loop should have a thread of its own, but its handler woke up on another than it went to sleep on"})
	}
}

// StatsFromAnywhere: many goroutines ask for Stats while clients are served. What they
// find is no more than there is; a data race is for the race detector to find.
func StatsFromAnywhere(t *testing.T, newEngine Engine) {
	l := startLoops(t, newEngine)
	clients := l.DialMany(10)
	l.WantCount(10)
	l.Did("16 goroutines call Stats and ConnectionCount, 100 times each, while 10 clients are served")
	var wrong atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 100 {
				if s := l.Engine().Stats(); s.Connections != 10 || l.Engine().ConnectionCount() != 10 {
					wrong.Add(1)
				}
			}
		})
	}
	for i := range 20 {
		for _, c := range clients {
			c.EchoQuietly(labtest.Pattern(i, 100))
		}
	}
	wg.Wait()
	if n := wrong.Load(); n > 0 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "wrong-stats",
			Problem: fmt.Sprintf("Stats and ConnectionCount should show the 10 connections to any goroutine, but %d times did not", n)})
	}
}
