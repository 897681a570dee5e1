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
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

// EPOLLRDHUP goes with EPOLLIN: level-triggered, it would be reported for ever to
// a connection that does not read.
const (
	readable = unix.EPOLLIN | unix.EPOLLRDHUP
	writable = unix.EPOLLOUT
)

const (
	acceptBudget = 128                    // connections accepted in one turn
	acceptRetry  = 100 * time.Millisecond // how long accepting pauses when descriptors run out
	longest      = 24 * time.Hour         // one wait: from 25 days on, the milliseconds are no C int
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

func (e *Engine) setup(addr netip.AddrPort) (err error) {
	if e.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if e.wakefd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if e.listener, e.addr, err = sock.Listen(addr, e.cfg.Backlog); err != nil {
		return err
	}
	if err = e.ctl(unix.EPOLL_CTL_ADD, e.wakefd, unix.EPOLLIN, 0); err != nil {
		return err
	}
	return e.ctl(unix.EPOLL_CTL_ADD, e.listener, unix.EPOLLIN, 0)
}

// ctl changes the interest list. The event's data is the descriptor and a
// generation: a descriptor alone may by then be another connection's.
func (e *Engine) ctl(op, fd int, events uint32, generation int32) error {
	e.stats.Calls[engine.CallEpollCtl]++
	err := unix.EpollCtl(e.epfd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: generation})
	return os.NewSyscallError("epoll_ctl", err)
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
	n, err := unix.EpollWait(e.epfd, e.events, millis(e.wait(timeout)))
	e.stats.Calls[engine.CallEpollWait]++
	if err != nil && err != unix.EINTR {
		return os.NewSyscallError("epoll_wait", err)
	}
	e.now = time.Now()
	if n > 0 {
		e.stats.Wakeups++
	}
	for i := range max(n, 0) { // n is -1 after a signal
		switch ev := &e.events[i]; int(ev.Fd) {
		case e.listener:
			e.accept()
		case e.wakefd:
			e.clearWake()
		default:
			e.dispatch(ev)
		}
	}
	e.sweep()
	e.reap()
	e.unpark()
	e.resize(n)
	e.stats.Turn(e.now, e.cfg.TurnBudget)
	return nil
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
func millis(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int((min(d, longest) + time.Millisecond - 1) / time.Millisecond)
}

// accept takes what waits in the accept queue, within a budget; the level-triggered
// listener is reported again if there is more.
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
	c := &conn{Identity: engine.NewIdentity(e.lastID, peer), e: e, fd: fd, interest: readable, active: e.now}
	if err := e.ctl(unix.EPOLL_CTL_ADD, fd, c.interest, c.generation()); err != nil {
		e.refuse(fd) // ENOSPC: fs.epoll.max_user_watches
		return
	}
	for fd >= len(e.conns) {
		e.conns = append(e.conns, nil)
	}
	e.conns[fd] = c
	e.stats.Connections++
	e.stats.Accepts++
	e.handler.OnOpen(c)
}

func (e *Engine) refuse(fd int) {
	e.stats.Refused++
	e.stats.Calls[engine.CallClose]++
	sock.Close(fd)
}

// generation tells connections apart that had the same descriptor.
func (c *conn) generation() int32 { return int32(c.ID()) }

// dispatch serves one connection's event.
func (e *Engine) dispatch(ev *unix.EpollEvent) {
	c := e.conns[ev.Fd]
	if c == nil || c.closed || c.generation() != ev.Pad {
		return // closed earlier in this batch, or a ghost of one closed before
	}
	// EPOLLHUP and EPOLLERR come unasked. The read or the write finds out what they
	// are about, and reading first hands over what arrived before the end. One of
	// the two is always of interest: a connection that is not read has a queue.
	if ev.Events&(readable|unix.EPOLLHUP|unix.EPOLLERR) != 0 && c.interest&readable != 0 {
		e.read(c)
	}
	if ev.Events&(writable|unix.EPOLLHUP|unix.EPOLLERR) != 0 && c.queue.Len() > 0 && !c.closed {
		e.flush(c)
	}
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

// update makes the interest list say what c waits for now. It costs a system call
// only when that has changed.
func (c *conn) update() {
	if c.eof && c.queue.Len() == 0 {
		c.end(nil)
	}
	if c.closed {
		return
	}
	c.throttle()
	var interest uint32
	if !c.paused && !c.eof {
		interest |= readable
	}
	if c.queue.Len() > 0 {
		interest |= writable
	}
	if interest == c.interest {
		return
	}
	c.interest = interest
	if err := c.e.ctl(unix.EPOLL_CTL_MOD, c.fd, interest, c.generation()); err != nil {
		c.end(err)
	}
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
		// close(2) would do, but for a descriptor that somebody has duplicated (a
		// child process): its registration would outlive it and report for ever.
		_ = e.ctl(unix.EPOLL_CTL_DEL, c.fd, 0, 0)
		e.stats.Calls[engine.CallClose]++
		sock.Close(c.fd)
		e.conns[c.fd] = nil
		e.stats.Connections--
		c.queue = engine.Queue{}
		e.handler.OnClose(c, c.err)
	}
	if len(e.closing) > 0 && !e.parked.IsZero() {
		e.parked = e.now // there are descriptors again
	}
	clear(e.closing)
	e.closing = e.closing[:0]
}

// park stops accepting: there are no descriptors left, or every accept fails, and a
// listener that stays readable would turn the loop into a busy one. Clients wait in the
// accept queue. It leaves the list: one that somebody has shut down has EPOLLHUP, which
// comes unasked.
func (e *Engine) park() {
	e.stats.Parked++
	e.parked = e.now.Add(acceptRetry)
	_ = e.ctl(unix.EPOLL_CTL_DEL, e.listener, 0, 0)
}

// unpark accepts again when a connection has closed, or after acceptRetry:
// descriptors come free elsewhere in the process too.
func (e *Engine) unpark() {
	if e.parked.IsZero() || e.now.Before(e.parked) || e.listener < 0 {
		return
	}
	e.parked = time.Time{}
	if e.ctl(unix.EPOLL_CTL_ADD, e.listener, unix.EPOLLIN, 0) != nil {
		e.parked = e.now.Add(acceptRetry) // no memory for the entry just now
	}
}

// sweep ends connections on which nothing has moved for the idle timeout.
func (e *Engine) sweep() {
	if e.cfg.IdleTimeout <= 0 || e.now.Before(e.sweepAt) {
		return
	}
	e.sweepAt = e.now.Add(e.cfg.IdleTimeout / 4)
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
		e.events = make([]unix.EpollEvent, size*2)
	case n < size/4 && size > minEvents:
		e.events = make([]unix.EpollEvent, size/2)
	}
}

// Wake implements [engine.Engine].
func (e *Engine) Wake() {
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	if e.woken || e.wakefd < 0 {
		return
	}
	e.woken = true
	one := [8]byte{1} // an eventfd adds up 64-bit numbers in the machine's byte order; any but 0 will do
	_, _ = sock.Write(e.wakefd, one[:])
}

// clearWake makes the eventfd unreadable again. Nothing is lost: whoever calls
// Wake from here on finds woken false, or has Poll about to return.
func (e *Engine) clearWake() {
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	var count [8]byte
	_, _ = sock.Read(e.wakefd, count[:])
	e.woken = false
}

// Shutdown implements [engine.Engine].
func (e *Engine) Shutdown(ctx context.Context) error {
	if e.closed {
		return engine.ErrClosed
	}
	defer context.AfterFunc(ctx, e.Wake)()
	sock.Close(e.listener) // with its last descriptor it leaves the interest list
	e.listener, e.parked = -1, time.Time{}
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
	for _, fd := range []int{e.listener, e.wakefd, e.epfd} {
		if fd >= 0 {
			sock.Close(fd)
		}
	}
	e.listener, e.wakefd, e.epfd = -1, -1, -1
}
