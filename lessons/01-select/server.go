// Package selectloop is lesson 01: a TCP engine on select(2).
//
// Each turn hands the kernel two sets of descriptors, the whole interest of the
// server, and gets them back with only the ready ones left in. Everything that is
// wrong with select follows from that: the sets have a fixed size, and both sides
// go through them from end to end, however little is going on.
package selectloop

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"iolab/lessons/01-select/sys"
	"iolab/lessons/engine"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{fmt.Errorf, os.NewSyscallError, slices.DeleteFunc[[]*conn], retry, include}

const (
	acceptBudget = 128                    // connections accepted in one turn
	acceptRetry  = 100 * time.Millisecond // how long accepting pauses when descriptors run out
)

// Engine is a TCP engine on select. See [engine.Engine].
type Engine struct {
	cfg     engine.Config
	handler engine.Handler
	addr    netip.AddrPort

	listener int       // -1 after Shutdown has begun
	reads    sys.FdSet // who is to be read: select gets a copy
	writes   sys.FdSet // who has something queued
	buf      []byte    // what one read takes: the read budget

	conns   []*conn
	closing []*conn // closed, and not yet given to OnClose
	lastID  uint64

	draining bool // Shutdown has begun
	closed   bool
	parked   time.Time // when accepting goes on; zero while it is on
	sweepAt  time.Time // when idle connections are looked for next
	now      time.Time // when this turn's wait returned
	stats    engine.Stats

	wakeMu sync.Mutex // guards wakeW and woken
	wakeR  int        // readable when somebody has called Wake
	wakeW  int        // -1 after Close
	woken  bool       // written to and not yet seen by the loop
}

type conn struct {
	engine.Identity
	e      *Engine
	fd     int
	queue  engine.Queue
	active time.Time // when a byte last moved

	paused bool  // not read from until the queue has drained
	eof    bool  // the peer has ended its output
	finish bool  // CloseWrite was called
	closed bool  // in e.closing, or gone
	err    error // for OnClose
}

// New returns an engine that listens as cfg says.
func New(cfg engine.Config, handler engine.Handler) (*Engine, error) {
	cfg = cfg.WithDefaults()
	addr, err := cfg.ListenAddr()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: cfg, handler: handler,
		listener: -1, wakeR: -1, wakeW: -1,
		buf: make([]byte, cfg.ReadBudget),
	}
	if err := e.setup(addr); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) setup(addr netip.AddrPort) (err error) {
	if e.wakeR, e.wakeW, err = sys.WakePair(); err != nil {
		return fmt.Errorf("wake pair: %w", err)
	}
	if err = e.listen(addr); err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	for _, fd := range []int{e.wakeR, e.listener} {
		if !sys.Fits(fd, 1) {
			return fmt.Errorf("descriptor %d does not fit into an fd_set of %d: the process has too many open", fd, sys.FD_SETSIZE)
		}
		e.reads.Set(fd)
	}
	return nil
}

// TODO step 1: socket, non-blocking, SO_REUSEADDR, bind, listen, getsockname. Say which call
// failed.
func (e *Engine) listen(addr netip.AddrPort) (err error) {
	panic(engine.NotImplemented("01.1", "Engine.listen"))
}

// Addr implements [engine.Engine].
func (e *Engine) Addr() netip.AddrPort { return e.addr }

// ConnectionCount implements [engine.Engine].
func (e *Engine) ConnectionCount() int { return e.stats.Connections }

// Stats implements [engine.Engine].
func (e *Engine) Stats() engine.Stats { return e.stats }

// Poll implements [engine.Engine].
//
// TODO step 2: ErrClosed after Close. Select on copies of the two sets, for e.wait(timeout), then
// dispatch, sweep, reap and unpark. A signal (EINTR) is a turn in which nothing was ready. Count the call, the wakeup and, at the
// end, the turn.
func (e *Engine) Poll(timeout time.Duration) error {
	panic(engine.NotImplemented("01.2", "Engine.Poll"))
}

// wait is how long Poll may wait: timeout, or less if there is something to do
// before then.
func (e *Engine) wait(timeout time.Duration) time.Duration {
	if len(e.closing) > 0 {
		return 0 // closed between two turns, and owed an OnClose
	}
	for _, alarm := range [...]time.Time{e.parked, e.sweepAt} {
		if alarm.IsZero() {
			continue
		}
		if d := max(time.Until(alarm), 0); timeout < 0 || d < timeout {
			timeout = d
		}
	}
	return timeout
}

// timeval is d as select wants it, nil for no limit, and rounded up: a wait of half
// a microsecond rounded down to none would be a busy loop.
//
// TODO step 2: negative is no limit; round up to microseconds.
func timeval(d time.Duration) *sys.Timeval {
	panic(engine.NotImplemented("01.2", "timeval"))
}

// nfds is the highest descriptor in the sets, plus one: how far the kernel looks.
//
// TODO step 2: the highest of all descriptors that may be in the sets, plus one.
func (e *Engine) nfds() int {
	panic(engine.NotImplemented("01.2", "Engine.nfds"))
}

// dispatch serves what select found ready.
//
// TODO step 3: for everything that is in the returned sets: clear the wake, read, flush, accept.
func (e *Engine) dispatch(reads, writes *sys.FdSet) {
	panic(engine.NotImplemented("01.3", "Engine.dispatch"))
}

// accept takes what waits in the accept queue, within a budget; select reports the
// listener again if there is more.
//
// TODO step 3: accept until EAGAIN, at most acceptBudget times. Out of descriptors (EMFILE,
// ENFILE, ENOBUFS, ENOMEM): park. Other errors are about one client, not about the listener.
func (e *Engine) accept() {
	panic(engine.NotImplemented("01.3", "Engine.accept"))
}

// TODO step 3: refuse (close, and count) what is too many or does not fit into an fd_set; else
// set TCP_NODELAY, make the conn, note it, put it into the read set, and tell the handler.
func (e *Engine) open(fd int, peer netip.AddrPort) {
	panic(engine.NotImplemented("01.3", "Engine.open"))
}

// TODO step 4: one read into e.buf. Data goes to OnData (not while draining), 0 bytes are the end
// of data (note it, then update), EAGAIN is nothing, and any other error ends this
// connection alone. Keep the counters and c.active up to date.
func (e *Engine) read(c *conn) {
	panic(engine.NotImplemented("01.4", "Engine.read"))
}

// flush sends what is queued, as far as the kernel takes it.
//
// TODO step 5: write the queue, drop what the kernel took, and send the FIN that a CloseWrite
// has left for the end.
func (e *Engine) flush(c *conn) {
	panic(engine.NotImplemented("01.5", "Engine.flush"))
}

// Queued implements [engine.Conn].
func (c *conn) Queued() int { return c.queue.Len() }

// Send implements [engine.Conn].
//
// TODO step 5: refuse what may not be sent, then write at once if nothing is queued before it,
// and queue what the kernel does not take.
func (c *conn) Send(p []byte) error {
	panic(engine.NotImplemented("01.5", "Conn.Send"))
}

// write gives p to the kernel and returns how much it took. A connection that
// cannot be written to is ended.
//
// TODO step 5: one write. EAGAIN means that the kernel took nothing; any other error ends the
// connection and is returned. Keep the counters and c.active up to date.
func (c *conn) write(p []byte) (int, error) {
	panic(engine.NotImplemented("01.5", "Conn.write"))
}

// update makes the sets say what c waits for now. A descriptor that stays among the
// writers with nothing queued is ready at once, each time: a busy loop.
//
// TODO step 5: the first lines are step 4's: an end of data with nothing left to send ends the
// connection. Then throttle, and put the descriptor into the sets, or take it out, as c
// stands now.
func (c *conn) update() {
	if c.eof && c.queue.Len() == 0 {
		c.end(nil)
		return
	}
	panic(engine.NotImplemented("01.5", "Conn.update"))

}

func include(set *sys.FdSet, fd int, in bool) {
	if in {
		set.Set(fd)
	} else {
		set.Clear(fd)
	}
}

// throttle stops reading from a peer that does not read what it is sent, and goes
// on when the queue has drained. Two marks, so that it does not flip at each write.
//
// TODO step 7: keep c.paused: it goes on above the high-water mark and off at the low one.
func (c *conn) throttle() {
	if c.queue.Len() > c.e.cfg.HighWater {
		panic(engine.NotImplemented("01.7", "Conn.throttle"))
	}

}

// CloseWrite implements [engine.Conn].
//
// TODO step 6: note it, and send the FIN: now, or from flush when the queue is empty.
func (c *conn) CloseWrite() error {
	panic(engine.NotImplemented("01.6", "Conn.CloseWrite"))
}

// TODO step 6: shutdown(2) of the writing side.
func (c *conn) sendFIN() {
	panic(engine.NotImplemented("01.6", "Conn.sendFIN"))
}

// Close implements [engine.Conn].
//
// TODO step 6: end it, without an error.
func (c *conn) Close() error {
	panic(engine.NotImplemented("01.6", "Conn.Close"))
}

// end marks c closed; reap does the rest when no callback is running. Until then
// its descriptor stays open, so that the kernel cannot give the number to another
// connection while this turn's sets are still being looked at.
//
// TODO step 4: mark the connection and remember err. Once: whoever comes second changes nothing.
func (c *conn) end(err error) {
	panic(engine.NotImplemented("01.4", "Conn.end"))
}

// reap closes the descriptors of ended connections and makes their last callback.
//
// TODO step 4: for each connection in e.closing, in order: out of the kernel's sight, close its
// descriptor, lower the count, OnClose with its error. OnClose may end others, which
// then stand at the end of the same list.
func (e *Engine) reap() {
	if len(e.closing) > 0 {
		panic(engine.NotImplemented("01.4", "Engine.reap"))
	}

}

// park stops accepting: there are no descriptors left, or every accept fails, and a
// listener that stays readable would turn the loop into a busy one. Clients wait in the
// accept queue.
//
// TODO step 8: stop being told of the listener, count it in Stats.Parked, and set the time at
// which to try again.
func (e *Engine) park() {
	panic(engine.NotImplemented("01.8", "Engine.park"))
}

// unpark accepts again when a connection has closed, or after acceptRetry:
// descriptors come free elsewhere in the process too.
//
// TODO step 8: when that time has come, be told of the listener again.
func (e *Engine) unpark() {
	if !e.parked.IsZero() {
		panic(engine.NotImplemented("01.8", "Engine.unpark"))
	}

}

// sweep ends connections on which nothing has moved for the idle timeout.
//
// TODO step 8: a few times in an idle timeout, end every connection that has been quiet for
// longer. e.sweepAt is when the next look is due; Poll's wait ends by then.
func (e *Engine) sweep() {
	if e.cfg.IdleTimeout > 0 {
		panic(engine.NotImplemented("01.8", "Engine.sweep"))
	}

}

// Wake implements [engine.Engine].
//
// TODO step 9: make the wake descriptor readable, unless a wake is on its way already. It may be
// called from any goroutine, also after Close.
func (e *Engine) Wake() {
	panic(engine.NotImplemented("01.9", "Engine.Wake"))
}

// clearWake takes the byte out again. Nothing is lost: whoever calls Wake from here
// on finds woken false, or has Poll about to return.
//
// TODO step 9: make it unreadable again, then allow the next wake. In this order: think of a
// Wake that comes in between.
func (e *Engine) clearWake() {
	panic(engine.NotImplemented("01.9", "Engine.clearWake"))
}

// retry repeats a read or a write that a signal has interrupted.
func retry(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		if n, err := call(fd, p); err != sys.EINTR {
			return max(n, 0), err
		}
	}
}

// Shutdown implements [engine.Engine].
//
// TODO step 9: stop listening, end every connection's output, and poll until all are gone or ctx
// is done (which has to wake a Poll that waits).
func (e *Engine) Shutdown(ctx context.Context) error {
	panic(engine.NotImplemented("01.9", "Engine.Shutdown"))
}

// Close implements [engine.Engine].
func (e *Engine) Close() error {
	e.closeAll(engine.ErrClosed)
	return nil
}

// closeAll ends every connection with err and frees all that the engine holds.
//
// TODO step 1: once: end every connection with err, reap, and close what setup opened.
func (e *Engine) closeAll(err error) {
	panic(engine.NotImplemented("01.1", "Engine.closeAll"))
}
