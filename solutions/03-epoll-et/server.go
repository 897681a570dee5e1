//go:build linux

// Package epollet is lesson 03: a TCP engine on edge-triggered epoll(7), alone or
// as several loops that share a port.
//
// Edge-triggered means that epoll_wait reports a change, once. The engine has to
// remember what it was told (that a socket can be read, that there is somebody to
// accept) until a call has found the kernel empty. In return nothing is ever
// switched off: a connection is registered once, for everything, and no message
// costs an epoll_ctl.
package epollet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

// edges is what is asked of the kernel for a connection, once and for all.
const edges = unix.EPOLLET | unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI

// What an event says. EPOLLHUP and EPOLLERR come unasked; the next read or write
// finds out what they are about.
const (
	trouble  = unix.EPOLLHUP | unix.EPOLLERR
	special  = unix.EPOLLRDHUP | unix.EPOLLPRI | trouble // a short read does not mean that all is read
	readable = unix.EPOLLIN | special
	writable = unix.EPOLLOUT | trouble
)

const (
	acceptBudget = 128                    // connections accepted in one turn
	acceptRetry  = 100 * time.Millisecond // how long accepting pauses when descriptors run out
	longest      = 24 * time.Hour         // one wait: from 25 days on, the milliseconds are no C int
	minEvents    = 64
	maxEvents    = 4096
)

// Engine is a TCP engine on edge-triggered epoll. See [engine.Engine].
type Engine struct {
	cfg     engine.Config
	handler engine.Handler
	addr    netip.AddrPort

	epfd     int
	listener int // -1 after Shutdown has begun
	events   []unix.EpollEvent
	buf      []byte // what one read takes: the read budget

	conns   []*conn // by descriptor, nil where there is none
	ready   []*conn // to be served without waiting: each is in it once, the longest waiting first
	spare   []*conn // the list that ready was in the turn before, for its memory
	closing []*conn // closed, and not yet given to OnClose

	acceptable bool // somebody may be in the accept queue
	draining   bool // Shutdown has begun
	closed     bool
	parked     time.Time // accepting goes on then: descriptors ran out, or every accept failed
	sweepAt    time.Time // when idle connections are looked for next
	now        time.Time // when this turn's wait returned
	stats      engine.Stats
	port       *port

	mu     sync.Mutex // guards what follows, and the same in a conn
	wakefd int        // an eventfd, -1 after Close
	woken  bool       // written to and not yet seen by the loop
}

// port is what the engines that listen on one port have in common.
type port struct {
	connections atomic.Int64
	lastID      atomic.Uint64
}

type conn struct {
	engine.Identity
	e      *Engine
	fd     int
	queue  engine.Queue
	active time.Time // when a byte last moved

	// What the kernel has said and will not repeat.
	readable bool // there may be something to read
	writable bool // there may be room to write
	special  bool // the end of data, or an urgent mark, is near: see read

	listed bool  // in e.ready
	paused bool  // not read from until the queue has drained
	eof    bool  // the peer has ended its output
	finish bool  // CloseWrite was called
	away   bool  // with another goroutine: see Offload
	closed bool  // in e.closing, or gone
	err    error // for OnClose

	// Guarded by e.mu.
	back *answer // what the other goroutine has left, nil before; apart, since few have it
	gone bool    // the descriptor is closed
}

// answer is what another goroutine has to send.
type answer struct {
	data []byte
	at   time.Time // when it was done
}

// New returns an engine that listens as cfg says.
func New(cfg engine.Config, handler engine.Handler) (*Engine, error) {
	cfg = cfg.WithDefaults()
	addr, err := cfg.ListenAddr()
	if err != nil {
		return nil, err
	}
	return newEngine(cfg, handler, addr, sock.Listen, new(port))
}

// newEngine returns an engine on a socket from listen.
func newEngine(cfg engine.Config, handler engine.Handler, addr netip.AddrPort, listen listenFunc, port *port) (*Engine, error) {
	e := &Engine{
		cfg: cfg, handler: handler, port: port,
		epfd: -1, listener: -1, wakefd: -1,
		events: make([]unix.EpollEvent, minEvents),
		buf:    make([]byte, cfg.ReadBudget),
	}
	if err := e.setup(addr, listen); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// listenFunc is the type of sock.Listen.
type listenFunc func(addr netip.AddrPort, backlog int) (fd int, bound netip.AddrPort, err error)

func (e *Engine) setup(addr netip.AddrPort, listen listenFunc) (err error) {
	if e.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if e.wakefd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if e.listener, e.addr, err = listen(addr, e.cfg.Backlog); err != nil {
		return err
	}
	if err = e.ctl(unix.EPOLL_CTL_ADD, e.wakefd, unix.EPOLLET|unix.EPOLLIN, 0); err != nil {
		return err
	}
	return e.ctl(unix.EPOLL_CTL_ADD, e.listener, unix.EPOLLET|unix.EPOLLIN, 0)
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
		e.mark(&e.events[i])
	}
	e.accept()
	e.serveReady()
	e.sweep()
	e.reap()
	e.resize(n)
	e.stats.Turn(e.now, e.cfg.TurnBudget)
	return nil
}

// wait is how long Poll may wait: timeout, or less if there is something to do
// before then that the kernel will not tell of again.
func (e *Engine) wait(timeout time.Duration) time.Duration {
	if len(e.ready) > 0 || len(e.closing) > 0 {
		return 0
	}
	if e.acceptable {
		timeout = until(e.parked, timeout)
	}
	if !e.sweepAt.IsZero() {
		timeout = until(e.sweepAt, timeout)
	}
	return timeout
}

// until is the time left to alarm, or timeout if that is less.
func until(alarm time.Time, timeout time.Duration) time.Duration {
	if d := max(time.Until(alarm), 0); timeout < 0 || d < timeout {
		return d
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

// mark notes what an event says; nobody is called and nothing is closed before all
// of a batch are noted, so no event can meet a connection that came after it.
func (e *Engine) mark(ev *unix.EpollEvent) {
	switch int(ev.Fd) {
	case e.listener:
		e.acceptable = true
		return
	case e.wakefd:
		e.clearWake()
		return
	}
	c := e.conns[ev.Fd]
	if c == nil || c.generation() != ev.Pad {
		return // a ghost: somebody holds a duplicate of a descriptor that is closed here
	}
	c.readable = c.readable || ev.Events&readable != 0
	c.writable = c.writable || ev.Events&writable != 0
	c.special = c.special || ev.Events&special != 0
	e.list(c)
}

// list has c served in this turn, or in the next, which then does not wait.
func (e *Engine) list(c *conn) {
	if !c.listed {
		c.listed = true
		e.ready = append(e.ready, c)
	}
}

// accept takes what waits in the accept queue, within a budget. A crowd that comes
// at once is one edge, so acceptable stays until accept(2) has said EAGAIN.
func (e *Engine) accept() {
	if !e.acceptable || e.now.Before(e.parked) {
		return
	}
	failed := 0
	for range acceptBudget {
		fd, peer, err := sock.Accept(e.listener)
		e.stats.Calls[engine.CallAccept]++
		switch err {
		case nil:
			e.open(fd, peer)
		case unix.EAGAIN:
			e.stats.EAGAINs++
			e.acceptable = false
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			// Descriptors come free here (see reap), or elsewhere in the process. There
			// is nothing to disarm: this listener is not reported again.
			e.stats.Parked++
			e.parked = e.now.Add(acceptRetry)
			return
		default:
			// What accept(2) passes on of a connection that failed while it waited
			// (EPROTO, ENETDOWN, EPERM of a firewall …) says nothing of the next one.
			failed++
		}
	}
	if failed == acceptBudget { // it is not the clients: somebody has shut the listener down, a policy forbids it
		e.stats.Parked++
		e.parked = e.now.Add(acceptRetry)
	}
}

func (e *Engine) open(fd int, peer netip.AddrPort) {
	if n := e.port.connections.Add(1); e.cfg.MaxConnections > 0 && n > int64(e.cfg.MaxConnections) {
		e.refuse(fd)
		return
	}
	c := &conn{Identity: engine.NewIdentity(e.port.lastID.Add(1), peer), e: e, fd: fd, active: e.now}
	// Bytes that came before this call make an edge too.
	if err := e.ctl(unix.EPOLL_CTL_ADD, fd, edges, c.generation()); err != nil {
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
	e.port.connections.Add(-1)
	e.stats.Refused++
	e.stats.Calls[engine.CallClose]++
	sock.Close(fd)
}

// generation tells connections apart that had the same descriptor.
func (c *conn) generation() int32 { return int32(c.ID()) }

// serveReady gives every connection on the ready list its turn: one read of at most
// the read budget. Who has more goes to the end of the next list: round robin.
func (e *Engine) serveReady() {
	turn := e.ready
	e.ready = e.spare[:0]
	for _, c := range turn {
		c.listed = false
		e.serve(c)
	}
	clear(turn)
	e.spare = turn[:0]
}

func (e *Engine) serve(c *conn) {
	if c.away && !c.takeBack() {
		return
	}
	// Reading first hands over what arrived before a reset.
	if c.canRead() {
		e.read(c)
	}
	if c.canFlush() {
		e.flush(c)
	}
	// After the flush, which may have ended a pause: what came meanwhile has had its
	// edge.
	if c.canRead() {
		e.list(c)
	}
}

func (c *conn) canRead() bool  { return c.readable && !c.paused && !c.eof && !c.away && !c.closed }
func (c *conn) canFlush() bool { return c.writable && c.queue.Len() > 0 && !c.away && !c.closed }

func (e *Engine) read(c *conn) {
	n, err := sock.Read(c.fd, e.buf)
	e.stats.Calls[engine.CallRead]++
	switch {
	case err == unix.EAGAIN:
		e.stats.EAGAINs++
		c.readable = false
	case err != nil:
		c.end(os.NewSyscallError("read", err))
	case n == 0:
		c.eof = true
		c.update()
	default:
		// Fewer bytes than there was room for: that was all, and what comes now makes a
		// new edge. It saves the read that would find EAGAIN. But a read also stops short
		// before the end of data and at an urgent mark, whose edges may be behind us.
		if n < len(e.buf) && !c.special {
			c.readable = false
		}
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
	return c.send(p)
}

func (c *conn) send(p []byte) error {
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
		c.writable = false // an edge will come when there is room
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

// update follows a change of the queue or of the input: it ends a connection that
// has nothing more to do, and stops reading or lets it go on. No system call: the
// kernel is not told, and what it says meanwhile is remembered.
func (c *conn) update() {
	if c.eof && c.queue.Len() == 0 {
		c.end(nil)
		return
	}
	c.throttle()
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
	if c.queue.Len() == 0 && !c.away {
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
// connection within the same turn.
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
		e.mu.Lock()
		c.gone = true
		e.mu.Unlock()
		e.stats.Calls[engine.CallClose]++
		sock.Close(c.fd)
		e.conns[c.fd] = nil
		e.stats.Connections--
		e.port.connections.Add(-1)
		c.queue = engine.Queue{}
		e.handler.OnClose(c, c.err)
	}
	if len(e.closing) > 0 {
		e.parked = time.Time{} // there are descriptors again
	}
	clear(e.closing)
	e.closing = e.closing[:0]
}

// sweep ends connections on which nothing has moved for the idle timeout.
func (e *Engine) sweep() {
	if e.cfg.IdleTimeout <= 0 || e.now.Before(e.sweepAt) {
		return
	}
	e.sweepAt = e.now.Add(e.cfg.IdleTimeout / 4)
	for _, c := range e.conns {
		if c != nil && e.now.Sub(c.quietSince()) > e.cfg.IdleTimeout {
			c.end(engine.ErrIdleTimeout)
		}
	}
}

func (c *conn) quietSince() time.Time {
	if c.away {
		return c.backSince()
	}
	return c.active
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
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.woken || e.wakefd < 0 {
		return
	}
	e.woken = true
	one := [8]byte{1} // an eventfd adds up 64-bit numbers in the machine's byte order; small ones only, it is never read
	_, _ = sock.Write(e.wakefd, one[:])
}

// clearWake allows the next wake. The eventfd need not be read: each write to it is
// an edge.
func (e *Engine) clearWake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.woken = false
}

// Shutdown implements [engine.Engine].
func (e *Engine) Shutdown(ctx context.Context) error {
	if e.closed {
		return engine.ErrClosed
	}
	defer context.AfterFunc(ctx, e.Wake)()
	sock.Close(e.listener) // with its last descriptor it leaves the interest list
	e.listener, e.acceptable = -1, false
	e.draining = true
	for _, c := range e.conns {
		if c != nil {
			c.CloseWrite()
			c.update() // a paused connection is read from again: see throttle
			e.list(c)
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
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, fd := range []int{e.listener, e.wakefd, e.epfd} {
		if fd >= 0 {
			sock.Close(fd)
		}
	}
	e.listener, e.wakefd, e.epfd = -1, -1, -1
}
