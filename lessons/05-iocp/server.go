//go:build linux || windows

// Package iocploop is lesson 05: a TCP engine on Windows' I/O completion ports.
//
// A completion engine does not ask whether it could read: it asks the kernel to read,
// and hears when that is done. Until then the memory is the kernel's: the OVERLAPPED, the
// buffer it fills, the bytes it sends. That is the lesson; the rest is that of the others.
package iocploop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"iolab/lessons/05-iocp/iocp"
	"iolab/lessons/engine"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{fmt.Errorf, errors.Join, os.NewSyscallError, math.MaxInt32, syscall.ECONNRESET, unsafe.Pointer(nil), acceptRetry, blockSize, maxGather, maxEntries, drainTime, keySocket, keyWake, accepting, receiving, sending, sockaddr, addrPort}

const (
	acceptsPosted = 8                      // AcceptEx in flight
	acceptRetry   = 100 * time.Millisecond // how long accepting pauses when sockets run out
	addressSize   = 16 + int(unsafe.Sizeof(iocp.RawSockaddrAny{}))
	blockSize     = 16 << 10 // of the send queue
	maxGather     = 16       // blocks that one WSASend takes
	maxFree       = 64       // blocks, and receive buffers, kept for the next
	minEntries    = 64
	maxEntries    = 4096
	drainTime     = 5 * time.Second // for cancelled operations to come back
)

// A completion key says whose a completion is where there is no OVERLAPPED to tell.
const (
	keySocket = iota
	keyWake
)

// Modes are the two choices that an IOCP engine has. New takes both.
type Modes struct {
	// SkipOnSuccess leaves out the completion of an operation that is done at once: the
	// call has said so already (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS).
	SkipOnSuccess bool
	// ZeroByte waits for data with receives of no bytes, so that a silent connection
	// holds no buffer. It costs a second WSARecv for each piece of data.
	ZeroByte bool
}

// Engine is a TCP engine on a completion port. See [engine.Engine].
type Engine struct {
	cfg     engine.Config
	handler engine.Handler
	modes   Modes
	addr    netip.AddrPort

	port     iocp.Handle
	listener iocp.Handle // InvalidHandle after Shutdown has begun
	family   int32
	entries  []iocp.OverlappedEntry
	removed  uint32      // how many entries the last wait has filled
	done     []completed // operations that were done at once, and have not been looked at
	spare    []completed // the other array of the two that take turns as done
	inFlight int         // operations that the kernel has

	accepts []*accept // all of them, in flight or not
	parked  time.Time // when accepting goes on; zero while it is on

	conns   map[*conn]struct{} // also closed ones that the kernel still has operations of
	closing []*conn            // closed, and not yet given to OnClose
	lastID  uint64
	buffers [][]byte // free receive buffers: the read budget each
	blocks  [][]byte // free blocks of send queues

	draining bool // Shutdown has begun
	started  bool // WSAStartup has been called
	closed   bool
	sweepAt  time.Time // when idle connections are looked for next
	now      time.Time // when this turn's wait returned
	stats    engine.Stats

	wakeMu sync.Mutex // guards woken, and port against Wake
	woken  bool       // posted and not yet seen by the loop
}

// op is an operation. It is the engine's or the kernel's, never both's:
//
//	           lend                  the kernel is done
//	engine's ────────> kernel's ──────────────────────> queued at the port
//	   ^                  │  ^                                 │
//	   │ takeBack         │  └ CancelIoEx, closesocket:        │
//	   │                  │    it comes all the sooner         │
//	   ├── done at once <─┘                                    │
//	   └───────────────── Poll dequeues it <───────────────────┘
//
// The call that starts it (AcceptEx, WSARecv, WSASend) moves it on from lend, and when
// it fails, or is done at once and SkipOnSuccess is set, straight back: no completion
// comes then. In all other cases exactly one does, whatever becomes of the operation.
//
// While it is the kernel's, nobody may touch it or its buffers, and the garbage collector
// must not: it is part of a conn or an accept, which the engine's tables hold until its
// completion has come, and it is pinned together with its buffers.
type op struct {
	iocp.Overlapped // first: a completion brings back its address, which is the op's
	kind            kind
	owner           *conn         // nil for an accept
	accept          *accept       // nil for a conn's
	bufs            []iocp.WSABuf // what is lent
	n, flags        uint32        // what the call writes if it is done at once
	pin             runtime.Pinner
}

type kind int

const (
	accepting kind = iota
	receiving
	sending
)

// completed is an operation that was done at once.
type completed struct {
	o *op
	n int
}

// accept is an AcceptEx, and the socket that the next client will get.
type accept struct {
	op
	socket    iocp.Handle           // InvalidHandle while it is parked
	addresses [2 * addressSize]byte // AcceptEx puts them here
}

type conn struct {
	engine.Identity
	e        *Engine
	socket   iocp.Handle
	inFlight int // operations that the kernel has: 0, 1 or 2
	active   time.Time

	recv      op
	receiving bool   // from arm until OnData has returned
	buf       []byte // what recv fills, nil if it only waits

	send    op
	sending bool     // at most one is in flight
	out     [][]byte // blocks that are not sent, oldest first, those in flight included
	sent    int      // bytes of out[0] that are
	queued  int      // bytes in out that are not

	paused bool  // not read from until the queue has drained
	eof    bool  // the peer has ended its output
	finish bool  // CloseWrite was called
	closed bool  // in e.closing, or gone
	err    error // for OnClose
}

// New returns an engine that listens as cfg says.
func New(cfg engine.Config, handler engine.Handler) (*Engine, error) {
	return NewWith(cfg, handler, Modes{SkipOnSuccess: true, ZeroByte: true})
}

// NewWith is New with other modes.
func NewWith(cfg engine.Config, handler engine.Handler, modes Modes) (*Engine, error) {
	cfg = cfg.WithDefaults()
	addr, err := cfg.ListenAddr()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: cfg, handler: handler, modes: modes,
		listener: iocp.InvalidHandle,
		entries:  make([]iocp.OverlappedEntry, minEntries),
		conns:    map[*conn]struct{}{},
	}
	for range acceptsPosted {
		a := &accept{socket: iocp.InvalidHandle}
		a.op.accept = a
		e.accepts = append(e.accepts, a)
	}
	if err := e.setup(addr); err != nil {
		e.Close()
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return e, nil
}

// TODO step 1: WSAStartup and the completion port, then listen. What is opened is kept in
// e at once, so that Close finds it.
func (e *Engine) setup(addr netip.AddrPort) (err error) {
	panic(engine.NotImplemented("05.1", "Engine.setup"))
}

// TODO step 1: a socket, SO_EXCLUSIVEADDRUSE, bind, listen, the address it has got; then
// associate it with the port.
func (e *Engine) listen(addr netip.AddrPort) (err error) {
	panic(engine.NotImplemented("05.1", "Engine.listen"))
}

// newSocket makes a socket that child processes do not inherit.
//
// TODO step 1: WSASocket: for overlapped operations, and not inherited by child processes.
func (e *Engine) newSocket() (iocp.Handle, error) {
	panic(engine.NotImplemented("05.1", "Engine.newSocket"))
}

// associate has the completions of the socket's operations come to the port.
//
// TODO step 1: CreateIoCompletionPort once more, with the socket; and if e.modes says so,
// SetFileCompletionNotificationModes: no completions for what is done at once.
func (e *Engine) associate(s iocp.Handle) error {
	panic(engine.NotImplemented("05.1", "Engine.associate"))
}

// lend makes o the kernel's. What starts the operation comes next, and then posted.
//
// TODO step 2: clear the OVERLAPPED, pin the operation and its buffers, and count:
// e.inFlight, the owner's inFlight, the call.
func (e *Engine) lend(o *op, call engine.Call) {
	panic(engine.NotImplemented("05.2", "Engine.lend"))
}

// posted looks at what the call that started o has returned: done means that the
// operation is over and no completion comes; otherwise one does, unless there is an error.
//
// TODO step 2: three cases: a completion will come; it is done and none will; it has
// failed and none will. In the last two the operation is the engine's again.
func (e *Engine) posted(o *op, err error) (done bool, _ error) {
	panic(engine.NotImplemented("05.2", "Engine.posted"))
}

// takeBack makes o the engine's again.
//
// TODO step 2: the opposite of lend.
func (e *Engine) takeBack(o *op) {
	panic(engine.NotImplemented("05.2", "Engine.takeBack"))
}

// Addr implements [engine.Engine].
func (e *Engine) Addr() netip.AddrPort { return e.addr }

// ConnectionCount implements [engine.Engine].
func (e *Engine) ConnectionCount() int { return e.stats.Connections }

// Stats implements [engine.Engine].
func (e *Engine) Stats() engine.Stats { return e.stats }

// Poll implements [engine.Engine].
//
// TODO step 2: post the accepts; dequeue; complete what is in e.done (done at once, in the
// turn before or just now); dispatch each entry; then sweep, reap and resize. Count the
// wakeup and, at the end, the turn. Mind that completing an operation may put another into
// e.done: that one has its turn in the next.
func (e *Engine) Poll(timeout time.Duration) error {
	panic(engine.NotImplemented("05.2", "Engine.Poll"))
}

// wait is how long Poll may wait: timeout, or less if there is something to do
// before then.
func (e *Engine) wait(timeout time.Duration) time.Duration {
	if len(e.closing) > 0 || len(e.done) > 0 {
		return 0 // closed between two turns and owed an OnClose, or done at once
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

// dequeue waits for completions and returns how many entries it has filled.
//
// TODO step 2: GetQueuedCompletionStatusEx into e.entries. A timeout is no error. Count
// the call.
func (e *Engine) dequeue(timeout time.Duration) (int, error) {
	panic(engine.NotImplemented("05.2", "Engine.dequeue"))
}

// millis is d as GetQueuedCompletionStatusEx wants it, rounded up: a wait of half a
// millisecond rounded down to none would be a busy loop.
//
// TODO step 2: negative is INFINITE; round up.
func millis(d time.Duration) uint32 {
	panic(engine.NotImplemented("05.2", "millis"))
}

// dispatch takes one completion.
//
// TODO step 2: no OVERLAPPED: a wake. Else find the op that it is the first field of, take
// it back, find its error if its status is not 0, and complete it.
func (e *Engine) dispatch(entry *iocp.OverlappedEntry) {
	panic(engine.NotImplemented("05.2", "Engine.dispatch"))
}

// failure is the error of an operation whose status is not 0. The port's own way to
// say it (ERROR_NETNAME_DELETED and its like) is coarser than Winsock's.
//
// TODO step 2: WSAGetOverlappedResult on the socket that the call was made on: the owner's;
// for an accept the listener. If that finds no error, one all the same: the status was not 0.
func (e *Engine) failure(o *op) error {
	panic(engine.NotImplemented("05.2", "Engine.failure"))
}

// complete goes on where the operation o has ended: it is the engine's again.
func (e *Engine) complete(o *op, n int, err error) {
	switch o.kind {
	case accepting:
		e.accepted(o.accept, err)
	case receiving:
		e.received(o.owner, n, err)
	case sending:
		e.sent(o.owner, n, err)
	}
	if c := o.owner; c != nil {
		e.free(c)
	}
}

// accept posts every AcceptEx that is not in flight, unless accepting pauses.
//
// TODO step 2: post each of e.accepts that has no socket, unless accepting pauses or is
// over.
func (e *Engine) accept() {
	panic(engine.NotImplemented("05.2", "Engine.accept"))
}

// postAccept posts an AcceptEx. It does not ask for the client's first bytes: the accept
// would not complete before they have come, and a silent client would hold it.
//
// TODO step 2: a new socket, lend, AcceptEx, posted. Nothing of the client's first bytes.
// An accept that is done at once goes to e.done. No socket, or an error: park.
func (e *Engine) postAccept(a *accept) {
	panic(engine.NotImplemented("05.2", "Engine.postAccept"))
}

// accepted takes what an AcceptEx has brought. The next turn posts it again.
//
// TODO step 3: the first lines are step 2's: an accept that failed. Else the accept's
// socket is the client's: open it.
func (e *Engine) accepted(a *accept, err error) {
	if err != nil || e.listener == iocp.InvalidHandle {
		e.closeSocket(&a.socket) // cancelled, or a client that left before it was accepted
		return
	}
	panic(engine.NotImplemented("05.3", "Engine.accepted"))
}

// peer is the client's address.
//
// TODO step 3: GetAcceptExSockaddrs finds the address in a.addresses.
func (a *accept) peer() netip.AddrPort {
	panic(engine.NotImplemented("05.3", "accept.peer"))
}

// TODO step 3: refuse what is too many; SO_UPDATE_ACCEPT_CONTEXT, associate, TCP_NODELAY;
// make the conn with its two ops, keep it in e.conns, tell the handler, and update.
func (e *Engine) open(socket iocp.Handle, peer netip.AddrPort) {
	panic(engine.NotImplemented("05.3", "Engine.open"))
}

func (e *Engine) refuse(socket iocp.Handle) {
	e.stats.Refused++
	e.closeSocket(&socket)
}

// arm posts a receive, unless there is one or the connection is not to be read from.
//
// TODO step 3: post a receive if there is none and the connection wants one: without a
// buffer if e.modes says so. One that is done at once goes to e.done.
func (e *Engine) arm(c *conn) {
	panic(engine.NotImplemented("05.3", "Engine.arm"))
}

// receive posts a WSARecv into buf. Without a buffer it receives nothing and is done
// when there is something to receive.
//
// TODO step 3: note that the connection receives, and into what; lend, WSARecv, posted. An
// error is the receive's result like any other.
func (e *Engine) receive(c *conn, buf []byte) (done bool, n int) {
	panic(engine.NotImplemented("05.3", "Engine.receive"))
}

// received takes what a WSARecv has brought.
//
// TODO step 4: a closed connection: nothing. An error ends it. A receive without a buffer:
// there is something, so receive it. 0 bytes are the end of data; else OnData (not while
// draining). Then give the buffer back, and update. Keep the counters and c.active up to
// date.
func (e *Engine) received(c *conn, n int, err error) {
	panic(engine.NotImplemented("05.4", "Engine.received"))
}

// buffer is a receive buffer, and release gives it back.
func (e *Engine) buffer() []byte {
	return take(&e.buffers, e.cfg.ReadBudget)
}

func (e *Engine) release(buf []byte) { give(&e.buffers, buf) }

func take(free *[][]byte, size int) []byte {
	if n := len(*free); n > 0 {
		b := (*free)[n-1]
		(*free)[n-1] = nil
		*free = (*free)[:n-1]
		return b
	}
	return make([]byte, size)
}

func give(free *[][]byte, b []byte) {
	if b != nil && len(*free) < maxFree {
		*free = append(*free, b)
	}
}

// sent takes note of what a WSASend has sent, and sends what has been queued meanwhile.
//
// TODO step 5: no send is in flight any more. An error ends the connection; else drop what
// is sent, flush what has been queued meanwhile, and update. The queue of a closed
// connection is given back here.
func (e *Engine) sent(c *conn, n int, err error) {
	panic(engine.NotImplemented("05.5", "Engine.sent"))
}

// Queued implements [engine.Conn].
func (c *conn) Queued() int { return c.queued }

// Send implements [engine.Conn].
//
// TODO step 5: refuse what may not be sent, then enqueue, flush, throttle.
func (c *conn) Send(p []byte) error {
	panic(engine.NotImplemented("05.5", "Conn.Send"))
}

// enqueue copies p to the end of the queue. The bytes of the last block behind those that
// are in flight are still ours.
//
// TODO step 5: copy p into the last block as far as it has room, and into new ones.
func (c *conn) enqueue(p []byte) {
	panic(engine.NotImplemented("05.5", "Conn.enqueue"))
}

// dequeue drops the first n bytes of the queue: they are sent.
//
// TODO step 5: n bytes less, and the blocks that are sent completely given back. Keep the
// counters and c.active up to date.
func (c *conn) dequeue(n int) {
	panic(engine.NotImplemented("05.5", "Conn.dequeue"))
}

// drop gives the queue of a closed connection back.
//
// TODO step 5: give all blocks back.
func (c *conn) drop() {
	if len(c.out) == 0 {
		return
	}
	panic(engine.NotImplemented("05.5", "Conn.drop"))
}

// flush posts a WSASend of what is queued, unless one is in flight: what the kernel holds
// locked stays small, and what is queued meanwhile goes with the next, all blocks in one
// call.
//
// TODO step 5: while something is queued and no send is in flight: a WSABUF for each
// block, at most maxGather; lend, WSASend, posted. One that is done at once is a reason to
// go on, an error ends the connection. Then the FIN that a CloseWrite has left for the
// end.
func (c *conn) flush() error {
	panic(engine.NotImplemented("05.5", "Conn.flush"))
}

// update goes on with what c waits for now.
//
// TODO step 5: the first lines are step 4's. Then, with something queued or not: throttle,
// and arm.
func (c *conn) update() {
	if c.eof && c.queued == 0 {
		c.end(nil)
	}
	if c.closed {
		return
	}
	if c.queued == 0 {
		c.e.arm(c)
		return
	}
	panic(engine.NotImplemented("05.5", "Conn.update"))
}

// throttle stops reading from a peer that does not read what it is sent, and goes
// on when the queue has drained. Two marks, so that it does not flip at each write.
//
// TODO step 7: keep c.paused: it goes on above the high-water mark and off at the low one.
func (c *conn) throttle() {
	if c.queued <= c.e.cfg.HighWater {
		return
	}
	panic(engine.NotImplemented("05.7", "Conn.throttle"))
}

// CloseWrite implements [engine.Conn].
//
// TODO step 6: note it, and send the FIN: now, or from flush when the queue is empty.
func (c *conn) CloseWrite() error {
	panic(engine.NotImplemented("05.6", "Conn.CloseWrite"))
}

// TODO step 6: shutdown of the sending side.
func (c *conn) sendFIN() {
	panic(engine.NotImplemented("05.6", "Conn.sendFIN"))
}

// portable is err under the name that it has on every system, where there is one.
//
// TODO step 4: a reset is syscall.ECONNRESET, whichever of its two names it has.
func portable(err error) error {
	panic(engine.NotImplemented("05.4", "portable"))
}

// Close implements [engine.Conn].
//
// TODO step 6: end it, without an error.
func (c *conn) Close() error {
	panic(engine.NotImplemented("05.6", "Conn.Close"))
}

// end marks c closed; reap does the rest when no callback is running.
//
// TODO step 4: mark the connection and remember err. Once: whoever comes second changes
// nothing.
func (c *conn) end(err error) {
	panic(engine.NotImplemented("05.4", "Conn.end"))
}

// reap closes the sockets of ended connections and makes their last callback. What they
// have in flight completes all the same, and frees them then.
//
// TODO step 4: for each connection in e.closing, in order: cancel what it has in flight,
// close its socket, lower the count, OnClose with its error, free. OnClose may end others,
// which then stand at the end of the same list.
func (e *Engine) reap() {
	if len(e.closing) == 0 {
		return
	}
	panic(engine.NotImplemented("05.4", "Engine.reap"))
}

// free forgets a closed connection when the kernel has nothing of it any more.
//
// TODO step 4: out of e.conns, if its socket is closed and the kernel has nothing of it
// any more.
func (e *Engine) free(c *conn) {
	panic(engine.NotImplemented("05.4", "Engine.free"))
}

func (e *Engine) closeSocket(s *iocp.Handle) {
	if *s != iocp.InvalidHandle {
		e.stats.Calls[engine.CallClose]++
		_ = iocp.Closesocket(*s)
		*s = iocp.InvalidHandle
	}
}

// park stops posting accepts for a while: there is no socket to be had. Clients wait in
// the accept queue. reap ends the pause; sockets come free elsewhere in the process too.
//
// TODO step 8: count it in Stats.Parked, and set the time at which to try again.
func (e *Engine) park() {
	panic(engine.NotImplemented("05.8", "Engine.park"))
}

// sweep ends connections on which nothing has moved for the idle timeout.
//
// TODO step 8: a few times in an idle timeout, end every connection that has been quiet
// for longer. e.sweepAt is when the next look is due; Poll's wait ends by then.
func (e *Engine) sweep() {
	if e.cfg.IdleTimeout <= 0 {
		return
	}
	panic(engine.NotImplemented("05.8", "Engine.sweep"))
}

// resize fits the array of entries to what the last wait returned: one too short costs
// more waits, one too long costs memory and cache.
//
// TODO step 2: double it when it was full, halve it when three quarters were unused,
// within minEntries and maxEntries.
func (e *Engine) resize(n int) {
	panic(engine.NotImplemented("05.2", "Engine.resize"))
}

// Wake implements [engine.Engine].
//
// TODO step 9: post a completion with keyWake, unless a wake is on its way already. It may
// be called from any goroutine, also after Close.
func (e *Engine) Wake() {
	panic(engine.NotImplemented("05.9", "Engine.Wake"))
}

// clearWake takes note of a wake. Nothing is lost: whoever calls Wake from here on finds
// woken false, and the loop has yet to look at what there is to do.
//
// TODO step 9: allow the next wake.
func (e *Engine) clearWake() {
	panic(engine.NotImplemented("05.9", "Engine.clearWake"))
}

// Shutdown implements [engine.Engine].
//
// TODO step 9: stop accepting, end every connection's output, update it (what is paused is
// received from again, and discarded), and poll until all are gone or ctx is done (which
// has to wake a Poll that waits).
func (e *Engine) Shutdown(ctx context.Context) error {
	panic(engine.NotImplemented("05.9", "Engine.Shutdown"))
}

// stopAccepting closes the listener. The accepts in flight come back as failed.
//
// TODO step 1: cancel what is in flight on the listener and close it, if that has not been
// done. A pause in accepting ends too (e.parked): wait would find its time over again and again.
func (e *Engine) stopAccepting() {
	panic(engine.NotImplemented("05.1", "Engine.stopAccepting"))
}

// Close implements [engine.Engine].
func (e *Engine) Close() error { return e.closeAll(engine.ErrClosed) }

// closeAll ends every connection with err and frees all that the engine holds, once the
// kernel has given it back.
//
// TODO step 1: once: end every connection with err, reap, stop accepting, drain, and then
// close what setup opened.
func (e *Engine) closeAll(err error) error {
	panic(engine.NotImplemented("05.1", "Engine.closeAll"))
}

// drain waits for the operations that are still the kernel's. The port and the memory must
// stay until then.
//
// TODO step 2: dequeue and dispatch until nothing is in flight; after drainTime say how
// many are missing.
func (e *Engine) drain() error {
	if e.inFlight == 0 {
		return nil
	}
	panic(engine.NotImplemented("05.2", "Engine.drain"))
}

// sockaddr is addr and its address family, as Winsock wants them.
func sockaddr(addr netip.AddrPort) (family int32, sa iocp.Sockaddr) {
	if ip := addr.Addr(); ip.Is4() || ip.Is4In6() {
		return iocp.AF_INET, &iocp.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}
	}
	return iocp.AF_INET6, &iocp.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
}

// addrPort is the address in sa.
func addrPort(sa iocp.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *iocp.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *iocp.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
