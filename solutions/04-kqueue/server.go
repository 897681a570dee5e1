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

const (
	acceptBudget = 128                    // connections accepted in one turn
	acceptRetry  = 100 * time.Millisecond // how long accepting pauses when descriptors run out
	longest      = 24 * time.Hour         // one wait: macOS refuses one of more than 10⁸ seconds
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

func (e *Engine) setup(addr netip.AddrPort) (err error) {
	if e.kq, err = kqueue.Kqueue(); err != nil {
		return os.NewSyscallError("kqueue", err)
	}
	unix.CloseOnExec(e.kq) // a child of fork does not get it, but a program started by exec(3) in this process would
	if e.listener, e.addr, err = sock.Listen(addr, e.cfg.Backlog); err != nil {
		return err
	}
	if err = e.wake.open(e); err != nil {
		return err
	}
	e.change(e.listener, kqueue.EVFILT_READ, kqueue.EV_ADD, 0)
	if e.cfg.IdleTimeout > 0 {
		e.change(idleIdent, kqueue.EVFILT_TIMER, kqueue.EV_ADD, millis(e.cfg.IdleTimeout/4))
	}
	// With no room for events, a change that fails is the call's error.
	e.stats.Calls[engine.CallKevent]++
	_, err = kqueue.Kevent(e.kq, e.changes, nil, nil)
	e.changes = e.changes[:0]
	return os.NewSyscallError("kevent", err)
}

// change adds to the changelist of the next call of kevent. There is nothing of ours in
// udata: the kernel would keep a pointer that the garbage collector does not see.
func (e *Engine) change(ident, filter, flags int, data int64) {
	k := kqueue.Kevent_t{Data: data}
	kqueue.SetKevent(&k, ident, filter, flags)
	e.changes = append(e.changes, k)
}

// Addr implements [engine.Engine].
func (e *Engine) Addr() netip.AddrPort { return e.addr }

// ConnectionCount implements [engine.Engine].
func (e *Engine) ConnectionCount() int { return e.stats.Connections }

// Stats implements [engine.Engine].
func (e *Engine) Stats() engine.Stats { return e.stats }

// Poll implements [engine.Engine].
func (e *Engine) Poll(timeout time.Duration) error {
	if e.closed {
		return engine.ErrClosed
	}
	e.prepare()
	n, err := kqueue.Kevent(e.kq, e.changes, e.events, timespec(e.wait(timeout)))
	e.changes = e.changes[:0] // they are made, also when a signal has cut the wait short
	e.stats.Calls[engine.CallKevent]++
	if err != nil && err != unix.EINTR {
		return os.NewSyscallError("kevent", err)
	}
	e.now = time.Now()
	e.turn++
	if n > 0 {
		e.stats.Wakeups++
	}
	for i := range max(n, 0) { // n is -1 after a signal
		e.dispatch(&e.events[i])
	}
	e.reap()
	e.resize(n)
	e.stats.Turn(e.now, e.cfg.TurnBudget)
	return nil
}

// prepare writes the changelist: for each connection on which something has happened, the
// difference between what it waits for and what its knotes say. However often that went
// to and fro in a turn, it is one change; and none for a connection that has been closed,
// whose number may be somebody else's by now.
func (e *Engine) prepare() {
	for _, c := range e.changed {
		c.listed = false
		if !c.closed {
			e.prepareConn(c)
		}
	}
	clear(e.changed)
	e.changed = e.changed[:0]
	if len(e.events) < len(e.changes) {
		// A change that fails needs room to say so. Without it, kevent gives up, and the
		// changes after it are not made.
		e.events = make([]kqueue.Kevent_t, len(e.changes))
	}
}

func (e *Engine) prepareConn(c *conn) {
	switch read := !c.paused && !c.eof; {
	case read == c.reading:
	case !read:
		e.change(c.fd, kqueue.EVFILT_READ, kqueue.EV_DISABLE, 0)
		c.reading = false
	case !c.added:
		e.change(c.fd, kqueue.EVFILT_READ, kqueue.EV_ADD|dispatchFlag, 0)
		c.added, c.reading = true, true
	default:
		e.change(c.fd, kqueue.EVFILT_READ, kqueue.EV_ENABLE, 0)
		c.reading = true
	}
	if c.queue.Len() > 0 && !c.writing {
		e.change(c.fd, kqueue.EVFILT_WRITE, kqueue.EV_ADD|kqueue.EV_ONESHOT, 0)
		c.writing = true
	}
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
func timespec(d time.Duration) *kqueue.Timespec {
	if d < 0 {
		return nil
	}
	ts := unix.NsecToTimespec(min(d, longest).Nanoseconds())
	return &ts
}

// millis is d in the unit of a timer, rounded up: a period of 0 would be a busy loop.
func millis(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// dispatch serves one event.
func (e *Engine) dispatch(ev *kqueue.Kevent_t) {
	switch ident, filter := int(ev.Ident), int(ev.Filter); {
	case filter == kqueue.EVFILT_TIMER && ident == idleIdent:
		e.sweep()
	case filter == kqueue.EVFILT_TIMER:
		e.unpark()
	case e.wake.is(ident, filter):
		e.clearWake()
	case ident == e.listener:
		e.accept()
	default:
		e.serve(ident, filter, ev)
	}
}

// accept takes what waits in the accept queue, within a budget; the
// level-triggered listener is reported again if there is more.
func (e *Engine) accept() {
	failed := 0
	for range acceptBudget {
		fd, peer, err := sock.Accept(e.listener)
		e.stats.Calls[engine.CallAccept]++
		switch err {
		case nil:
			e.open(fd, peer)
		case unix.EAGAIN:
			e.stats.EAGAINs++
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			e.park()
			return
		default:
			// What accept(2) passes on of a connection that failed while it waited
			// (EPROTO, ENETDOWN, EPERM of a firewall …) says nothing of the next one.
			failed++
		}
	}
	if failed == acceptBudget {
		e.park() // it is not the clients: somebody has shut the listener down, a policy forbids it
	}
}

func (e *Engine) open(fd int, peer netip.AddrPort) {
	if e.cfg.MaxConnections > 0 && e.stats.Connections >= e.cfg.MaxConnections {
		e.refuse(fd)
		return
	}
	e.lastID++
	c := &conn{Identity: engine.NewIdentity(e.lastID, peer), e: e, fd: fd, turn: e.turn, active: e.now}
	for fd >= len(e.conns) {
		e.conns = append(e.conns, nil)
	}
	e.conns[fd] = c
	c.list()
	e.stats.Connections++
	e.stats.Accepts++
	e.handler.OnOpen(c)
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
func (e *Engine) serve(fd, filter int, ev *kqueue.Kevent_t) {
	var c *conn
	if fd < len(e.conns) {
		c = e.conns[fd]
	}
	// Closed earlier in this batch; or it came in this batch, and the event is that of
	// another connection, which had the same descriptor.
	if c == nil || c.closed || c.turn == e.turn {
		return
	}
	flags := int(ev.Flags)
	switch {
	case flags&kqueue.EV_ERROR != 0:
		if errno := unix.Errno(ev.Data); errno != unix.EPIPE { // then there is an end to read
			c.end(os.NewSyscallError("kevent", errno))
		}
	case filter == kqueue.EVFILT_READ:
		c.reading = dispatchFlag == 0 // EV_DISPATCH has disabled the knote
		if !c.paused {                // by another's callback, in this batch
			e.read(c)
		}
	default:
		c.writing = false // EV_ONESHOT has deleted it
		// The end of writing may be told before the bytes that came with it. Reading hands
		// them over, and finds the end too.
		if c.queue.Len() > 0 && (flags&kqueue.EV_EOF == 0 || c.paused || c.eof) {
			e.flush(c)
		}
	}
	c.list()
}

func (e *Engine) read(c *conn) {
	n, err := sock.Read(c.fd, e.buf)
	e.stats.Calls[engine.CallRead]++
	switch {
	case err == unix.EAGAIN:
		e.stats.EAGAINs++
	case err != nil:
		c.end(os.NewSyscallError("read", err))
	case n == 0:
		c.eof = true
		c.update()
	default:
		c.active = e.now
		e.stats.BytesIn += uint64(n)
		if !e.draining {
			e.handler.OnData(c, e.buf[:n])
		}
	}
}

// flush sends what is queued, as far as the kernel takes it.
func (e *Engine) flush(c *conn) {
	n, err := c.write(c.queue.Bytes())
	if err != nil {
		return
	}
	c.queue.Discard(n)
	if c.queue.Len() == 0 && c.finish {
		c.sendFIN()
	}
	c.update()
}

// Queued implements [engine.Conn].
func (c *conn) Queued() int { return c.queue.Len() }

// Send implements [engine.Conn].
func (c *conn) Send(p []byte) error {
	if c.closed || c.finish {
		return engine.ErrClosed
	}
	if c.queue.Len()+len(p) > c.e.cfg.HardLimit {
		return engine.ErrBackpressure
	}
	if c.queue.Len() == 0 && len(p) > 0 {
		n, err := c.write(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	if len(p) > 0 {
		c.queue.Append(p)
		c.update()
	}
	return nil
}

// write gives p to the kernel and returns how much it took. A connection that
// cannot be written to is ended.
func (c *conn) write(p []byte) (int, error) {
	n, err := sock.Write(c.fd, p)
	stats := &c.e.stats
	stats.Calls[engine.CallWrite]++
	if n < len(p) {
		stats.ShortWrites++
	}
	switch {
	case err == unix.EAGAIN:
		stats.EAGAINs++
		return 0, nil
	case err != nil:
		err = os.NewSyscallError("write", err)
		c.end(err)
		return 0, err
	}
	c.active = c.e.now
	stats.BytesOut += uint64(n)
	return n, nil
}

// update follows a change of the queue or of the input: it ends a connection that has
// nothing more to do, or has prepare work out what it waits for now.
func (c *conn) update() {
	if c.eof && c.queue.Len() == 0 {
		c.end(nil)
	}
	if c.closed {
		return
	}
	c.throttle()
	c.list()
}

// throttle stops reading from a peer that does not read what it is sent, and goes
// on when the queue has drained. Two marks, so that it does not flip at each write.
func (c *conn) throttle() {
	switch queued := c.queue.Len(); {
	case c.e.draining: // what is read now is discarded, and adds nothing
		c.paused = false
	case queued > c.e.cfg.HighWater:
		c.paused = true
	case queued <= c.e.cfg.LowWater:
		c.paused = false
	}
}

// CloseWrite implements [engine.Conn].
func (c *conn) CloseWrite() error {
	if c.closed || c.finish {
		return nil
	}
	c.finish = true
	if c.queue.Len() == 0 {
		c.sendFIN()
	}
	return nil
}

func (c *conn) sendFIN() {
	c.e.stats.Calls[engine.CallShutdown]++
	if err := sock.CloseWrite(c.fd); err != nil {
		c.end(os.NewSyscallError("shutdown", err))
	}
}

// Close implements [engine.Conn].
func (c *conn) Close() error {
	c.end(nil)
	return nil
}

// end marks c closed; reap does the rest when no callback is running. Until then
// its descriptor stays open, so that the kernel cannot give the number to another
// connection within the same batch of events.
func (c *conn) end(err error) {
	if c.closed {
		return
	}
	c.closed, c.err = true, err
	c.e.closing = append(c.e.closing, c)
}

// reap closes the descriptors of ended connections and makes their last callback.
func (e *Engine) reap() {
	for i := 0; i < len(e.closing); i++ { // OnClose may end others
		c := e.closing[i]
		e.stats.Calls[engine.CallClose]++
		sock.Close(c.fd) // which takes its knotes away, also when somebody has a duplicate
		e.conns[c.fd] = nil
		e.stats.Connections--
		c.queue = engine.Queue{}
		e.handler.OnClose(c, c.err)
	}
	if len(e.closing) > 0 {
		e.unpark() // there are descriptors again
	}
	clear(e.closing)
	e.closing = e.closing[:0]
}

// park stops accepting: there are no descriptors left, or every accept fails, and a
// listener that stays readable would turn the loop into a busy one. Clients wait in the
// accept queue.
func (e *Engine) park() {
	if e.parked {
		return
	}
	e.parked = true
	e.stats.Parked++
	e.change(e.listener, kqueue.EVFILT_READ, kqueue.EV_DISABLE, 0)
	e.change(acceptIdent, kqueue.EVFILT_TIMER, kqueue.EV_ADD|kqueue.EV_ONESHOT, millis(acceptRetry))
}

// unpark accepts again when a connection has closed, or after acceptRetry: descriptors
// come free elsewhere in the process too.
func (e *Engine) unpark() {
	if !e.parked || e.listener < 0 {
		return
	}
	e.parked = false
	e.change(e.listener, kqueue.EVFILT_READ, kqueue.EV_ENABLE, 0)
}

// sweep ends connections on which nothing has moved for the idle timeout.
func (e *Engine) sweep() {
	for _, c := range e.conns {
		if c != nil && e.now.Sub(c.active) > e.cfg.IdleTimeout {
			c.end(engine.ErrIdleTimeout)
		}
	}
}

// resize fits the event list to what the last wait returned: a list too short
// costs more waits, one too long costs memory and cache.
func (e *Engine) resize(n int) {
	switch size := len(e.events); {
	case n == size && size < maxEvents:
		e.events = make([]kqueue.Kevent_t, size*2)
	case n < size/4 && size > minEvents:
		e.events = make([]kqueue.Kevent_t, size/2)
	}
}

// Wake implements [engine.Engine].
func (e *Engine) Wake() {
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	if e.woken || e.kq < 0 {
		return
	}
	e.woken = true
	e.wake.trigger(e.kq)
}

// clearWake allows the next wake. Nothing is lost: whoever calls Wake from here on finds
// woken false, or has Poll about to return.
func (e *Engine) clearWake() {
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	e.wake.drain()
	e.woken = false
}

// Shutdown implements [engine.Engine].
func (e *Engine) Shutdown(ctx context.Context) error {
	if e.closed {
		return engine.ErrClosed
	}
	defer context.AfterFunc(ctx, e.Wake)()
	sock.Close(e.listener)
	e.listener = -1
	e.draining = true
	for _, c := range e.conns {
		if c != nil {
			c.CloseWrite()
			c.update() // a paused connection is read from again: see throttle
		}
	}
	for e.stats.Connections > 0 {
		if err := ctx.Err(); err != nil {
			e.closeAll(engine.ErrShutdown)
			return fmt.Errorf("shutdown: connections left: %w", err)
		}
		if err := e.Poll(-1); err != nil {
			e.closeAll(err)
			return err
		}
	}
	return e.Close()
}

// Close implements [engine.Engine].
func (e *Engine) Close() error {
	e.closeAll(engine.ErrClosed)
	return nil
}

// closeAll ends every connection with err and frees all that the engine holds.
func (e *Engine) closeAll(err error) {
	if e.closed {
		return
	}
	e.closed = true
	for _, c := range e.conns {
		if c != nil {
			c.end(err)
		}
	}
	e.reap()
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	e.wake.close()
	if e.listener >= 0 {
		sock.Close(e.listener)
	}
	if e.kq >= 0 {
		kqueue.Close(e.kq)
	}
	e.listener, e.kq = -1, -1
}
