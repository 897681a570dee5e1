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
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"iolab/lessons/05-iocp/iocp"
	"iolab/lessons/engine"
)

const (
	acceptsPosted = 8                      // AcceptEx in flight
	acceptRetry   = 100 * time.Millisecond // how long accepting pauses when sockets run out
	longest       = 24 * time.Hour         // one wait: from 50 days on, the milliseconds are no DWORD
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

func (e *Engine) setup(addr netip.AddrPort) (err error) {
	if err := iocp.WSAStartup(0x202, &iocp.WSAData{}); err != nil {
		return os.NewSyscallError("WSAStartup", err)
	}
	e.started = true
	// One loop dequeues, so one thread is all that the port need let run.
	if e.port, err = iocp.CreateIoCompletionPort(iocp.InvalidHandle, 0, 0, 1); err != nil {
		return os.NewSyscallError("CreateIoCompletionPort", err)
	}
	return e.listen(addr)
}

func (e *Engine) listen(addr netip.AddrPort) (err error) {
	var sa iocp.Sockaddr
	e.family, sa = sockaddr(addr)
	if e.listener, err = e.newSocket(); err != nil {
		return err
	}
	// Without it a process of the same user may bind the port too, and take our clients.
	if err := iocp.SetsockoptInt(e.listener, iocp.SOL_SOCKET, iocp.SO_EXCLUSIVEADDRUSE, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := iocp.Bind(e.listener, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := iocp.Listen(e.listener, e.cfg.Backlog); err != nil {
		return os.NewSyscallError("listen", err)
	}
	if sa, err = iocp.Getsockname(e.listener); err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	e.addr = addrPort(sa)
	return e.associate(e.listener)
}

// newSocket makes a socket that child processes do not inherit.
func (e *Engine) newSocket() (iocp.Handle, error) {
	s, err := iocp.WSASocket(e.family, iocp.SOCK_STREAM, iocp.IPPROTO_TCP, nil, 0, iocp.WSA_FLAG_OVERLAPPED|iocp.WSA_FLAG_NO_HANDLE_INHERIT)
	return s, os.NewSyscallError("WSASocket", err)
}

// associate has the completions of the socket's operations come to the port.
func (e *Engine) associate(s iocp.Handle) error {
	if _, err := iocp.CreateIoCompletionPort(s, e.port, keySocket, 0); err != nil {
		return os.NewSyscallError("CreateIoCompletionPort", err)
	}
	if !e.modes.SkipOnSuccess {
		return nil
	}
	return os.NewSyscallError("SetFileCompletionNotificationModes",
		iocp.SetFileCompletionNotificationModes(s, iocp.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS))
}

// lend makes o the kernel's. What starts the operation comes next, and then posted.
func (e *Engine) lend(o *op, call engine.Call) {
	o.Overlapped = iocp.Overlapped{}
	o.n, o.flags = 0, 0
	o.pin.Pin(o)
	for _, b := range o.bufs {
		if b.Buf != nil {
			o.pin.Pin(b.Buf)
		}
	}
	e.inFlight++
	if o.owner != nil {
		o.owner.inFlight++
	}
	e.stats.Calls[call]++
}

// posted looks at what the call that started o has returned: done means that the
// operation is over and no completion comes; otherwise one does, unless there is an error.
func (e *Engine) posted(o *op, err error) (done bool, _ error) {
	switch {
	case err == iocp.ERROR_IO_PENDING, err == nil && !e.modes.SkipOnSuccess:
		return false, nil
	case err == nil:
		e.takeBack(o)
		return true, nil
	}
	e.takeBack(o)
	return false, err
}

// takeBack makes o the engine's again.
func (e *Engine) takeBack(o *op) {
	o.pin.Unpin()
	e.inFlight--
	if o.owner != nil {
		o.owner.inFlight--
	}
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
	e.accept()
	n, err := e.dequeue(e.wait(timeout))
	if err != nil {
		return err
	}
	e.now = time.Now()
	if n+len(e.done) > 0 {
		e.stats.Wakeups++
	}
	// What is done at once from here on has its turn in the next.
	done := e.done
	e.done = e.spare[:0]
	for _, c := range done {
		e.complete(c.o, c.n, nil)
	}
	clear(done)
	e.spare = done
	for i := range n {
		e.dispatch(&e.entries[i])
	}
	e.sweep()
	e.reap()
	e.resize(n)
	e.stats.Turn(e.now, e.cfg.TurnBudget)
	return nil
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
func (e *Engine) dequeue(timeout time.Duration) (int, error) {
	err := iocp.GetQueuedCompletionStatusEx(e.port, &e.entries[0], uint32(len(e.entries)), &e.removed, millis(timeout), false)
	e.stats.Calls[engine.CallGetQueuedCompletionStatusEx]++
	if err != nil && err != iocp.WAIT_TIMEOUT {
		return 0, os.NewSyscallError("GetQueuedCompletionStatusEx", err)
	}
	return int(e.removed), nil
}

// millis is d as GetQueuedCompletionStatusEx wants it, rounded up: a wait of half a
// millisecond rounded down to none would be a busy loop.
func millis(d time.Duration) uint32 {
	if d < 0 {
		return iocp.INFINITE
	}
	return uint32((min(d, longest) + time.Millisecond - 1) / time.Millisecond)
}

// dispatch takes one completion.
func (e *Engine) dispatch(entry *iocp.OverlappedEntry) {
	if entry.Overlapped == nil {
		e.clearWake()
		return
	}
	// The OVERLAPPED is the first field of an op, which the engine's tables hold.
	o := (*op)(unsafe.Pointer(entry.Overlapped))
	entry.Overlapped = nil
	e.takeBack(o)
	var err error
	if entry.Internal != 0 {
		err = e.failure(o)
	}
	e.complete(o, int(entry.Bytes), err)
}

// failure is the error of an operation whose status is not 0. The port's own way to
// say it (ERROR_NETNAME_DELETED and its like) is coarser than Winsock's.
func (e *Engine) failure(o *op) error {
	socket := e.listener
	if o.owner != nil {
		socket = o.owner.socket
	}
	if err := iocp.WSAGetOverlappedResult(socket, &o.Overlapped, &o.n, false, &o.flags); err != nil {
		return err
	}
	return iocp.ERROR_OPERATION_ABORTED
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
func (e *Engine) accept() {
	if e.listener == iocp.InvalidHandle || time.Now().Before(e.parked) {
		return
	}
	e.parked = time.Time{}
	for _, a := range e.accepts {
		if a.socket == iocp.InvalidHandle && e.parked.IsZero() {
			e.postAccept(a)
		}
	}
}

// postAccept posts an AcceptEx. It does not ask for the client's first bytes: the accept
// would not complete before they have come, and a silent client would hold it.
func (e *Engine) postAccept(a *accept) {
	var err error
	if a.socket, err = e.newSocket(); err != nil {
		a.socket = iocp.InvalidHandle
		e.park()
		return
	}
	a.kind = accepting
	a.bufs = append(a.bufs[:0], iocp.WSABuf{Len: uint32(len(a.addresses)), Buf: &a.addresses[0]})
	e.lend(&a.op, engine.CallAcceptEx)
	done, err := e.posted(&a.op, iocp.AcceptEx(e.listener, a.socket, &a.addresses[0], 0, uint32(addressSize), uint32(addressSize), &a.n, &a.Overlapped))
	switch {
	case err != nil:
		e.closeSocket(&a.socket)
		e.park()
	case done:
		e.done = append(e.done, completed{&a.op, 0})
	}
}

// accepted takes what an AcceptEx has brought. The next turn posts it again.
func (e *Engine) accepted(a *accept, err error) {
	if err != nil || e.listener == iocp.InvalidHandle {
		e.closeSocket(&a.socket) // cancelled, or a client that left before it was accepted
		return
	}
	socket := a.socket
	a.socket = iocp.InvalidHandle
	e.open(socket, a.peer())
}

// peer is the client's address.
func (a *accept) peer() netip.AddrPort {
	var local, remote *iocp.RawSockaddrAny
	var localLen, remoteLen int32
	iocp.GetAcceptExSockaddrs(&a.addresses[0], 0, uint32(addressSize), uint32(addressSize), &local, &localLen, &remote, &remoteLen)
	sa, err := remote.Sockaddr() // remote points into a.addresses
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

func (e *Engine) open(socket iocp.Handle, peer netip.AddrPort) {
	if e.cfg.MaxConnections > 0 && e.stats.Connections >= e.cfg.MaxConnections {
		e.refuse(socket)
		return
	}
	// The socket does not know yet what it belongs to: shutdown and getpeername fail.
	err := iocp.Setsockopt(socket, iocp.SOL_SOCKET, iocp.SO_UPDATE_ACCEPT_CONTEXT, (*byte)(unsafe.Pointer(&e.listener)), int32(unsafe.Sizeof(e.listener)))
	if err == nil {
		err = e.associate(socket)
	}
	if err != nil {
		e.refuse(socket)
		return
	}
	_ = iocp.SetsockoptInt(socket, iocp.IPPROTO_TCP, iocp.TCP_NODELAY, 1) // it fails on a connection that is dead already
	e.lastID++
	c := &conn{Identity: engine.NewIdentity(e.lastID, peer), e: e, socket: socket, active: e.now}
	c.recv.kind, c.recv.owner = receiving, c
	c.send.kind, c.send.owner = sending, c
	e.conns[c] = struct{}{}
	e.stats.Connections++
	e.stats.Accepts++
	e.handler.OnOpen(c)
	c.update()
}

func (e *Engine) refuse(socket iocp.Handle) {
	e.stats.Refused++
	e.closeSocket(&socket)
}

// arm posts a receive, unless there is one or the connection is not to be read from.
func (e *Engine) arm(c *conn) {
	if c.receiving || c.paused || c.eof || c.closed {
		return
	}
	var buf []byte
	if !e.modes.ZeroByte {
		buf = e.buffer()
	}
	if done, n := e.receive(c, buf); done {
		e.done = append(e.done, completed{&c.recv, n})
	}
}

// receive posts a WSARecv into buf. Without a buffer it receives nothing and is done
// when there is something to receive.
func (e *Engine) receive(c *conn, buf []byte) (done bool, n int) {
	c.receiving, c.buf = true, buf
	c.recv.bufs = append(c.recv.bufs[:0], iocp.WSABuf{Len: uint32(len(buf)), Buf: unsafe.SliceData(buf)})
	e.lend(&c.recv, engine.CallWSARecv)
	done, err := e.posted(&c.recv, iocp.WSARecv(c.socket, &c.recv.bufs[0], 1, &c.recv.n, &c.recv.flags, &c.recv.Overlapped, nil))
	if err != nil {
		e.received(c, 0, err)
	}
	return done, int(c.recv.n)
}

// received takes what a WSARecv has brought.
func (e *Engine) received(c *conn, n int, err error) {
	buf := c.buf
	c.buf = nil
	switch {
	case c.closed:
	case err != nil:
		c.end(os.NewSyscallError("WSARecv", portable(err)))
	case buf == nil && !c.paused:
		// There is something. What there is costs a buffer only now, and if it is there
		// at once it is handed on in this turn.
		if done, n := e.receive(c, e.buffer()); done {
			e.received(c, n, nil)
		}
		return
	case buf == nil:
	case n == 0:
		c.eof = true
	default:
		c.active = e.now
		e.stats.BytesIn += uint64(n)
		if !e.draining {
			e.handler.OnData(c, buf[:n])
		}
	}
	e.release(buf)
	c.receiving = false
	c.update()
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
func (e *Engine) sent(c *conn, n int, err error) {
	c.sending = false
	switch {
	case c.closed:
	case err != nil:
		c.end(os.NewSyscallError("WSASend", portable(err)))
	default:
		c.dequeue(n)
		if c.flush() == nil {
			c.update()
		}
	}
	if c.closed && !c.sending {
		c.drop()
	}
}

// Queued implements [engine.Conn].
func (c *conn) Queued() int { return c.queued }

// Send implements [engine.Conn].
func (c *conn) Send(p []byte) error {
	if c.closed || c.finish {
		return engine.ErrClosed
	}
	if c.queued+len(p) > c.e.cfg.HardLimit {
		return engine.ErrBackpressure
	}
	// p is the caller's again when Send returns, and what the kernel is given must not be.
	c.enqueue(p)
	if err := c.flush(); err != nil {
		return err
	}
	c.throttle()
	return nil
}

// enqueue copies p to the end of the queue. The bytes of the last block behind those that
// are in flight are still ours.
func (c *conn) enqueue(p []byte) {
	c.queued += len(p)
	for len(p) > 0 {
		last := len(c.out) - 1
		if last < 0 || len(c.out[last]) == cap(c.out[last]) {
			c.out = append(c.out, take(&c.e.blocks, blockSize)[:0])
			last++
		}
		block := c.out[last]
		n := min(len(p), cap(block)-len(block))
		c.out[last] = append(block, p[:n]...)
		p = p[n:]
	}
}

// dequeue drops the first n bytes of the queue: they are sent.
func (c *conn) dequeue(n int) {
	c.active = c.e.now
	c.e.stats.BytesOut += uint64(n)
	c.queued -= n
	c.sent += n
	done := 0
	for done < len(c.out) && c.sent >= len(c.out[done]) {
		c.sent -= len(c.out[done])
		give(&c.e.blocks, c.out[done][:blockSize])
		done++
	}
	c.out = slices.Delete(c.out, 0, done) // the list stays where it is: the next message needs one again
}

// drop gives the queue of a closed connection back.
func (c *conn) drop() {
	for _, block := range c.out {
		give(&c.e.blocks, block[:blockSize])
	}
	c.out, c.sent, c.queued = nil, 0, 0
}

// flush posts a WSASend of what is queued, unless one is in flight: what the kernel holds
// locked stays small, and what is queued meanwhile goes with the next, all blocks in one
// call.
func (c *conn) flush() error {
	e := c.e
	for !c.sending && c.queued > 0 && !c.closed {
		c.send.bufs = c.send.bufs[:0]
		skip := c.sent
		for _, block := range c.out[:min(len(c.out), maxGather)] {
			block = block[skip:]
			skip = 0
			c.send.bufs = append(c.send.bufs, iocp.WSABuf{Len: uint32(len(block)), Buf: &block[0]})
		}
		c.sending = true
		e.lend(&c.send, engine.CallWSASend)
		result := iocp.WSASend(c.socket, &c.send.bufs[0], uint32(len(c.send.bufs)), &c.send.n, 0, &c.send.Overlapped, nil)
		if result == iocp.ERROR_IO_PENDING {
			e.stats.ShortWrites++
		}
		done, err := e.posted(&c.send, result)
		if err != nil {
			c.sending = false
			err = os.NewSyscallError("WSASend", portable(err))
			c.end(err)
			return err
		}
		if done {
			c.sending = false
			c.dequeue(int(c.send.n))
		}
	}
	if c.queued == 0 && c.finish {
		c.sendFIN()
	}
	return nil
}

// update goes on with what c waits for now.
func (c *conn) update() {
	if c.eof && c.queued == 0 {
		c.end(nil)
	}
	if c.closed {
		return
	}
	c.throttle()
	c.e.arm(c)
}

// throttle stops reading from a peer that does not read what it is sent, and goes
// on when the queue has drained. Two marks, so that it does not flip at each write.
func (c *conn) throttle() {
	switch {
	case c.e.draining: // what is received now is discarded, and adds nothing
		c.paused = false
	case c.queued > c.e.cfg.HighWater:
		c.paused = true
	case c.queued <= c.e.cfg.LowWater:
		c.paused = false
	}
}

// CloseWrite implements [engine.Conn].
func (c *conn) CloseWrite() error {
	if c.closed || c.finish {
		return nil
	}
	c.finish = true
	if c.queued == 0 {
		c.sendFIN()
	}
	return nil
}

func (c *conn) sendFIN() {
	c.e.stats.Calls[engine.CallShutdown]++
	if err := iocp.Shutdown(c.socket, iocp.SD_SEND); err != nil {
		c.end(os.NewSyscallError("shutdown", portable(err)))
	}
}

// portable is err under the name that it has on every system, where there is one.
func portable(err error) error {
	switch err {
	case iocp.WSAECONNRESET, iocp.ERROR_NETNAME_DELETED:
		return syscall.ECONNRESET
	case iocp.WSAECONNABORTED, iocp.ERROR_CONNECTION_ABORTED:
		return syscall.ECONNABORTED
	}
	return err
}

// Close implements [engine.Conn].
func (c *conn) Close() error {
	c.end(nil)
	return nil
}

// end marks c closed; reap does the rest when no callback is running.
func (c *conn) end(err error) {
	if c.closed {
		return
	}
	c.closed, c.err = true, err
	c.e.closing = append(c.e.closing, c)
}

// reap closes the sockets of ended connections and makes their last callback. What they
// have in flight completes all the same, and frees them then.
func (e *Engine) reap() {
	for i := 0; i < len(e.closing); i++ { // OnClose may end others
		c := e.closing[i]
		if c.inFlight > 0 {
			// closesocket would do that too, but not everywhere for a send.
			e.stats.Calls[engine.CallCancelIoEx]++
			_ = iocp.CancelIoEx(c.socket, nil) // ERROR_NOT_FOUND: all are done, and queued
		}
		e.closeSocket(&c.socket)
		e.stats.Connections--
		if !c.sending {
			c.drop()
		}
		e.handler.OnClose(c, c.err)
		e.free(c)
	}
	if len(e.closing) > 0 && !e.parked.IsZero() {
		e.parked = e.now // there are descriptors again
	}
	clear(e.closing)
	e.closing = e.closing[:0]
}

// free forgets a closed connection when the kernel has nothing of it any more.
func (e *Engine) free(c *conn) {
	if c.socket == iocp.InvalidHandle && c.inFlight == 0 {
		delete(e.conns, c)
	}
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
func (e *Engine) park() {
	e.stats.Parked++
	e.parked = e.now.Add(acceptRetry)
}

// sweep ends connections on which nothing has moved for the idle timeout.
func (e *Engine) sweep() {
	if e.cfg.IdleTimeout <= 0 || e.now.Before(e.sweepAt) {
		return
	}
	e.sweepAt = e.now.Add(e.cfg.IdleTimeout / 4)
	for c := range e.conns {
		if e.now.Sub(c.active) > e.cfg.IdleTimeout {
			c.end(engine.ErrIdleTimeout)
		}
	}
}

// resize fits the array of entries to what the last wait returned: one too short costs
// more waits, one too long costs memory and cache.
func (e *Engine) resize(n int) {
	switch size := len(e.entries); {
	case n == size && size < maxEntries:
		e.entries = make([]iocp.OverlappedEntry, size*2)
	case n < size/4 && size > minEntries:
		e.entries = make([]iocp.OverlappedEntry, size/2)
	}
}

// Wake implements [engine.Engine].
func (e *Engine) Wake() {
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	if e.woken || e.port == 0 {
		return
	}
	e.woken = true
	_ = iocp.PostQueuedCompletionStatus(e.port, 0, keyWake, nil)
}

// clearWake takes note of a wake. Nothing is lost: whoever calls Wake from here on finds
// woken false, and the loop has yet to look at what there is to do.
func (e *Engine) clearWake() {
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	e.woken = false
}

// Shutdown implements [engine.Engine].
func (e *Engine) Shutdown(ctx context.Context) error {
	if e.closed {
		return engine.ErrClosed
	}
	defer context.AfterFunc(ctx, e.Wake)()
	e.stopAccepting()
	e.draining = true
	for c := range e.conns {
		c.CloseWrite()
		c.update() // a paused connection is received from again: see throttle
	}
	for e.stats.Connections > 0 {
		if err := ctx.Err(); err != nil {
			return errors.Join(fmt.Errorf("shutdown: connections left: %w", err), e.closeAll(engine.ErrShutdown))
		}
		if err := e.Poll(-1); err != nil {
			return errors.Join(err, e.closeAll(err))
		}
	}
	return e.Close()
}

// stopAccepting closes the listener. The accepts in flight come back as failed.
func (e *Engine) stopAccepting() {
	if e.listener == iocp.InvalidHandle {
		return
	}
	e.parked = time.Time{}
	_ = iocp.CancelIoEx(e.listener, nil)
	e.closeSocket(&e.listener)
}

// Close implements [engine.Engine].
func (e *Engine) Close() error { return e.closeAll(engine.ErrClosed) }

// closeAll ends every connection with err and frees all that the engine holds, once the
// kernel has given it back.
func (e *Engine) closeAll(err error) error {
	if e.closed {
		return nil
	}
	e.closed = true
	for c := range e.conns {
		c.end(err)
	}
	e.reap()
	e.stopAccepting()
	if e.port != 0 {
		if err := e.drain(); err != nil {
			return err
		}
	}
	e.wakeMu.Lock()
	defer e.wakeMu.Unlock()
	if e.port != 0 {
		_ = iocp.CloseHandle(e.port)
		e.port = 0
	}
	if e.started {
		e.started = false
		_ = iocp.WSACleanup()
	}
	return nil
}

// drain waits for the operations that are still the kernel's. The port and the memory must
// stay until then.
func (e *Engine) drain() error {
	for deadline := time.Now().Add(drainTime); e.inFlight > 0; {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("close: %d cancelled operations have not completed for %v; their memory and the port stay", e.inFlight, drainTime)
		}
		n, err := e.dequeue(left)
		if err != nil {
			return err
		}
		for i := range n {
			e.dispatch(&e.entries[i])
		}
	}
	e.done = nil
	return nil
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
