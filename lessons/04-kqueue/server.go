//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

// Package kqueueloop is lesson 04: a TCP engine on kqueue(2).
//
// One call does everything: kevent takes a list of changes, applies them, waits, and
// returns events. So no change costs a system call of its own: what a turn has to change
// goes along with the next wait. And one kind of thing is waited for: sockets, timers and
// wakes are all knotes.
package kqueueloop

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/04-kqueue/kqueue"
	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{fmt.Errorf, os.NewSyscallError, unix.NsecToTimespec, sock.Read, kqueue.Kevent, dispatchFlag + acceptBudget + acceptRetry, wakeIdent + idleIdent + acceptIdent}

const (
	acceptBudget = 128                    // connections accepted in one turn
	acceptRetry  = 100 * time.Millisecond // how long accepting pauses when descriptors run out
	minEvents    = 64
	maxEvents    = 4096
)

// Idents of the knotes that are not about a descriptor. A knote is (ident, filter), so
// they are in nobody's way.
const (
	wakeIdent   = iota + 1
	idleIdent   // the timer that has idle connections looked for
	acceptIdent // the timer that ends a pause in accepting
)

// Engine is a TCP engine on kqueue. See [engine.Engine].
type Engine struct {
	cfg     engine.Config
	handler engine.Handler
	addr    netip.AddrPort

	kq       int
	listener int               // -1 after Shutdown has begun
	changes  []kqueue.Kevent_t // for the next call of kevent
	changed  []*conn           // that may wait for something else than their knotes say
	events   []kqueue.Kevent_t
	buf      []byte // what one read takes: the read budget

	conns   []*conn // by descriptor, nil where there is none
	closing []*conn // closed, and not yet given to OnClose
	lastID  uint64
	turn    uint64 // counts the calls of kevent

	draining bool // Shutdown has begun
	closed   bool
	parked   bool      // accepting pauses
	now      time.Time // when this turn's wait returned
	stats    engine.Stats

	wakeMu sync.Mutex // guards wake, and kq against Close
	wake   wakeEvent
	woken  bool // triggered and not yet seen by the loop
}

type conn struct {
	engine.Identity
	e      *Engine
	fd     int
	turn   uint64 // in which it was accepted
	queue  engine.Queue
	active time.Time // when a byte last moved

	added   bool // there is a knote of EVFILT_READ
	reading bool // and it is enabled
	writing bool // there is a knote of EVFILT_WRITE
	listed  bool // in e.changed

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
		kq: -1, listener: -1,
		events: make([]kqueue.Kevent_t, minEvents),
		buf:    make([]byte, cfg.ReadBudget),
	}
	if err := e.setup(addr); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// TODO step 1: kqueue, sock.Listen, e.wake.open; then one kevent with the first changes:
// the listener, and the timer for idle connections if there is an idle timeout (step 8).
// What is opened is kept in e at once, so that Close finds it.
func (e *Engine) setup(addr netip.AddrPort) (err error) {
	panic(engine.NotImplemented("04.1", "Engine.setup"))
}

// change adds to the changelist of the next call of kevent. There is nothing of ours in
// udata: the kernel would keep a pointer that the garbage collector does not see.
//
// TODO step 1: append to e.changes. SetKevent fills in three fields; Data is the fourth.
func (e *Engine) change(ident, filter, flags int, data int64) {
	panic(engine.NotImplemented("04.1", "Engine.change"))
}

// Addr implements [engine.Engine].
func (e *Engine) Addr() netip.AddrPort { return e.addr }

// ConnectionCount implements [engine.Engine].
func (e *Engine) ConnectionCount() int { return e.stats.Connections }

// Stats implements [engine.Engine].
func (e *Engine) Stats() engine.Stats { return e.stats }

// Poll implements [engine.Engine].
//
// TODO step 2: prepare, kevent, dispatch for each event, then reap and resize. The changes
// are made when kevent returns, whatever it returns. A signal (EINTR) is a turn in which
// nothing was ready. Count the call, the wakeup, the turn in e.turn and, at the end, in
// Stats.
func (e *Engine) Poll(timeout time.Duration) error {
	panic(engine.NotImplemented("04.2", "Engine.Poll"))
}

// prepare writes the changelist: for each connection on which something has happened, the
// difference between what it waits for and what its knotes say. However often that went
// to and fro in a turn, it is one change; and none for a connection that has been closed,
// whose number may be somebody else's by now.
//
// TODO step 3: for each connection in e.changed that is not closed: prepareConn. Empty the
// list. Make e.events as long as e.changes at least.
func (e *Engine) prepare() {
	if len(e.changed) > 0 {
		panic(engine.NotImplemented("04.3", "Engine.prepare"))
	}
}

// TODO step 3: compare what c waits for (to be read, unless it is paused or at its end)
// with what its knote says, and add the change, if there is one. Step 5: the same for
// writing.
func (e *Engine) prepareConn(c *conn) {
	panic(engine.NotImplemented("04.3", "Engine.prepareConn"))
}

// wait is how long Poll may wait: timeout, unless there is something to do at once. What
// comes due later is the kernel's to tell, by a timer.
func (e *Engine) wait(timeout time.Duration) time.Duration {
	if len(e.closing) > 0 {
		return 0 // closed between two turns, and owed an OnClose
	}
	return timeout
}

// timespec is d as kevent wants it: nil waits without limit.
//
// TODO step 2: negative is no limit; there is no rounding to be done.
func timespec(d time.Duration) *kqueue.Timespec {
	panic(engine.NotImplemented("04.2", "timespec"))
}

// millis is d in the unit of a timer, rounded up: a period of 0 would be a busy loop.
//
// TODO step 8: round up, never down.
func millis(d time.Duration) int64 {
	panic(engine.NotImplemented("04.8", "millis"))
}

// dispatch serves one event.
//
// TODO step 3: whose is it? A timer, the wake event, the listener, or a connection.
func (e *Engine) dispatch(ev *kqueue.Kevent_t) {
	panic(engine.NotImplemented("04.3", "Engine.dispatch"))
}

// accept takes what waits in the accept queue, within a budget; the
// level-triggered listener is reported again if there is more.
//
// TODO step 3: accept until EAGAIN, at most acceptBudget times. Out of descriptors: park.
// Other errors are about one client, not about the listener.
func (e *Engine) accept() {
	panic(engine.NotImplemented("04.3", "Engine.accept"))
}

// TODO step 3: refuse what is too many; else make the conn, note it under its descriptor,
// list it for prepare, and tell the handler.
func (e *Engine) open(fd int, peer netip.AddrPort) {
	panic(engine.NotImplemented("04.3", "Engine.open"))
}

func (e *Engine) refuse(fd int) {
	e.stats.Refused++
	e.stats.Calls[engine.CallClose]++
	sock.Close(fd)
}

// list has the next prepare look at c.
func (c *conn) list() {
	if !c.listed {
		c.listed = true
		c.e.changed = append(c.e.changed, c)
	}
}

// serve serves one connection's event.
//
// TODO step 4: find the connection; if the event is not its own any more, drop it. A change
// that failed ends it, unless it says EPIPE. Then read or flush, and note what the kernel has
// done to the knote. Whatever happened, list it.
func (e *Engine) serve(fd, filter int, ev *kqueue.Kevent_t) {
	panic(engine.NotImplemented("04.4", "Engine.serve"))
}

// TODO step 4: one read into e.buf. Data goes to OnData (not while draining), 0 bytes are
// the end of data (note it, then update), EAGAIN is nothing, and any other error ends this
// connection alone. Keep the counters and c.active up to date.
func (e *Engine) read(c *conn) {
	panic(engine.NotImplemented("04.4", "Engine.read"))
}

// flush sends what is queued, as far as the kernel takes it.
//
// TODO step 5: write the queue, drop what the kernel took, and send the FIN that a
// CloseWrite has left for the end.
func (e *Engine) flush(c *conn) {
	panic(engine.NotImplemented("04.5", "Engine.flush"))
}

// Queued implements [engine.Conn].
func (c *conn) Queued() int { return c.queue.Len() }

// Send implements [engine.Conn].
//
// TODO step 5: refuse what may not be sent, then write at once if nothing is queued before
// it, and queue what the kernel does not take.
func (c *conn) Send(p []byte) error {
	panic(engine.NotImplemented("04.5", "Conn.Send"))
}

// write gives p to the kernel and returns how much it took. A connection that
// cannot be written to is ended.
//
// TODO step 5: one write. EAGAIN means that the kernel took nothing; any other error ends
// the connection and is returned. Keep the counters and c.active up to date.
func (c *conn) write(p []byte) (int, error) {
	panic(engine.NotImplemented("04.5", "Conn.write"))
}

// update follows a change of the queue or of the input: it ends a connection that has
// nothing more to do, or has prepare work out what it waits for now.
//
// TODO step 5: the first lines are step 4's: an end of data with nothing left to send ends
// the connection. Then throttle, and list.
func (c *conn) update() {
	if c.eof && c.queue.Len() == 0 {
		c.end(nil)
		return
	}
	panic(engine.NotImplemented("04.5", "Conn.update"))
}

// throttle stops reading from a peer that does not read what it is sent, and goes
// on when the queue has drained. Two marks, so that it does not flip at each write.
//
// TODO step 7: keep c.paused: it goes on above the high-water mark and off at the low one.
func (c *conn) throttle() {
	if c.queue.Len() > c.e.cfg.HighWater {
		panic(engine.NotImplemented("04.7", "Conn.throttle"))
	}
}

// CloseWrite implements [engine.Conn].
//
// TODO step 6: note it, and send the FIN: now, or from flush when the queue is empty.
func (c *conn) CloseWrite() error {
	panic(engine.NotImplemented("04.6", "Conn.CloseWrite"))
}

// TODO step 6: shutdown(2) of the writing side.
func (c *conn) sendFIN() {
	panic(engine.NotImplemented("04.6", "Conn.sendFIN"))
}

// Close implements [engine.Conn].
//
// TODO step 6: end it, without an error.
func (c *conn) Close() error {
	panic(engine.NotImplemented("04.6", "Conn.Close"))
}

// end marks c closed; reap does the rest when no callback is running. Until then
// its descriptor stays open, so that the kernel cannot give the number to another
// connection within the same batch of events.
//
// TODO step 4: mark the connection and remember err. Once: whoever comes second changes
// nothing.
func (c *conn) end(err error) {
	panic(engine.NotImplemented("04.4", "Conn.end"))
}

// reap closes the descriptors of ended connections and makes their last callback.
//
// TODO step 4: for each connection in e.closing, in order: close its descriptor, lower the
// count, OnClose with its error. OnClose may end others, which then stand at the end of the
// same list. When descriptors have come free, unpark.
func (e *Engine) reap() {
	if len(e.closing) > 0 {
		panic(engine.NotImplemented("04.4", "Engine.reap"))
	}
}

// park stops accepting: there are no descriptors left, or every accept fails, and a
// listener that stays readable would turn the loop into a busy one. Clients wait in the
// accept queue.
//
// TODO step 8: disable the listener's knote, count it in Stats.Parked, and add a timer for
// the time at which to try again.
func (e *Engine) park() {
	panic(engine.NotImplemented("04.8", "Engine.park"))
}

// unpark accepts again when a connection has closed, or after acceptRetry: descriptors
// come free elsewhere in the process too.
//
// TODO step 8: enable the listener's knote again, if accepting pauses and there is still a
// listener.
func (e *Engine) unpark() {
	if e.parked {
		panic(engine.NotImplemented("04.8", "Engine.unpark"))
	}
}

// sweep ends connections on which nothing has moved for the idle timeout.
//
// TODO step 8: end every connection that has been quiet for longer than the idle timeout.
func (e *Engine) sweep() {
	panic(engine.NotImplemented("04.8", "Engine.sweep"))
}

// resize fits the event list to what the last wait returned: a list too short
// costs more waits, one too long costs memory and cache.
//
// TODO step 2: double it when it was full, halve it when three quarters were unused, within
// minEvents and maxEvents.
func (e *Engine) resize(n int) {
	panic(engine.NotImplemented("04.2", "Engine.resize"))
}

// Wake implements [engine.Engine].
//
// TODO step 9: trigger, unless a wake is on its way already. It may be called from any
// goroutine, also after Close.
func (e *Engine) Wake() {
	panic(engine.NotImplemented("04.9", "Engine.Wake"))
}

// clearWake allows the next wake. Nothing is lost: whoever calls Wake from here on finds
// woken false, or has Poll about to return.
//
// TODO step 9: drain, then allow the next wake.
func (e *Engine) clearWake() {
	panic(engine.NotImplemented("04.9", "Engine.clearWake"))
}

// Shutdown implements [engine.Engine].
//
// TODO step 9: stop listening, end every connection's output, and poll until all are gone
// or ctx is done (which has to wake a Poll that waits).
func (e *Engine) Shutdown(ctx context.Context) error {
	panic(engine.NotImplemented("04.9", "Engine.Shutdown"))
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
	panic(engine.NotImplemented("04.1", "Engine.closeAll"))
}
