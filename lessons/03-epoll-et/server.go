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
	"math"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{fmt.Errorf, unix.EpollWait, sock.Read, edges | special, readable | writable, acceptBudget + acceptRetry, maxEvents}

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

// TODO step 1: as in lesson 02, but for EPOLLET.
func (e *Engine) setup(addr netip.AddrPort, listen listenFunc) (err error) {
	panic(engine.NotImplemented("03.1", "Engine.setup"))
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
//
// TODO step 1: epoll_wait, for as long as wait says; mark every event; then accept, serveReady,
// sweep, reap and resize. Count the call, the wakeup and the turn.
func (e *Engine) Poll(timeout time.Duration) error {
	panic(engine.NotImplemented("03.1", "Engine.Poll"))
}

// wait is how long Poll may wait: timeout, or less if there is something to do
// before then that the kernel will not tell of again.
//
// TODO step 1: not at all while the ready list or e.closing has somebody; not past e.parked while
// somebody may be in the accept queue, nor past e.sweepAt if that is set.
func (e *Engine) wait(timeout time.Duration) time.Duration {
	panic(engine.NotImplemented("03.1", "Engine.wait"))
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
	return int(min((d+time.Millisecond-1)/time.Millisecond, math.MaxInt32))
}

// mark notes what an event says; nobody is called and nothing is closed before all
// of a batch are noted, so no event can meet a connection that came after it.
//
// TODO step 1: for the listener: acceptable. For the eventfd: clearWake. For a connection (is the
// event its own?): what can be done with it, and onto the ready list.
func (e *Engine) mark(ev *unix.EpollEvent) {
	panic(engine.NotImplemented("03.1", "Engine.mark"))
}

// list has c served in this turn, or in the next, which then does not wait.
//
// TODO step 1: to the end of e.ready, unless it is in it.
func (e *Engine) list(c *conn) {
	panic(engine.NotImplemented("03.1", "Engine.list"))
}

// accept takes what waits in the accept queue, within a budget. A crowd that comes
// at once is one edge, so acceptable stays until accept(2) has said EAGAIN.
//
// TODO step 2: accept until EAGAIN, at most acceptBudget times. Who comes back here, and when, if
// the budget ends first? And if the descriptors do?
func (e *Engine) accept() {
	if e.acceptable {
		panic(engine.NotImplemented("03.2", "Engine.accept"))
	}
}

// TODO step 2: count it in e.port, refuse what is too many (refuse counts it out again); else make the conn, register it (once and for all), note it
// under its descriptor, and tell the handler.
func (e *Engine) open(fd int, peer netip.AddrPort) {
	panic(engine.NotImplemented("03.2", "Engine.open"))
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
//
// TODO step 1: serve each connection that is on the list now. Those that list adds meanwhile are
// the next turn's.
func (e *Engine) serveReady() {
	panic(engine.NotImplemented("03.1", "Engine.serveReady"))
}

// TODO step 3: one read, if it can be read. Still readable after it: back onto the list.
// TODO step 5: flush, if there is something to flush and room for it. In which order do the three go?
// TODO step 8: a connection that is with another goroutine is left alone until it is back.
func (e *Engine) serve(c *conn) {
	if c.canRead() {
		panic(engine.NotImplemented("03.3", "Engine.serve"))
	}
}

func (c *conn) canRead() bool  { return c.readable && !c.paused && !c.eof && !c.away && !c.closed }
func (c *conn) canFlush() bool { return c.writable && c.queue.Len() > 0 && !c.away && !c.closed }

// TODO step 3: one read into e.buf. Data goes to OnData (not while draining), 0 bytes are the end
// of data (note it, then update), any other error ends this connection alone. When is c.readable
// over? Keep the counters and c.active up to date.
// TODO step 4: a read that does not fill e.buf has emptied the socket, except where c.special is set.
func (e *Engine) read(c *conn) {
	panic(engine.NotImplemented("03.3", "Engine.read"))
}

// flush sends what is queued, as far as the kernel takes it.
//
// TODO step 5: as in lesson 02.
func (e *Engine) flush(c *conn) {
	panic(engine.NotImplemented("03.5", "Engine.flush"))
}

// Queued implements [engine.Conn].
func (c *conn) Queued() int { return c.queue.Len() }

// Send implements [engine.Conn].
//
// TODO step 5: refuse what may not be sent, then send.
func (c *conn) Send(p []byte) error {
	panic(engine.NotImplemented("03.5", "Conn.Send"))
}

// TODO step 5: write at once if nothing is queued before it, and queue what the kernel does not
// take, within the hard limit.
func (c *conn) send(p []byte) error {
	panic(engine.NotImplemented("03.5", "Conn.send"))
}

// write gives p to the kernel and returns how much it took. A connection that
// cannot be written to is ended.
//
// TODO step 5: as in lesson 02, and: when is c.writable over?
func (c *conn) write(p []byte) (int, error) {
	panic(engine.NotImplemented("03.5", "Conn.write"))
}

// update follows a change of the queue or of the input: it ends a connection that
// has nothing more to do, and stops reading or lets it go on. No system call: the
// kernel is not told, and what it says meanwhile is remembered.
//
// TODO step 5: the first lines are step 4's. After them: throttle.
func (c *conn) update() {
	if c.eof && c.queue.Len() == 0 {
		c.end(nil)
		return
	}
	panic(engine.NotImplemented("03.5", "Conn.update"))
}

// throttle stops reading from a peer that does not read what it is sent, and goes
// on when the queue has drained. Two marks, so that it does not flip at each write.
//
// TODO step 6: as in lesson 02.
func (c *conn) throttle() {
	if c.queue.Len() > c.e.cfg.HighWater {
		panic(engine.NotImplemented("03.6", "Conn.throttle"))
	}
}

// CloseWrite implements [engine.Conn].
//
// TODO step 7: note it, and send the FIN: now, or from flush when the queue is empty.
// TODO step 8: not now either if the answer is still being worked on.
func (c *conn) CloseWrite() error {
	panic(engine.NotImplemented("03.7", "Conn.CloseWrite"))
}

// TODO step 7: as in lesson 02.
func (c *conn) sendFIN() {
	panic(engine.NotImplemented("03.7", "Conn.sendFIN"))
}

// Close implements [engine.Conn].
//
// TODO step 7: as in lesson 02.
func (c *conn) Close() error {
	panic(engine.NotImplemented("03.7", "Conn.Close"))
}

// end marks c closed; reap does the rest when no callback is running. Until then
// its descriptor stays open, so that the kernel cannot give the number to another
// connection within the same turn.
//
// TODO step 4: as in lesson 02.
func (c *conn) end(err error) {
	panic(engine.NotImplemented("03.4", "Conn.end"))
}

// reap closes the descriptors of ended connections and makes their last callback.
//
// TODO step 4: as in lesson 02, and out of e.port's count too; and there are descriptors again, for those
// who wait to be accepted.
// TODO step 8: before the descriptor is closed, c.gone, under e.mu.
func (e *Engine) reap() {
	if len(e.closing) > 0 {
		panic(engine.NotImplemented("03.4", "Engine.reap"))
	}
}

// sweep ends connections on which nothing has moved for the idle timeout.
//
// TODO step 6: as in lesson 02, with c.quietSince.
func (e *Engine) sweep() {
	if e.cfg.IdleTimeout > 0 {
		panic(engine.NotImplemented("03.6", "Engine.sweep"))
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
//
// TODO step 1: what is different from lesson 02, if the eventfd is edge-triggered?
func (e *Engine) clearWake() {
	panic(engine.NotImplemented("03.1", "Engine.clearWake"))
}

// Shutdown implements [engine.Engine].
//
// TODO step 7: as in lesson 02; and nobody may be accepted any more, and those who were paused are
// read from again: what came meanwhile has had its edge.
func (e *Engine) Shutdown(ctx context.Context) error {
	panic(engine.NotImplemented("03.7", "Engine.Shutdown"))
}

// Close implements [engine.Engine].
func (e *Engine) Close() error {
	e.closeAll(engine.ErrClosed)
	return nil
}

// closeAll ends every connection with err and frees all that the engine holds.
//
// TODO step 1: as in lesson 02.
func (e *Engine) closeAll(err error) {
	panic(engine.NotImplemented("03.1", "Engine.closeAll"))
}
