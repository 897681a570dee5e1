//go:build linux

package epollet

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

//lint:file-ignore U1000 most of it waits for its step

// What step 9 needs and the skeleton does not use yet. It goes when you are done.
var _ = []any{errors.Join, runtime.LockOSThread, sock.ListenShared}

// Loops is an engine made of several, each with a thread, an epoll instance and a
// listener of its own. All listen on one port, and the kernel deals new connections
// out among them (SO_REUSEPORT). A connection stays with the loop that accepted it.
//
// From outside it is one [engine.Engine], with two differences: it runs by itself
// from [NewLoops] on, so that Poll only waits; and the handler is called on the
// loops' goroutines, for connections of different loops at the same time.
type Loops struct {
	loops  []*loop
	port   port
	wake   chan struct{} // has one when Wake was called and Poll has not seen it
	failed chan error    // what a loop ended with
	closed chan struct{}
	once   sync.Once // closes closed
}

type loop struct {
	*Engine
	ended chan struct{} // closed when its goroutine has ended

	mailMu sync.Mutex
	mail   []func() // to be run between two turns
}

// NewLoops returns n loops that listen as cfg says, and starts them.
// Config.MaxConnections counts the connections of all. The handler must allow for
// being called by all at once.
//
// TODO step 9: n times newEngine with sock.ListenShared and &l.port, all on the port that the first
// one got; then their goroutines. If one fails, close those before it.
func NewLoops(n int, cfg engine.Config, handler engine.Handler) (*Loops, error) {
	panic(engine.NotImplemented("03.9", "NewLoops"))
}

// run is a loop's goroutine.
//
// TODO step 9: with a thread of its own: what is in the mail, then Poll(-1), until that says
// ErrClosed, or fails.
func (lp *loop) run(failed chan<- error) {
	panic(engine.NotImplemented("03.9", "loop.run"))
}

// do runs f on the loop's goroutine, between two turns, and waits for it.
//
// TODO step 9: put f into the mail, wake the loop, and wait until f has run. What if the loop has
// ended before it looked?
func (lp *loop) do(f func(e *Engine)) {
	panic(engine.NotImplemented("03.9", "loop.do"))
}

// all runs f on every loop, and waits until all are done.
func (l *Loops) all(f func(i int, e *Engine)) {
	var wg sync.WaitGroup
	for i, lp := range l.loops {
		wg.Go(func() { lp.do(func(e *Engine) { f(i, e) }) })
	}
	wg.Wait()
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
//
// TODO step 9: wait for timeout (not at all, or without limit), closed, failed or wake.
func (l *Loops) Poll(timeout time.Duration) error {
	panic(engine.NotImplemented("03.9", "Loops.Poll"))
}

// ConnectionCount implements [engine.Engine]; it may be called on any goroutine.
func (l *Loops) ConnectionCount() int { return int(l.port.connections.Load()) }

// Stats implements [engine.Engine]: the sum over all loops, of LongestTurn the
// longest. Any goroutine but a loop's own may call it; while Shutdown runs, it waits for
// the end of that.
//
// TODO step 9: every loop's, by all, added up.
func (l *Loops) Stats() engine.Stats {
	panic(engine.NotImplemented("03.9", "Loops.Stats"))
}

// Shutdown implements [engine.Engine].
//
// TODO step 9: all loops at once, then finish.
func (l *Loops) Shutdown(ctx context.Context) error {
	panic(engine.NotImplemented("03.9", "Loops.Shutdown"))
}

// Close implements [engine.Engine].
//
// TODO step 9: all loops, then finish.
func (l *Loops) Close() error {
	panic(engine.NotImplemented("03.9", "Loops.Close"))
}

// finish waits for the goroutines of loops that are closed.
func (l *Loops) finish() {
	l.once.Do(func() { close(l.closed) })
	for _, lp := range l.loops {
		<-lp.ended
	}
}
