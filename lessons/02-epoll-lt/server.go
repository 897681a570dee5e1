//go:build linux

// Package epolllt is lesson 02: a TCP engine on level-triggered epoll(7).
//
// The kernel keeps the interest list; each turn gets back only what is ready.
// Level-triggered means that epoll_wait reports a state, not a change: what is
// not read now is reported again, so one read a turn is enough, and what is of no
// interest must be taken out of the list or it will be reported for ever.
package epolllt

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{fmt.Errorf, os.NewSyscallError, math.MaxInt32, unix.EpollWait, sock.Read, readable | writable, acceptBudget + acceptRetry}

// EPOLLRDHUP goes with EPOLLIN: level-triggered, it would be reported for ever to
// a connection that does not read.
const (
	readable = unix.EPOLLIN | unix.EPOLLRDHUP
	writable = unix.EPOLLOUT
)

const (
	acceptBudget = 128                    // connections accepted in one turn
	acceptRetry  = 100 * time.Millisecond // how long accepting pauses when descriptors run out
	minEvents    = 64
	maxEvents    = 4096
)

// Engine is a TCP engine on level-triggered epoll. See [engine.Engine].
type Engine struct {
	cfg     engine.Config
	handler engine.Handler
	addr    netip.AddrPort

	epfd     int
	listener int // -1 after Shutdown has begun
	events   []unix.EpollEvent
	buf      []byte // what one read takes: the read budget

	conns   []*conn // by descriptor, nil where there is none
	closing []*conn // closed, and not yet given to OnClose
	lastID  uint64

	draining bool // Shutdown has begun
	closed   bool
	parked   time.Time // when accepting goes on; zero while it is on
	sweepAt  time.Time // when idle connections are looked for next
	now      time.Time // when this turn's wait returned
	stats    engine.Stats

	wakeMu sync.Mutex // guards wakefd and woken
	wakefd int        // an eventfd, -1 after Close
	woken  bool       // written to and not yet seen by the loop
}

type conn struct {
	engine.Identity
	e        *Engine
	fd       int
	interest uint32 // the events that epoll watches
	queue    engine.Queue
	active   time.Time // when a byte last moved

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
		epfd: -1, listener: -1, wakefd: -1,
		events: make([]unix.EpollEvent, minEvents),
		buf:    make([]byte, cfg.ReadBudget),
	}
	if err := e.setup(addr); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// TODO step 1: epoll_create1, an eventfd for Wake, sock.Listen; then both descriptors into the
// interest list. What is opened is kept in e at once, so that Close finds it.
func (e *Engine) setup(addr netip.AddrPort) (err error) {
	panic(engine.NotImplemented("02.1", "Engine.setup"))
}

// ctl changes the interest list. The event's data is the descriptor and a
// generation: a descriptor alone may by then be another connection's.
//
// TODO step 1: epoll_ctl with fd and generation in the event's data. Count the call.
func (e *Engine) ctl(op, fd int, events uint32, generation int32) error {
	panic(engine.NotImplemented("02.1", "Engine.ctl"))
}

// Addr implements [engine.Engine].
func (e *Engine) Addr() netip.AddrPort { return e.addr }

// ConnectionCount implements [engine.Engine].
func (e *Engine) ConnectionCount() int { return e.stats.Connections }

// Stats implements [engine.Engine].
func (e *Engine) Stats() engine.Stats { return e.stats }

// Poll implements [engine.Engine].
//
// TODO step 2: epoll_wait, then accept, clearWake or dispatch for each event, then sweep, reap,
// unpark and resize. A signal (EINTR) is a turn in which nothing was ready. Count the
// call, the wakeup and, at the end, the turn.
func (e *Engine) Poll(timeout time.Duration) error {
	panic(engine.NotImplemented("02.2", "Engine.Poll"))
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

// millis is d as epoll_wait wants it, rounded up: a wait of half a millisecond
// rounded down to none would be a busy loop.
//
// TODO step 2: negative is no limit; round up, and mind that the kernel takes an int32.
func millis(d time.Duration) int {
	panic(engine.NotImplemented("02.2", "millis"))
}

// accept takes what waits in the accept queue, within a budget; the level-triggered
// listener is reported again if there is more.
//
// TODO step 3: accept until EAGAIN, at most acceptBudget times. Out of descriptors: park. Other
// errors are about one client, not about the listener.
func (e *Engine) accept() {
	panic(engine.NotImplemented("02.3", "Engine.accept"))
}

// TODO step 3: refuse what is too many; else make the conn, add it to the interest list, note it
// under its descriptor, and tell the handler.
func (e *Engine) open(fd int, peer netip.AddrPort) {
	panic(engine.NotImplemented("02.3", "Engine.open"))
}

func (e *Engine) refuse(fd int) {
	e.stats.Refused++
	e.stats.Calls[engine.CallClose]++
	sock.Close(fd)
}

// generation tells connections apart that had the same descriptor.
func (c *conn) generation() int32 { return int32(c.ID()) }

// dispatch serves one connection's event.
//
// TODO step 4: find the connection; if the event is not its own any more, drop it. Then read, then
// flush, as the event and c.interest say.
func (e *Engine) dispatch(ev *unix.EpollEvent) {
	panic(engine.NotImplemented("02.4", "Engine.dispatch"))
}

// TODO step 4: one read into e.buf. Data goes to OnData (not while draining), 0 bytes are the end
// of data (note it, then update), EAGAIN is nothing, and any other error ends this
// connection alone. Keep the counters and c.active up to date.
func (e *Engine) read(c *conn) {
	panic(engine.NotImplemented("02.4", "Engine.read"))
}

// flush sends what is queued, as far as the kernel takes it.
//
// TODO step 5: write the queue, drop what the kernel took, and send the FIN that a CloseWrite
// has left for the end.
func (e *Engine) flush(c *conn) {
	panic(engine.NotImplemented("02.5", "Engine.flush"))
}

// Queued implements [engine.Conn].
func (c *conn) Queued() int { return c.queue.Len() }

// Send implements [engine.Conn].
//
// TODO step 5: refuse what may not be sent, then write at once if nothing is queued before it,
// and queue what the kernel does not take.
func (c *conn) Send(p []byte) error {
	panic(engine.NotImplemented("02.5", "Conn.Send"))
}

// write gives p to the kernel and returns how much it took. A connection that
// cannot be written to is ended.
//
// TODO step 5: one write. EAGAIN means that the kernel took nothing; any other error ends the
// connection and is returned. Keep the counters and c.active up to date.
func (c *conn) write(p []byte) (int, error) {
	panic(engine.NotImplemented("02.5", "Conn.write"))
}

// update makes the interest list say what c waits for now. It costs a system call
// only when that has changed.
//
// TODO step 5: the first lines are step 4's: an end of data with nothing left to send ends the
// connection. Then work out what c waits for, and tell epoll if that has changed.
func (c *conn) update() {
	if c.eof && c.queue.Len() == 0 {
		c.end(nil)
		return
	}
	panic(engine.NotImplemented("02.5", "Conn.update"))

}

// throttle stops reading from a peer that does not read what it is sent, and goes
// on when the queue has drained. Two marks, so that it does not flip at each write.
//
// TODO step 7: keep c.paused: it goes on above the high-water mark and off at the low one.
func (c *conn) throttle() {
	if c.queue.Len() > c.e.cfg.HighWater {
		panic(engine.NotImplemented("02.7", "Conn.throttle"))
	}

}

// CloseWrite implements [engine.Conn].
//
// TODO step 6: note it, and send the FIN: now, or from flush when the queue is empty.
func (c *conn) CloseWrite() error {
	panic(engine.NotImplemented("02.6", "Conn.CloseWrite"))
}

// TODO step 6: shutdown(2) of the writing side.
func (c *conn) sendFIN() {
	panic(engine.NotImplemented("02.6", "Conn.sendFIN"))
}

// Close implements [engine.Conn].
//
// TODO step 6: end it, without an error.
func (c *conn) Close() error {
	panic(engine.NotImplemented("02.6", "Conn.Close"))
}

// end marks c closed; reap does the rest when no callback is running. Until then
// its descriptor stays open, so that the kernel cannot give the number to another
// connection within the same batch of events.
//
// TODO step 4: mark the connection and remember err. Once: whoever comes second changes nothing.
func (c *conn) end(err error) {
	panic(engine.NotImplemented("02.4", "Conn.end"))
}

// reap closes the descriptors of ended connections and makes their last callback.
//
// TODO step 4: for each connection in e.closing, in order: out of the kernel's sight, close its
// descriptor, lower the count, OnClose with its error. OnClose may end others, which
// then stand at the end of the same list.
func (e *Engine) reap() {
	if len(e.closing) > 0 {
		panic(engine.NotImplemented("02.4", "Engine.reap"))
	}

}

// park stops accepting: there are no descriptors left, or every accept fails, and a
// listener that stays readable would turn the loop into a busy one. Clients wait in the
// accept queue.
//
// TODO step 8: stop being told of the listener, count it in Stats.Parked, and set the time at
// which to try again.
func (e *Engine) park() {
	panic(engine.NotImplemented("02.8", "Engine.park"))
}

// unpark accepts again when a connection has closed, or after acceptRetry:
// descriptors come free elsewhere in the process too.
//
// TODO step 8: when that time has come, be told of the listener again.
func (e *Engine) unpark() {
	if !e.parked.IsZero() {
		panic(engine.NotImplemented("02.8", "Engine.unpark"))
	}

}

// sweep ends connections on which nothing has moved for the idle timeout.
//
// TODO step 8: a few times in an idle timeout, end every connection that has been quiet for
// longer. e.sweepAt is when the next look is due; Poll's wait ends by then.
func (e *Engine) sweep() {
	if e.cfg.IdleTimeout > 0 {
		panic(engine.NotImplemented("02.8", "Engine.sweep"))
	}

}

// resize fits the event list to what the last wait returned: a list too short
// costs more waits, one too long costs memory and cache.
//
// TODO step 2: double it when it was full, halve it when three quarters were unused, within
// minEvents and maxEvents.
func (e *Engine) resize(n int) {
	panic(engine.NotImplemented("02.2", "Engine.resize"))
}

// Wake implements [engine.Engine].
//
// TODO step 9: make the wake descriptor readable, unless a wake is on its way already. It may be
// called from any goroutine, also after Close.
func (e *Engine) Wake() {
	panic(engine.NotImplemented("02.9", "Engine.Wake"))
}

// clearWake makes the eventfd unreadable again. Nothing is lost: whoever calls
// Wake from here on finds woken false, or has Poll about to return.
//
// TODO step 9: make it unreadable again, then allow the next wake. In this order: think of a
// Wake that comes in between.
func (e *Engine) clearWake() {
	panic(engine.NotImplemented("02.9", "Engine.clearWake"))
}

// Shutdown implements [engine.Engine].
//
// TODO step 9: stop listening, end every connection's output, and poll until all are gone or ctx
// is done (which has to wake a Poll that waits).
func (e *Engine) Shutdown(ctx context.Context) error {
	panic(engine.NotImplemented("02.9", "Engine.Shutdown"))
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
	panic(engine.NotImplemented("02.1", "Engine.closeAll"))
}
