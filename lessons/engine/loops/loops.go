// Package loops makes one engine of several that listen on one port, each on a thread of
// its own: what the last step of lesson 03 builds, for the engines that come after it.
package loops

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"iolab/lessons/engine"
)

// Loops is an engine made of several, which run by themselves from [New] on. From outside
// it is one [engine.Engine], with two differences: Poll only waits; and the handler is
// called on the loops' goroutines, for connections of different loops at the same time.
type Loops struct {
	loops  []*loop
	port   Port
	wake   chan struct{} // has one when Wake was called and Poll has not seen it
	failed chan error    // what a loop ended with
	closed chan struct{}
	once   sync.Once // closes closed
}

// Port is what the engines that listen on one port have in common. Any goroutine may use
// it.
type Port struct {
	Connections atomic.Int64  // of all of them
	LastID      atomic.Uint64 // the newest connection's, of whichever engine it is
}

type loop struct {
	engine.Engine
	ended chan struct{} // closed when its goroutine has ended

	mailMu sync.Mutex
	mail   []func() // to be run between two turns
}

// New calls newEngine n times, and starts the engines that it returns. They have to listen
// on a port that several may listen on (on Linux SO_REUSEPORT, see sock.ListenShared): the
// first gets cfg, the others the same with the first one's address. What each is given for
// its port is the same for all: Config.MaxConnections counts the connections of all. The
// handler must allow for being called by all at once.
func New(n int, cfg engine.Config, newEngine func(engine.Config, *Port) (engine.Engine, error)) (*Loops, error) {
	l := &Loops{wake: make(chan struct{}, 1), failed: make(chan error, n), closed: make(chan struct{})}
	for range n {
		e, err := newEngine(cfg, &l.port)
		if err != nil {
			for _, lp := range l.loops {
				lp.Engine.Close()
			}
			return nil, err
		}
		cfg.Addr = e.Addr().String() // with the port that the kernel chose for the first
		l.loops = append(l.loops, &loop{Engine: e, ended: make(chan struct{})})
	}
	for _, lp := range l.loops {
		go lp.run(l.failed)
	}
	return l, nil
}

// run is a loop's goroutine.
func (lp *loop) run(failed chan<- error) {
	// A thread of its own: the kernel schedules it, not Go's scheduler, and what it
	// has in a processor's caches stays there.
	runtime.LockOSThread()
	defer close(lp.ended)
	for {
		lp.mailMu.Lock()
		mail := lp.mail
		lp.mail = nil
		lp.mailMu.Unlock()
		for _, f := range mail {
			f()
		}
		switch err := lp.Poll(-1); {
		case errors.Is(err, engine.ErrClosed):
			return
		case err != nil:
			lp.Engine.Close() // here: it may be this thread's alone
			failed <- err
			return
		}
	}
}

// do runs f on the loop's goroutine, between two turns, and waits for it.
func (lp *loop) do(f func(e engine.Engine)) {
	done := make(chan struct{})
	lp.mailMu.Lock()
	lp.mail = append(lp.mail, func() { defer close(done); f(lp.Engine) })
	lp.mailMu.Unlock()
	lp.Wake()
	select {
	case <-done:
	case <-lp.ended:
		select {
		case <-done:
		default:
			f(lp.Engine) // it is closed, and nobody's now
		}
	}
}

// all runs f on every loop, and waits until all are done.
func (l *Loops) all(f func(i int, e engine.Engine)) {
	var wg sync.WaitGroup
	for i, lp := range l.loops {
		wg.Go(func() { lp.do(func(e engine.Engine) { f(i, e) }) })
	}
	wg.Wait()
}

// String says what the engines are built on, if they say it.
func (l *Loops) String() string {
	if s, ok := l.loops[0].Engine.(fmt.Stringer); ok {
		return s.String()
	}
	return ""
}

// Addr implements [engine.Engine].
func (l *Loops) Addr() netip.AddrPort { return l.loops[0].Addr() }

// Wake implements [engine.Engine].
func (l *Loops) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Poll implements [engine.Engine]. The loops run by themselves: it waits for timeout,
// for Wake, or for the error of a loop that could not go on.
func (l *Loops) Poll(timeout time.Duration) error {
	var expired <-chan time.Time
	if timeout >= 0 {
		expired = time.After(timeout)
	}
	select {
	case <-l.closed:
		return engine.ErrClosed
	default:
	}
	select {
	case <-l.closed:
		return engine.ErrClosed
	case err := <-l.failed:
		return err
	case <-l.wake:
	case <-expired:
	}
	return nil
}

// ConnectionCount implements [engine.Engine]; it may be called on any goroutine.
func (l *Loops) ConnectionCount() int { return int(l.port.Connections.Load()) }

// Stats implements [engine.Engine]: the sum over all loops, of LongestTurn the
// longest. Any goroutine but a loop's own may call it; while Shutdown runs, it waits for
// the end of that.
func (l *Loops) Stats() engine.Stats {
	each := make([]engine.Stats, len(l.loops))
	l.all(func(i int, e engine.Engine) { each[i] = e.Stats() })
	var sum engine.Stats
	for _, s := range each {
		sum.Add(s)
	}
	return sum
}

// Shutdown implements [engine.Engine].
func (l *Loops) Shutdown(ctx context.Context) error {
	errs := make([]error, len(l.loops))
	l.all(func(i int, e engine.Engine) { errs[i] = e.Shutdown(ctx) })
	l.finish()
	return errors.Join(errs...)
}

// Close implements [engine.Engine].
func (l *Loops) Close() error {
	errs := make([]error, len(l.loops))
	l.all(func(i int, e engine.Engine) { errs[i] = e.Close() })
	l.finish()
	return errors.Join(errs...)
}

// finish waits for the goroutines of loops that are closed.
func (l *Loops) finish() {
	l.once.Do(func() { close(l.closed) })
	for _, lp := range l.loops {
		<-lp.ended
	}
}
