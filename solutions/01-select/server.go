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

const (
	acceptBudget = 128                    // connections accepted in one turn
	acceptRetry  = 100 * time.Millisecond // how long accepting pauses when descriptors run out
	longest      = 24 * time.Hour         // one wait: macOS refuses one of more than 10⁸ seconds
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

func (e *Engine) listen(addr netip.AddrPort) (err error) {
	family, sa := sys.Sockaddr(addr)
	if e.listener, err = sys.Socket(family); err != nil {
		return os.NewSyscallError("socket", err)
	}
	// A select that says "readable" is no promise: the client may have left by the
	// time of accept, which would then block the loop.
	if err = sys.SetNonblock(e.listener, true); err != nil {
		return os.NewSyscallError("set non-blocking", err)
	}
	// Connections of an earlier run of this server wait in TIME_WAIT for a minute;
	// without SO_REUSEADDR they would keep the port.
	if err = sys.SetsockoptInt(e.listener, sys.SOL_SOCKET, sys.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err = sys.Bind(e.listener, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err = sys.Listen(e.listener, e.cfg.Backlog); err != nil {
		return os.NewSyscallError("listen", err)
	}
	e.addr, err = sys.Getsockname(e.listener)
	return os.NewSyscallError("getsockname", err)
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
	reads, writes := e.reads, e.writes // select leaves only the ready ones in what it is given
	n, err := sys.Select(e.nfds(), &reads, &writes, nil, timeval(e.wait(timeout)))
	e.stats.Calls[engine.CallSelect]++
	if err != nil && err != sys.EINTR {
		return os.NewSyscallError("select", err)
	}
	e.now = time.Now()
	if n > 0 {
		e.stats.Wakeups++
		e.dispatch(&reads, &writes)
	}
	e.sweep()
	e.reap()
	e.unpark()
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

// timeval is d as select wants it, nil for no limit, and rounded up: a wait of half
// a microsecond rounded down to none would be a busy loop.
func timeval(d time.Duration) *sys.Timeval {
	if d < 0 {
		return nil
	}
	tv := sys.NsecToTimeval(int64(min(d, longest))) // rounds up
	return &tv
}

// nfds is the highest descriptor in the sets, plus one: how far the kernel looks.
func (e *Engine) nfds() int {
	highest := max(e.listener, e.wakeR)
	for _, c := range e.conns {
		highest = max(highest, c.fd)
	}
	return highest + 1
}

// dispatch serves what select found ready.
func (e *Engine) dispatch(reads, writes *sys.FdSet) {
	if reads.IsSet(e.wakeR) {
		e.clearWake()
	}
	for _, c := range e.conns { // accept comes last, so the list does not grow under the loop
		if reads.IsSet(c.fd) && !c.paused && !c.closed { // another's callback may have paused or closed it
			e.read(c)
		}
		if writes.IsSet(c.fd) && !c.closed {
			e.flush(c)
		}
	}
	if e.listener >= 0 && reads.IsSet(e.listener) {
		e.accept()
	}
}

// accept takes what waits in the accept queue, within a budget; select reports the
// listener again if there is more.
func (e *Engine) accept() {
	failed := 0
	for range acceptBudget {
		fd, peer, err := sys.Accept(e.listener)
		e.stats.Calls[engine.CallAccept]++
		switch err {
		case nil:
			e.open(fd, peer)
		case sys.EAGAIN:
			e.stats.EAGAINs++
			return
		case sys.EMFILE, sys.ENFILE, sys.ENOBUFS, sys.ENOMEM:
			e.park()
			return
		default:
			// A signal (EINTR), a client that left while it waited (ECONNABORTED), a
			// network error that accept(2) passes on: none says anything of the next.
			failed++
		}
	}
	if failed == acceptBudget {
		e.park() // it is not the clients: somebody has shut the listener down, a policy forbids it
	}
}

func (e *Engine) open(fd int, peer netip.AddrPort) {
	full := e.cfg.MaxConnections > 0 && len(e.conns) >= e.cfg.MaxConnections
	// A descriptor that does not fit must never get near the set: in C, FD_SET would
	// write past its end; here it would panic.
	if full || !sys.Fits(fd, len(e.conns)+2) { // 2: the listener and the wake pair
		e.stats.Refused++
		e.stats.Calls[engine.CallClose]++
		sys.Close(fd)
		return
	}
	_ = sys.SetsockoptInt(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1) // an answer is sent whole: nothing to gain from Nagle's wait
	e.lastID++
	c := &conn{Identity: engine.NewIdentity(e.lastID, peer), e: e, fd: fd, active: e.now}
	e.conns = append(e.conns, c)
	e.reads.Set(fd)
	e.stats.Connections++
	e.stats.Accepts++
	e.handler.OnOpen(c)
}

func (e *Engine) read(c *conn) {
	n, err := retry(sys.Read, c.fd, e.buf)
	e.stats.Calls[engine.CallRead]++
	switch {
	case err == sys.EAGAIN:
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
	n, err := retry(sys.Write, c.fd, p)
	stats := &c.e.stats
	stats.Calls[engine.CallWrite]++
	if n < len(p) {
		stats.ShortWrites++
	}
	switch {
	case err == sys.EAGAIN:
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

// update makes the sets say what c waits for now. A descriptor that stays among the
// writers with nothing queued is ready at once, each time: a busy loop.
func (c *conn) update() {
	if c.eof && c.queue.Len() == 0 {
		c.end(nil)
	}
	if c.closed {
		return
	}
	c.throttle()
	include(&c.e.reads, c.fd, !c.paused && !c.eof)
	include(&c.e.writes, c.fd, c.queue.Len() > 0)
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
	if err := sys.Shutdown(c.fd, sys.SHUT_WR); err != nil {
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
// connection while this turn's sets are still being looked at.
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
		// Out of the sets before it is closed: one closed descriptor among them, and
		// select fails for all (EBADF).
		e.reads.Clear(c.fd)
		e.writes.Clear(c.fd)
		e.stats.Calls[engine.CallClose]++
		sys.Close(c.fd)
		e.stats.Connections--
		c.queue = engine.Queue{}
		e.handler.OnClose(c, c.err)
	}
	if len(e.closing) == 0 {
		return
	}
	e.conns = slices.DeleteFunc(e.conns, func(c *conn) bool { return c.closed })
	if !e.parked.IsZero() {
		e.parked = e.now // there are descriptors again
	}
	clear(e.closing)
	e.closing = e.closing[:0]
}

// park stops accepting: there are no descriptors left, or every accept fails, and a
// listener that stays readable would turn the loop into a busy one. Clients wait in the
// accept queue.
func (e *Engine) park() {
	e.stats.Parked++
	e.parked = e.now.Add(acceptRetry)
	e.reads.Clear(e.listener)
}

// unpark accepts again when a connection has closed, or after acceptRetry:
// descriptors come free elsewhere in the process too.
func (e *Engine) unpark() {
	if e.parked.IsZero() || e.now.Before(e.parked) || e.listener < 0 {
		return
	}
	e.parked = time.Time{}
	e.reads.Set(e.listener)
}

// sweep ends connections on which nothing has moved for the idle timeout.
func (e *Engine) sweep() {
	if e.cfg.IdleTimeout <= 0 || e.now.Before(e.sweepAt) {
		return
	}
	e.sweepAt = e.now.Add(e.cfg.IdleTimeout / 4)
	for _, c := range e.conns {
		if e.now.Sub(c.active) > e.cfg.IdleTimeout {
			c.end(engine.ErrIdleTimeout)
		}
	}
}

// Wake implements [engine.Engine].
func (e *Engine) Wake() {
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	if e.woken || e.wakeW < 0 {
		return
	}
	e.woken = true
	_, _ = retry(sys.Write, e.wakeW, []byte{1})
}

// clearWake takes the byte out again. Nothing is lost: whoever calls Wake from here
// on finds woken false, or has Poll about to return.
func (e *Engine) clearWake() {
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	var b [1]byte
	_, _ = retry(sys.Read, e.wakeR, b[:])
	e.woken = false
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
func (e *Engine) Shutdown(ctx context.Context) error {
	if e.closed {
		return engine.ErrClosed
	}
	defer context.AfterFunc(ctx, e.Wake)()
	e.reads.Clear(e.listener)
	sys.Close(e.listener)
	e.listener, e.parked = -1, time.Time{}
	e.draining = true
	for _, c := range e.conns {
		c.CloseWrite()
		c.update() // a paused connection is read from again: see throttle
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
		c.end(err)
	}
	e.reap()
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	for _, fd := range []int{e.listener, e.wakeR, e.wakeW} {
		if fd >= 0 {
			sys.Close(fd)
		}
	}
	e.listener, e.wakeR, e.wakeW = -1, -1, -1
}
