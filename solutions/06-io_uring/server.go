//go:build linux

package uringloop

import (
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
	"iolab/lessons/engine/loops"
	"iolab/lessons/engine/sock"
)

const (
	ringEntries   = 1024                   // submissions of one turn, before it has to call the kernel twice
	bufferCount   = 2048                   // receive buffers, of all connections together; see NewLoops
	leastBuffers  = 256                    // of one of several rings
	acceptsAtOnce = 16                     // accepts under way where one does not go on by itself
	acceptRetry   = 100 * time.Millisecond // how long accepting pauses when descriptors run out
	mostFailed    = 128                    // accepts in a row that fail, before accepting pauses
	mostDirect    = 1 << 20                // connections without a descriptor: IORING_MAX_FIXED_FILES
	drainLimit    = 5 * time.Second        // without a completion, when the engine closes
)

// Engine is a TCP engine on io_uring. See [engine.Engine]. Its loop runs on the thread of
// the first Poll: that goroutine is locked to it until Close.
type Engine struct {
	cfg     engine.Config
	handler engine.Handler
	addr    netip.AddrPort
	port    *loops.Port

	ring     *Ring
	features Features
	buffers  *Buffers
	blocks   Blocks
	listener int       // -1 after Shutdown has begun
	accepts  uint32    // accepts under way, one bit each
	failed   int       // how many accepts have, one after the other
	batch    []abi.CQE // this turn's completions
	early    []abi.CQE // the next turn's, taken already

	conns    []*conn // by descriptor, nil where there is none
	ready    []*conn // have received more than a turn may give them
	spare    []*conn // the other half of ready
	unsent   []*conn // have something to send and nothing under way
	starved  []*conn // wait for a receive buffer, the longest first
	closing  []*conn // closed, and not yet given to OnClose
	received []piece // by buffer: what is in it, if it is in a connection's list

	running  bool // the first Poll has been
	draining bool // Shutdown has begun
	closed   bool
	parked   time.Time // when accepting goes on; zero while it is on
	tick     uint32    // quarters of the idle timeout that have passed
	ticked   bool      // another one has, in this turn
	now      time.Time // when this turn's wait returned
	turn     uint32
	stats    engine.Stats

	wakeMu sync.Mutex // guards wakefd and woken
	wakefd int        // an eventfd, -1 after Close
	woken  bool       // written to and not yet seen by the loop

	shared *shared // what the kernel reads and writes during operations of the engine's own
}

// shared is mapped memory: see setup.
type shared struct {
	woken   uint64                  // what a read of the eventfd brings
	quarter abi.Timespec            // of the idle timeout
	peers   [acceptsAtOnce]peerAddr // where accepts put the addresses; see acceptOne
}

// piece is what a receive buffer holds for a connection, an element of its list.
type piece struct {
	next     uint32
	from, to int32
}

const none = ^uint32(0) // no buffer

// New returns an engine that listens as cfg says.
func New(cfg engine.Config, handler engine.Handler) (*Engine, error) {
	return NewWith(cfg, handler, Options{})
}

// NewWith is New with a choice of what to use of the kernel's features.
func NewWith(cfg engine.Config, handler engine.Handler, o Options) (*Engine, error) {
	return newEngine(cfg, handler, o, bufferCount, sock.Listen, new(loops.Port))
}

// NewLoops returns n rings that listen on one port, each with a thread of its own, as one
// engine, and starts them: see [loops.Loops]. The ring's own table of connections without a
// descriptor (Options.Direct) has as many places as the process may have descriptors, so
// that n rings serve n times as many. Each has less memory for what is received, the more
// there are.
func NewLoops(n int, cfg engine.Config, handler engine.Handler, o Options) (*loops.Loops, error) {
	buffers := max(bufferCount>>bits.Len(uint(n-1)), leastBuffers)
	return loops.New(n, cfg, func(cfg engine.Config, port *loops.Port) (engine.Engine, error) {
		return newEngine(cfg, handler, o, buffers, sock.ListenShared, port)
	})
}

// newEngine returns an engine with that many receive buffers, on a socket from listen.
func newEngine(cfg engine.Config, handler engine.Handler, o Options, buffers int, listen listenFunc, port *loops.Port) (*Engine, error) {
	cfg = cfg.WithDefaults()
	addr, err := cfg.ListenAddr()
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, handler: handler, port: port, listener: -1, wakefd: -1}
	if err := e.setup(addr, o, buffers, listen); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// listenFunc is the type of sock.Listen.
type listenFunc func(addr netip.AddrPort, backlog int) (fd int, bound netip.AddrPort, err error)

func (e *Engine) setup(addr netip.AddrPort, o Options, buffers int, listen listenFunc) (err error) {
	if e.listener, e.addr, err = listen(addr, e.cfg.Backlog); err != nil {
		return err
	}
	// The kernel waits in our place. Told not to wait (O_NONBLOCK) older ones do not, and
	// the operation ends with EAGAIN.
	if err = unix.SetNonblock(e.listener, false); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	// Linux hands it on to every connection that comes from here.
	if err = unix.SetsockoptInt(e.listener, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if e.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	mem, err := mapMemory(int(unsafe.Sizeof(shared{})))
	if err != nil {
		return err
	}
	e.shared = (*shared)(unsafe.Pointer(&mem[0])) // SAFETY: mapped until closeAll has seen the last completion
	if e.ring, err = Setup(ringEntries, o); err != nil {
		return err
	}
	if e.features = e.ring.Features(); e.features.Has(Direct) {
		if err = e.setupTable(); err != nil {
			return err
		}
	}
	e.buffers, err = NewBuffers(e.ring, 0, buffers, bufferSize(e.cfg.ReadBudget))
	return err
}

// setupTable makes the ring's table of connections. It may have as many places as the
// process may have descriptors (io_uring_register(2), IORING_REGISTER_FILES2): EMFILE.
func (e *Engine) setupTable() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	n := min(limit.Cur, mostDirect)
	e.conns = make([]*conn, n)
	return e.ring.registerTable(uint32(n))
}

// bufferSize makes a read budget of 32 buffers. That is how many the kernel fills for one
// connection before it turns to the next (MULTISHOT_MAX_RETRY in io_uring/net.c).
func bufferSize(budget int) int { return min(max(budget/32, 256), 4096) }

// Features are the parts of io_uring that the engine uses.
func (e *Engine) Features() Features { return e.features }

// String says what the engine is built on.
func (e *Engine) String() string { return "io_uring: " + e.features.String() }

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
	if err := e.start(); err != nil {
		return err
	}
	e.feed()
	e.flush()
	var before time.Duration // what the turn has worked before it waited
	if e.ring.Prepared() || timeout == 0 {
		began := time.Now()
		// What is handed over now is mostly done at once (a send, a close).
		if err := e.enter(0); err != nil {
			return err
		}
		before = time.Since(began)
	}
	if e.ring.Ready() == 0 {
		if wait := e.wait(timeout); wait != 0 {
			if err := e.enter(wait); err != nil {
				return err
			}
		}
	}
	e.now = time.Now()
	e.turn++
	e.takeIn()
	if len(e.batch) > 0 {
		e.stats.Wakeups++
	}
	for _, cqe := range e.batch {
		e.complete(cqe)
	}
	e.serveReady()
	e.sweep()
	e.reap()
	e.unpark()
	e.stats.Turn(e.now.Add(-before), e.cfg.TurnBudget)
	return nil
}

// start makes the thread of the first Poll the ring's, and prepares the operations that
// are always under way.
func (e *Engine) start() error {
	if e.running {
		return nil
	}
	runtime.LockOSThread()
	if err := e.ring.Enable(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	e.running, e.now = true, time.Now()
	e.armWake()
	e.armTick()
	e.armAccept()
	return nil
}

// wait is how long Poll may wait: timeout, or less if there is something to do
// before then.
func (e *Engine) wait(timeout time.Duration) time.Duration {
	if len(e.ready) > 0 || len(e.starved) > 0 || len(e.closing) > 0 || len(e.early) > 0 {
		return 0
	}
	if !e.parked.IsZero() {
		if d := max(time.Until(e.parked), 0); timeout < 0 || d < timeout {
			return d
		}
	}
	return timeout
}

// enter is the turn's one system call: what was prepared goes, what is done comes.
func (e *Engine) enter(timeout time.Duration) error {
	e.buffers.Publish()
	atLeast := 1
	if timeout == 0 {
		atLeast = 0
	}
	err := e.ring.Enter(atLeast, timeout)
	e.stats.Calls[engine.CallIOUringEnter] = e.ring.calls // under SQPOLL not every Enter makes one
	return err
}

// takeIn moves what is done out of the ring, so that the kernel has room for more while
// the handlers run.
func (e *Engine) takeIn() {
	e.batch, e.early = append(e.batch[:0], e.early...), e.early[:0]
	for range e.ring.Ready() {
		e.batch = append(e.batch, e.ring.Next())
	}
	e.ring.Ready()
}

// complete serves one completion.
func (e *Engine) complete(cqe abi.CQE) {
	t, more := token(cqe.UserData), cqe.Flags&abi.IORING_CQE_F_MORE != 0
	switch {
	case cqe.UserData == TimeoutData:
		return
	case e.closed && cqe.Res < 0 && t.op() <= opTick: // cancelled by closeAll
		if more { // a tick that was due is not found by the cancellation (ENOENT), and goes on
			e.cancelOwn(t.op(), t.fd())
		}
		return
	case t.op() == opAccept:
		e.accepted(t.fd(), int(cqe.Res), more)
		return
	case t.op() == opWake:
		e.clearWake()
		return
	case t.op() == opTick:
		e.ticked = true
		if !more {
			e.armTick()
		}
		return
	case t.op() == opClose:
		if !e.parked.IsZero() {
			e.parked = e.now // there are descriptors again
		}
		return
	case t.op() == opCancel && t.generation() == 0:
		return // of an operation of the engine's own
	}
	c := e.conns[t.fd()]
	if c == nil || c.generation() != t.generation() {
		panic(fmt.Sprintf("uringloop: operation %d of descriptor %d completes, and its connection is gone", t.op(), t.fd()))
	}
	if !more {
		c.inFlight--
	}
	switch t.op() {
	case opRecv:
		e.receive(c, int(cqe.Res), cqe.Flags)
	case opSend:
		e.written(c, int(cqe.Res))
	case opShutdown:
		if cqe.Res < 0 {
			c.end(os.NewSyscallError("shutdown", unix.Errno(-cqe.Res)))
		}
	}
	if c.gone {
		e.release(c)
	}
}

// armRecv has the kernel receive for c: until it is told to stop, or once.
func (e *Engine) armRecv(c *conn) {
	if !e.features.Has(BufferRing) {
		var err error
		if c.buffer, err = e.buffers.Take(); err != nil {
			c.end(err)
			return
		}
	}
	c.receiving = true
	sqe := e.prepare(opRecv, abi.IORING_OP_RECV, c, c.fd)
	if !e.features.Has(BufferRing) {
		sqe.Addr, sqe.Len = addrOf(&e.buffers.Data(c.buffer, 1)[0]), uint32(e.buffers.size)
		return
	}
	sqe.Flags |= abi.IOSQE_BUFFER_SELECT
	if e.features.Has(MultishotRecv) {
		sqe.Ioprio = abi.IORING_RECV_MULTISHOT
	} else {
		sqe.Len = uint32(e.buffers.size) // before 6.0 the kernel takes 0 for none, not for all
	}
}

// receive is a completion of a receive.
func (e *Engine) receive(c *conn, res int, flags uint32) {
	if flags&abi.IORING_CQE_F_MORE == 0 {
		c.receiving, c.cancelling = false, false
	}
	buffer, ok := e.buffers.Claim(flags)
	if !ok {
		buffer, c.buffer = c.buffer, none
	}
	switch {
	case res > 0 && !c.closed:
		e.keep(c, buffer, res)
		buffer = none
	case res == 0:
		c.over = true
	case res < 0:
		switch errno := unix.Errno(-res); errno {
		case unix.ENOBUFS:
			if !c.hungry {
				c.hungry = true
				e.starved = append(e.starved, c)
			}
		case unix.ECANCELED, unix.EAGAIN, unix.EINTR: // update starts another if there is to be one
		default:
			c.over, c.err = true, os.NewSyscallError("recv", errno)
		}
	}
	if buffer != none {
		e.buffers.Give(buffer)
	}
	e.serve(c)
}

// keep puts n bytes in a buffer at the end of c's list.
func (e *Engine) keep(c *conn, buffer uint32, n int) {
	for int(buffer) >= len(e.received) {
		e.received = append(e.received, piece{})
	}
	e.received[buffer] = piece{next: none, to: int32(n)}
	if c.first == none {
		c.first = buffer
	} else {
		e.received[c.last].next = buffer
	}
	c.last = buffer
}

// serveReady gives every connection on the ready list its turn: at most the read budget.
// Who has more goes to the end of the next list: round robin.
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

// serve hands over what c has received, within the budget, and after it the end.
func (e *Engine) serve(c *conn) {
	if c.closed {
		return
	}
	if c.turn != e.turn {
		c.turn, c.budget = e.turn, e.cfg.ReadBudget
	}
	for c.first != none && c.budget > 0 && !c.held() {
		buffer := c.first
		p := &e.received[buffer]
		n := min(int(p.to-p.from), c.budget)
		data := e.buffers.Data(buffer, int(p.to))[p.from:][:n:n]
		p.from += int32(n)
		c.budget -= n
		c.active = e.tick
		e.stats.BytesIn += uint64(n)
		if !e.draining {
			e.handler.OnData(c, data)
		}
		if c.closed {
			return // release gives the buffers back
		}
		if p = &e.received[buffer]; p.from == p.to {
			c.first = p.next
			e.buffers.Give(buffer)
		}
	}
	if c.first == none && c.over {
		if c.err != nil {
			c.end(c.err)
			return
		}
		c.eof = true
	}
	c.update()
}

// held tells whether what c has received waits with the input that is not read yet. That
// goes well as long as the kernel has buffers for the others: clients that do not read
// their answers must not keep those that all share.
func (c *conn) held() bool { return c.paused && c.e.buffers.Kernels() > c.e.buffers.count/2 }

// feed starts the receives that found no buffer, as far as there are buffers now.
func (e *Engine) feed() {
	n := min(e.buffers.Kernels(), len(e.starved))
	for _, c := range e.starved[:n] {
		c.hungry = false
		c.update()
	}
	e.starved = slices.Delete(e.starved, 0, n)
}
