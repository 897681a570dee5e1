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

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{fmt.Errorf, os.NewSyscallError, runtime.LockOSThread, slices.Delete[[]int], sock.Listen, unix.Eventfd, unsafe.Pointer(nil)}

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

// TODO step 5: listen; take O_NONBLOCK off the listener and set TCP_NODELAY on it; an
// eventfd in blocking mode; mapped memory for e.shared; Setup, and e.features from the ring;
// with Direct a table (setupTable); NewBuffers. What is opened is kept in e at once, so that
// Close finds it.
func (e *Engine) setup(addr netip.AddrPort, o Options, buffers int, listen listenFunc) (err error) {
	panic(engine.NotImplemented("06.5", "Engine.setup"))
}

// setupTable makes the ring's table of connections. It may have as many places as the
// process may have descriptors (io_uring_register(2), IORING_REGISTER_FILES2): EMFILE.
//
// TODO step 9: registerTable with as many places as RLIMIT_NOFILE allows, mostDirect at
// most, and e.conns as long.
func (e *Engine) setupTable() error {
	panic(engine.NotImplemented("06.9", "Engine.setupTable"))
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
//
// TODO step 5: start; feed and flush; hand over what is prepared, without waiting; if
// nothing is complete then, wait. Take in, complete each, then serveReady, sweep, reap and
// unpark. Count the wakeup and, at the end, the turn.
func (e *Engine) Poll(timeout time.Duration) error {
	panic(engine.NotImplemented("06.5", "Engine.Poll"))
}

// start makes the thread of the first Poll the ring's, and prepares the operations that
// are always under way.
//
// TODO step 5: once: lock the goroutine to its thread, enable the ring, prepare the wake,
// the tick and the accepts.
func (e *Engine) start() error {
	panic(engine.NotImplemented("06.5", "Engine.start"))
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
//
// TODO step 5: publish the buffers, and Enter: for at least one completion, or none if
// timeout is 0. The ring has counted its calls (under SQPOLL not every Enter makes one):
// they go into the statistics.
func (e *Engine) enter(timeout time.Duration) error {
	panic(engine.NotImplemented("06.5", "Engine.enter"))
}

// takeIn moves what is done out of the ring, so that the kernel has room for more while
// the handlers run.
//
// TODO step 5: e.batch becomes what was taken early, and what is in the ring now. The
// places in the ring are free from here on.
func (e *Engine) takeIn() {
	panic(engine.NotImplemented("06.5", "Engine.takeIn"))
}

// complete serves one completion.
//
// TODO step 5: which operation is it? TimeoutData is nobody's. Those of the engine itself
// first: accept, wake, tick, and what was prepared without a connection (a close, a
// cancellation of cancelOwn). Then find the connection, check the generation, lower its count
// if there will be no more, and pass the result on. A connection that is gone is released.
// After closeAll an accept, the wake and the tick end with an error: do nothing. (Where an
// accept has still brought somebody, it goes to accepted as ever.) But a tick that was due by
// then has not been found, and goes on (IORING_CQE_F_MORE): cancel it again.
func (e *Engine) complete(cqe abi.CQE) {
	panic(engine.NotImplemented("06.5", "Engine.complete"))
}

// armRecv has the kernel receive for c: until it is told to stop, or once.
//
// TODO step 6: prepare a receive: into a buffer that the kernel picks, multishot if it can
// (then Len is 0; else a buffer's size, since before Linux 6.0 the kernel takes 0 for none);
// without a buffer ring into one of e.buffers.Take.
func (e *Engine) armRecv(c *conn) {
	panic(engine.NotImplemented("06.6", "Engine.armRecv"))
}

// receive is a completion of a receive.
//
// TODO step 6: is the receive over? Which buffer has come? Then: bytes (keep), the end,
// ENOBUFS (into e.starved, once), a cancellation, an error, which ends the input after the
// bytes. A buffer that is not kept is given back. Then serve.
func (e *Engine) receive(c *conn, res int, flags uint32) {
	panic(engine.NotImplemented("06.6", "Engine.receive"))
}

// keep puts n bytes in a buffer at the end of c's list.
//
// TODO step 6: note what is in the buffer in e.received, at the end of c's list.
func (e *Engine) keep(c *conn, buffer uint32, n int) {
	panic(engine.NotImplemented("06.6", "Engine.keep"))
}

// serveReady gives every connection on the ready list its turn: at most the read budget.
// Who has more goes to the end of the next list: round robin.
//
// TODO step 6: serve each, from a list that serve may add to.
func (e *Engine) serveReady() {
	if len(e.ready) > 0 {
		panic(engine.NotImplemented("06.6", "Engine.serveReady"))
	}
}

// serve hands over what c has received, within the budget, and after it the end.
//
// TODO step 6: a new turn, a new budget. Hand over buffer after buffer, or parts, and give
// back those that are used up; the handler may close c at any time. Then the end, if it
// has come, and update.
func (e *Engine) serve(c *conn) {
	panic(engine.NotImplemented("06.6", "Engine.serve"))
}

// held tells whether what c has received waits with the input that is not read yet. That
// goes well as long as the kernel has buffers for the others: clients that do not read
// their answers must not keep those that all share.
//
// TODO step 8: while it is paused, as long as the kernel has more than half of the
// buffers.
func (c *conn) held() bool {
	if c.paused {
		panic(engine.NotImplemented("06.8", "Conn.held"))
	}
	return false
}

// feed starts the receives that found no buffer, as far as there are buffers now.
//
// TODO step 6: as many as there are buffers: the longest waiting first.
func (e *Engine) feed() {
	if len(e.starved) > 0 {
		panic(engine.NotImplemented("06.6", "Engine.feed"))
	}
}
