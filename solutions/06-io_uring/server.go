//go:build linux

package uringloop

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

const (
	ringEntries   = 1024                   // submissions of one turn, before it has to call the kernel twice
	bufferCount   = 2048                   // receive buffers, of all connections together
	acceptsAtOnce = 16                     // accepts under way where one does not go on by itself
	acceptRetry   = 100 * time.Millisecond // how long accepting pauses when descriptors run out
	directTable   = 1 << 14                // most connections without a descriptor
	drainLimit    = 5 * time.Second        // for the last completions, when the engine closes
)

// An operation that the kernel has been asked for goes through these states, and the
// kernel alone moves it on:
//
//	prepared   an SQE is filled in; nothing has happened
//	under way  io_uring_enter has taken it. Its buffer, its descriptor and its
//	           connection must stay what they are
//	goes on    a completion came with IORING_CQE_F_MORE: a multishot accept or receive
//	           has one result more, and is still under way
//	over       a completion without it: the last one. Also a cancelled operation, also
//	           one on a connection that is closed, has one
//
// A connection counts the operations under way for it, and what it holds (descriptor,
// blocks, place in the table) is given back when the count is 0: see release.
type operation uint8

const (
	opAccept operation = iota
	opWake
	opRecv
	opSend
	opShutdown
	opCancel
	opClose
)

// token is what a submission carries to its completions: the operation, the descriptor,
// and a generation, since the descriptor alone may by then be another connection's.
type token uint64

func tokenOf(op operation, generation uint32, fd int) token {
	return token(op)<<56 | token(generation&generationMask)<<32 | token(uint32(fd))
}

const generationMask = 1<<24 - 1

func (t token) op() operation      { return operation(t >> 56) }
func (t token) generation() uint32 { return uint32(t>>32) & generationMask }
func (t token) fd() int            { return int(int32(t)) }

// Engine is a TCP engine on io_uring. See [engine.Engine]. Its loop runs on the thread of
// the first Poll: that goroutine is locked to it until Close.
type Engine struct {
	cfg     engine.Config
	handler engine.Handler
	addr    netip.AddrPort

	ring     *Ring
	features Features
	buffers  *Buffers
	blocks   Blocks
	listener int        // -1 after Shutdown has begun
	accepts  uint32     // accepts under way, one bit each
	peers    []peerAddr // where they put the addresses; see acceptOne
	batch    []CQE      // this turn's completions
	early    []CQE      // the next turn's, taken already

	conns    []*conn // by descriptor, nil where there is none
	ready    []*conn // have received more than a turn may give them
	spare    []*conn // the other half of ready
	unsent   []*conn // have something to send and nothing under way
	starved  []*conn // wait for a receive buffer, the longest first
	closing  []*conn // closed, and not yet given to OnClose
	received []piece // by buffer: what is in it, if it is in a connection's list
	lastID   uint64

	running  bool // the first Poll has been
	draining bool // Shutdown has begun
	closed   bool
	parked   time.Time // when accepting goes on; zero while it is on
	sweepAt  time.Time // when idle connections are looked for next
	now      time.Time // when this turn's wait returned
	turn     uint64
	stats    engine.Stats

	wakeMu sync.Mutex // guards wakefd and woken
	wakefd int        // an eventfd, -1 after Close
	woken  bool       // written to and not yet seen by the loop
	count  []byte     // what is read from it: mapped, the kernel writes here
}

type conn struct {
	engine.Identity
	e      *Engine
	fd     int
	active time.Time // when a byte last moved

	sending []byte // what the kernel is sending, see Blocks
	sent    int    // bytes of it that it has taken
	queue   []byte // what comes after it

	first, last uint32 // the list of what is received and not yet given to OnData
	buffer      uint32 // without a buffer ring: what the receive under way was given
	turn        uint64 // when it last had OnData, and
	budget      int    // how much more it may have in that turn

	inFlight   int  // operations under way
	receiving  bool // a receive is among them,
	cancelling bool // and its cancellation
	busy       bool // a send is among them
	listed     bool // in e.ready
	pending    bool // in e.unsent
	hungry     bool // in e.starved
	paused     bool // not read from until the queue has drained
	over       bool // the input has ended: end of data, or inputErr
	eof        bool // and OnData has had all of it
	finish     bool // CloseWrite was called
	closed     bool // in e.closing, or gone
	gone       bool // has had its OnClose
	inputErr   error
	err        error // for OnClose
}

// piece is what a receive buffer holds for a connection, an element of its list.
type piece struct {
	next     uint32
	from, to int32
}

const none = ^uint32(0) // no buffer

// peerAddr is where an accept that is not multishot puts the client's address.
type peerAddr struct {
	addr [28]byte // struct sockaddr_in6, the longest it can be
	len  uint32
}

// New returns an engine that listens as cfg says.
func New(cfg engine.Config, handler engine.Handler) (*Engine, error) {
	return NewWith(cfg, handler, Options{})
}

// NewWith is New with a choice of what to use of the kernel's features.
func NewWith(cfg engine.Config, handler engine.Handler, o Options) (*Engine, error) {
	cfg = cfg.WithDefaults()
	addr, err := cfg.ListenAddr()
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, handler: handler, listener: -1, wakefd: -1}
	if err := e.setup(addr, o); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) setup(addr netip.AddrPort, o Options) (err error) {
	if e.listener, e.addr, err = sock.Listen(addr, e.cfg.Backlog); err != nil {
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
	if e.count, err = mapMemory(os.Getpagesize()); err != nil {
		return err
	}
	// SAFETY: e.count is mapped until closeAll has seen the last completion.
	e.peers = unsafe.Slice((*peerAddr)(unsafe.Pointer(&e.count[64])), acceptsAtOnce)
	if e.ring, err = Setup(ringEntries, o); err != nil {
		return err
	}
	if e.features = e.ring.Features(); e.features.Has(Direct) {
		if err = e.ring.registerTable(directTable); err != nil {
			return err
		}
	}
	e.buffers, err = NewBuffers(e.ring, 0, bufferCount, bufferSize(e.cfg.ReadBudget))
	return err
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
	if e.ring.Prepared() || timeout == 0 {
		// What is handed over now is mostly done at once (a send, a close).
		if err := e.enter(0); err != nil {
			return err
		}
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
	e.stats.Turn(e.now, e.cfg.TurnBudget)
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
	e.armAccept()
	return nil
}

// wait is how long Poll may wait: timeout, or less if there is something to do
// before then.
func (e *Engine) wait(timeout time.Duration) time.Duration {
	if len(e.ready) > 0 || len(e.starved) > 0 || len(e.closing) > 0 || len(e.early) > 0 {
		return 0
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

// enter is the turn's one system call: what was prepared goes, what is done comes.
func (e *Engine) enter(timeout time.Duration) error {
	e.buffers.Publish()
	e.stats.Calls[engine.CallIOUringEnter]++
	atLeast := 1
	if timeout == 0 {
		atLeast = 0
	}
	return e.ring.Enter(atLeast, timeout)
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

// prepare returns a submission for an operation on fd, which is c's if c is not nil. The
// queue may be full in the middle of a turn; then the kernel gets what is prepared so far.
func (e *Engine) prepare(op operation, opcode uint8, c *conn, fd int) *SQE {
	sqe := e.ring.SQE()
	for ; sqe == nil; sqe = e.ring.SQE() {
		if err := e.enter(0); err != nil {
			sqe = new(SQE) // goes nowhere; the next Poll meets the same error, and returns it
			break
		}
		// Before 5.19 the kernel took nothing while completions had no room.
		for range e.ring.Ready() {
			e.early = append(e.early, e.ring.Next())
		}
		e.ring.Ready()
	}
	generation := uint32(0)
	if c != nil {
		generation = c.generation()
		c.inFlight++
		if e.features.Has(Direct) {
			sqe.Flags = IOSQE_FIXED_FILE
		}
	}
	sqe.Opcode, sqe.Fd, sqe.UserData = opcode, int32(fd), uint64(tokenOf(op, generation, fd))
	return sqe
}

// generation tells connections apart that had the same descriptor.
func (c *conn) generation() uint32 { return uint32(c.ID()) & generationMask }

// complete serves one completion.
func (e *Engine) complete(cqe CQE) {
	t, more := token(cqe.UserData), cqe.Flags&IORING_CQE_F_MORE != 0
	switch {
	case cqe.UserData == TimeoutData:
		return
	case e.closed && cqe.Res < 0 && (t.op() == opAccept || t.op() == opWake):
		return // cancelled by closeAll
	case t.op() == opAccept:
		e.accepted(t.fd(), int(cqe.Res), more)
		return
	case t.op() == opWake:
		e.clearWake()
		return
	case t.op() == opClose:
		if !e.parked.IsZero() {
			e.parked = e.now // there are descriptors again
		}
		return
	case t.op() == opCancel && t.generation() == 0:
		return // of an accept, or of the wake
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

// armAccept has the kernel accept: for ever, or once for each of several submissions.
func (e *Engine) armAccept() {
	if e.features.Has(MultishotAccept) {
		if e.accepts == 0 {
			e.acceptOne(0)
		}
		return
	}
	for i := range e.peers {
		if e.accepts&(1<<i) == 0 {
			e.acceptOne(i)
		}
	}
}

// acceptOne prepares accept number i. One that is not multishot has a place for the
// client's address.
func (e *Engine) acceptOne(i int) {
	e.accepts |= 1 << i
	sqe := e.prepare(opAccept, IORING_OP_ACCEPT, nil, e.listener)
	sqe.OpFlags, sqe.UserData = unix.SOCK_CLOEXEC, uint64(tokenOf(opAccept, 0, i))
	if e.features.Has(MultishotAccept) {
		sqe.Ioprio = IORING_ACCEPT_MULTISHOT
		return
	}
	peer := &e.peers[i]
	peer.len = uint32(len(peer.addr))
	sqe.Addr, sqe.Off = addrOf(&peer.addr), addrOf(&peer.len)
	if e.features.Has(Direct) {
		sqe.OpFlags, sqe.FileIndex = 0, IORING_FILE_INDEX_ALLOC // no descriptor, nothing to inherit
	}
}

// accepted is a completion of accept number i: a descriptor, or why there is none.
func (e *Engine) accepted(i, fd int, more bool) {
	if fd >= 0 {
		e.open(fd, e.peerOf(i, fd))
	}
	if more {
		return
	}
	e.accepts &^= 1 << i
	if fd < 0 {
		switch unix.Errno(-fd) {
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			e.park()
		default:
			// What accept(2) passes on of a connection that failed while it waited
			// (EPROTO, ENETDOWN, EPERM of a firewall …) says nothing of the next one.
		}
	}
	switch {
	case e.closed:
	case e.draining && e.accepts == 0:
		e.closeListener()
	case !e.draining && e.parked.IsZero():
		e.acceptOne(i)
	}
}

// peerOf is the address of the client that accept number i has just brought. A multishot
// accept has nowhere to put so many, so it has to be asked for.
func (e *Engine) peerOf(i, fd int) (peer netip.AddrPort) {
	if !e.features.Has(MultishotAccept) {
		return e.peers[i].decode()
	}
	e.stats.Calls[engine.CallGetpeername]++
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return peer // it has reset already
	}
	return sock.AddrPort(sa)
}

func (p *peerAddr) decode() netip.AddrPort {
	port := uint16(p.addr[2])<<8 | uint16(p.addr[3])
	if p.len < uint32(len(p.addr)) {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(p.addr[4:8])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(p.addr[8:24])).Unmap(), port)
}

func (e *Engine) open(fd int, peer netip.AddrPort) {
	if e.closed || e.draining || !peer.IsValid() {
		e.closeFD(fd)
		return
	}
	if e.cfg.MaxConnections > 0 && e.stats.Connections >= e.cfg.MaxConnections {
		e.refuse(fd)
		return
	}
	e.lastID++
	if e.lastID&generationMask == 0 {
		e.lastID++ // generation 0 is the engine's own
	}
	c := &conn{Identity: engine.NewIdentity(e.lastID, peer), e: e, fd: fd, active: e.now, first: none, last: none, buffer: none}
	for fd >= len(e.conns) {
		e.conns = append(e.conns, nil)
	}
	e.conns[fd] = c
	e.stats.Connections++
	e.stats.Accepts++
	e.armRecv(c)
	e.handler.OnOpen(c)
}

func (e *Engine) refuse(fd int) {
	e.stats.Refused++
	e.closeFD(fd)
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
	sqe := e.prepare(opRecv, IORING_OP_RECV, c, c.fd)
	if !e.features.Has(BufferRing) {
		sqe.Addr, sqe.Len = addrOf(&e.buffers.Data(c.buffer, 1)[0]), uint32(e.buffers.size)
		return
	}
	sqe.Flags |= IOSQE_BUFFER_SELECT
	if e.features.Has(MultishotRecv) {
		sqe.Ioprio = IORING_RECV_MULTISHOT
	}
}

// receive is a completion of a receive.
func (e *Engine) receive(c *conn, res int, flags uint32) {
	if flags&IORING_CQE_F_MORE == 0 {
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
			c.over, c.inputErr = true, os.NewSyscallError("recv", errno)
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
		c.active = e.now
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
		if c.inputErr != nil {
			c.end(c.inputErr)
			return
		}
		c.eof = true
	}
	c.update()
}

// held tells whether what c has received waits with the input that is not read yet. That
// goes well as long as the kernel has buffers for the others: clients that do not read
// their answers must not keep those that all share.
func (c *conn) held() bool { return c.paused && c.e.buffers.Kernels() > bufferCount/2 }

// feed starts the receives that found no buffer, as far as there are buffers now.
func (e *Engine) feed() {
	n := min(e.buffers.Kernels(), len(e.starved))
	for _, c := range e.starved[:n] {
		c.hungry = false
		c.update()
	}
	e.starved = slices.Delete(e.starved, 0, n)
}

// Queued implements [engine.Conn].
func (c *conn) Queued() int { return len(c.sending) - c.sent + len(c.queue) }

// Send implements [engine.Conn]. Nothing goes out before the next Poll: all sends of a
// turn are one system call.
func (c *conn) Send(p []byte) (err error) {
	if c.closed || c.finish {
		return engine.ErrClosed
	}
	if c.Queued()+len(p) > c.e.cfg.HardLimit {
		return engine.ErrBackpressure
	}
	if len(p) == 0 {
		return nil
	}
	if c.queue, err = c.e.blocks.Append(c.queue, p); err != nil {
		c.end(err)
		return err
	}
	c.list()
	c.throttle()
	return nil
}

// list has the queue sent by the next flush. One send at a time: of two the kernel may
// finish the second first.
func (c *conn) list() {
	if !c.busy && !c.pending {
		c.pending = true
		c.e.unsent = append(c.e.unsent, c)
	}
}

// flush starts to send what is queued: all of it that is a connection's, as one
// operation.
func (e *Engine) flush() {
	for _, c := range e.unsent {
		c.pending = false
		if c.closed {
			continue
		}
		if len(c.sending) == 0 {
			c.sending, c.queue = c.queue, nil
		}
		c.busy = true
		rest := c.sending[c.sent:]
		sqe := e.prepare(opSend, IORING_OP_SEND, c, c.fd)
		sqe.Addr, sqe.Len, sqe.OpFlags = addrOf(&rest[0]), uint32(len(rest)), unix.MSG_NOSIGNAL
	}
	clear(e.unsent)
	e.unsent = e.unsent[:0]
}

// written is the completion of a send: the kernel has taken res bytes, all or a part.
func (e *Engine) written(c *conn, res int) {
	c.busy = false
	if c.closed {
		return
	}
	if res < 0 {
		switch errno := unix.Errno(-res); errno {
		case unix.EAGAIN, unix.EINTR:
			res = 0
		default:
			c.end(os.NewSyscallError("send", errno))
			return
		}
	}
	c.sent += res
	c.active = e.now
	e.stats.BytesOut += uint64(res)
	if c.sent < len(c.sending) {
		e.stats.ShortWrites++
		c.list()
	} else {
		e.blocks.Put(c.sending)
		c.sending, c.sent = nil, 0
		if len(c.queue) > 0 {
			c.list()
		} else if c.finish {
			c.sendFIN()
		}
	}
	c.update()
}

// update follows a change of the queue or of the input: it ends a connection that has
// nothing more to do, has it served again if there is more, and starts or stops the
// receive.
func (c *conn) update() {
	if c.eof && c.Queued() == 0 {
		c.end(nil)
	}
	if c.closed {
		return
	}
	c.throttle()
	if c.first != none && !c.listed && !c.held() {
		c.listed = true
		c.e.ready = append(c.e.ready, c)
	}
	switch stop := c.paused || c.first != none; {
	case !c.receiving && !stop && !c.over && !c.hungry:
		c.e.armRecv(c)
	case c.receiving && stop && !c.cancelling:
		c.cancelling = true
		c.e.cancel(opRecv, c)
	}
}

// throttle stops reading from a peer that does not read what it is sent, and goes
// on when the queue has drained. Two marks, so that it does not flip at each write.
func (c *conn) throttle() {
	switch queued := c.Queued(); {
	case c.e.draining: // what is read now is discarded, and adds nothing
		c.paused = false
	case queued > c.e.cfg.HighWater:
		c.paused = true
	case queued <= c.e.cfg.LowWater:
		c.paused = false
	}
}

// cancel asks the kernel to end an operation of c's. It is a request: the operation
// completes, with ECANCELED or with what it has done, and so does the cancellation.
func (e *Engine) cancel(op operation, c *conn) {
	sqe := e.prepare(opCancel, IORING_OP_ASYNC_CANCEL, c, c.fd)
	sqe.Flags, sqe.Fd, sqe.Addr = 0, -1, uint64(tokenOf(op, c.generation(), c.fd))
}

// CloseWrite implements [engine.Conn].
func (c *conn) CloseWrite() error {
	if c.closed || c.finish {
		return nil
	}
	c.finish = true
	if c.Queued() == 0 {
		c.sendFIN()
	}
	return nil
}

func (c *conn) sendFIN() {
	if c.e.features.Has(Shutdown) {
		sqe := c.e.prepare(opShutdown, IORING_OP_SHUTDOWN, c, c.fd)
		sqe.Len = unix.SHUT_WR
		return
	}
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

// end marks c closed; reap does the rest when no callback is running.
func (c *conn) end(err error) {
	if c.closed {
		return
	}
	c.closed, c.err = true, err
	c.e.closing = append(c.e.closing, c)
}

// reap makes the last callback of ended connections, and begins to give back what they
// have.
func (e *Engine) reap() {
	for i := 0; i < len(e.closing); i++ { // OnClose may end others
		c := e.closing[i]
		c.gone = true
		e.stats.Connections--
		e.handler.OnClose(c, c.err)
		for c.first != none {
			buffer := c.first
			c.first = e.received[buffer].next
			e.buffers.Give(buffer)
		}
		e.blocks.Put(c.queue)
		c.queue = nil
		if c.receiving && !c.cancelling {
			e.cancel(opRecv, c)
		}
		if c.busy {
			e.cancel(opSend, c)
		}
		e.release(c)
	}
	clear(e.closing)
	e.closing = e.closing[:0]
}

// release gives back what a connection that has had its OnClose holds, once no operation
// is under way for it. Before that the kernel may still read its block; and a close(2)
// would take the number away and leave the socket open, held by the operation: no FIN
// would go out (io_uring_cancelation(7)).
func (e *Engine) release(c *conn) {
	if c.inFlight > 0 || e.conns[c.fd] != c {
		return
	}
	e.blocks.Put(c.sending)
	c.sending, c.sent = nil, 0
	e.conns[c.fd] = nil
	e.closeFD(c.fd)
}

// closeFD closes a connection's descriptor, or its place in the ring's table.
func (e *Engine) closeFD(fd int) {
	sqe := e.prepare(opClose, IORING_OP_CLOSE, nil, fd)
	if e.features.Has(Direct) {
		sqe.Fd, sqe.FileIndex = 0, uint32(fd)+1
	}
}

// park stops accepting: there are no descriptors left. Clients wait in the accept queue.
func (e *Engine) park() {
	if e.parked.IsZero() {
		e.stats.Parked++
		e.parked = e.now.Add(acceptRetry)
	}
}

// unpark accepts again when a connection has closed, or after acceptRetry:
// descriptors come free elsewhere in the process too.
func (e *Engine) unpark() {
	if e.parked.IsZero() || e.now.Before(e.parked) || e.draining {
		return
	}
	e.parked = time.Time{}
	e.armAccept()
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

// armWake has the kernel read the eventfd as soon as there is something in it.
func (e *Engine) armWake() {
	sqe := e.prepare(opWake, IORING_OP_READ, nil, e.wakefd)
	sqe.Addr, sqe.Len = addrOf(&e.count[0]), 8
	sqe.UserData = uint64(tokenOf(opWake, 0, 0))
}

// clearWake allows the next wake: the completed read has set the eventfd back to 0.
// Nothing is lost: whoever calls Wake from here on finds woken false, or has Poll about
// to return.
func (e *Engine) clearWake() {
	e.wakeMu.Lock()
	e.woken = false
	e.wakeMu.Unlock()
	if !e.closed {
		e.armWake()
	}
}

// Shutdown implements [engine.Engine].
func (e *Engine) Shutdown(ctx context.Context) error {
	if e.closed {
		return engine.ErrClosed
	}
	defer context.AfterFunc(ctx, e.Wake)()
	e.draining = true
	e.stopAccepting()
	for _, c := range e.conns {
		if c != nil {
			c.CloseWrite()
			c.update() // a paused connection is read from again: see throttle
		}
	}
	for e.stats.Connections > 0 || e.listener >= 0 {
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

// stopAccepting cancels the accepts; the listener is closed after the last of them, which
// holds it open.
func (e *Engine) stopAccepting() {
	e.parked = time.Time{}
	if e.accepts == 0 {
		e.closeListener()
		return
	}
	e.cancelAccepts()
}

func (e *Engine) cancelAccepts() {
	for i := range e.peers {
		if e.accepts&(1<<i) != 0 {
			e.cancelOwn(opAccept, i)
		}
	}
}

// cancelOwn is cancel for an operation that is no connection's.
func (e *Engine) cancelOwn(op operation, i int) {
	sqe := e.prepare(opCancel, IORING_OP_ASYNC_CANCEL, nil, -1)
	sqe.Addr = uint64(tokenOf(op, 0, i))
}

func (e *Engine) closeListener() {
	if e.listener >= 0 {
		sock.Close(e.listener)
		e.listener = -1
	}
}

// Close implements [engine.Engine].
func (e *Engine) Close() error {
	return e.closeAll(engine.ErrClosed)
}

// closeAll ends every connection with err and frees all that the engine holds: what the
// kernel uses last, when its last completion has come.
func (e *Engine) closeAll(err error) error {
	if e.closed {
		return nil
	}
	e.closed = true
	var left error
	if e.running {
		for _, c := range e.conns {
			if c != nil {
				c.end(err)
			}
		}
		e.reap()
		e.cancelAccepts()
		e.cancelOwn(opWake, 0)
		left = e.drain()
		runtime.UnlockOSThread()
	}
	e.wakeMu.Lock()
	if e.wakefd >= 0 {
		sock.Close(e.wakefd)
		e.wakefd = -1
	}
	e.wakeMu.Unlock()
	e.closeListener()
	if left != nil {
		return left // the memory stays: better lost than written to by the kernel under another owner
	}
	e.free()
	return nil
}

// drain takes in completions until none can come any more.
func (e *Engine) drain() error {
	deadline := time.Now().Add(drainLimit)
	for e.ring.InFlight() > 0 || len(e.early) > 0 {
		if time.Now().After(deadline) {
			return fmt.Errorf("close: %d operations have not completed after %v", e.ring.InFlight(), drainLimit)
		}
		if err := e.enter(e.wait(time.Until(deadline))); err != nil {
			return err
		}
		e.takeIn()
		for _, cqe := range e.batch {
			e.complete(cqe)
		}
	}
	return nil
}

// free gives the memory and the ring back.
func (e *Engine) free() {
	if e.buffers != nil {
		e.buffers.Close()
	}
	e.blocks.Close()
	if e.ring != nil {
		e.ring.Close()
	}
	if e.count != nil {
		_ = unix.Munmap(e.count)
		e.count, e.peers = nil, nil
	}
}
