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

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{fmt.Errorf, os.NewSyscallError, runtime.LockOSThread, slices.Delete[[]int], unsafe.Pointer(nil)}

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

// TODO step 5: sock.Listen; take O_NONBLOCK off the listener and set TCP_NODELAY on it; an
// eventfd in blocking mode; a page for e.count, and e.peers in it from byte 64 on; Setup;
// with Direct a table (registerTable); NewBuffers. What is opened is kept in e at once, so
// that Close finds it.
func (e *Engine) setup(addr netip.AddrPort, o Options) (err error) {
	panic(engine.NotImplemented("06.5", "Engine.setup"))
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
// TODO step 5: once: lock the goroutine to its thread, enable the ring, prepare the wake
// and the accepts.
func (e *Engine) start() error {
	panic(engine.NotImplemented("06.5", "Engine.start"))
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
//
// TODO step 5: publish the buffers, count the call, and Enter: for at least one
// completion, or none if timeout is 0.
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

// prepare returns a submission for an operation on fd, which is c's if c is not nil. The
// queue may be full in the middle of a turn; then the kernel gets what is prepared so far.
//
// TODO step 5: a submission with its token. If the queue is full, enter, and take
// completions in early. Count it in c.inFlight; with Direct fd is an index of the ring's
// table.
func (e *Engine) prepare(op operation, opcode uint8, c *conn, fd int) *SQE {
	panic(engine.NotImplemented("06.5", "Engine.prepare"))
}

// generation tells connections apart that had the same descriptor.
func (c *conn) generation() uint32 { return uint32(c.ID()) & generationMask }

// complete serves one completion.
//
// TODO step 5: which operation is it? Those of the engine itself first; then find the
// connection, check the generation, lower its count if there will be no more, and pass the
// result on. A connection that is gone is released.
func (e *Engine) complete(cqe CQE) {
	panic(engine.NotImplemented("06.5", "Engine.complete"))
}

// armAccept has the kernel accept: for ever, or once for each of several submissions.
//
// TODO step 5: acceptOne for each accept that is not under way: number 0 alone if it is
// multishot.
func (e *Engine) armAccept() {
	panic(engine.NotImplemented("06.5", "Engine.armAccept"))
}

// acceptOne prepares accept number i. One that is not multishot has a place for the
// client's address.
//
// TODO step 5: note that it is under way, and prepare it: close-on-exec, multishot or with
// a place for the address. With Direct the connection gets a place in the ring's table
// (IORING_FILE_INDEX_ALLOC).
func (e *Engine) acceptOne(i int) {
	panic(engine.NotImplemented("06.5", "Engine.acceptOne"))
}

// accepted is a completion of accept number i: a descriptor, or why there is none.
//
// TODO step 6: open the connection, if there is one. If the accept does not go on, start
// it again: unless the descriptors ran out (park), or nobody is to be accepted any more.
func (e *Engine) accepted(i, fd int, more bool) {
	panic(engine.NotImplemented("06.6", "Engine.accepted"))
}

// peerOf is the address of the client that accept number i has just brought. A multishot
// accept has nowhere to put so many, so it has to be asked for.
//
// TODO step 6: the address that the accept brought, or getpeername(2) (count it). The
// client may be gone already.
func (e *Engine) peerOf(i, fd int) (peer netip.AddrPort) {
	panic(engine.NotImplemented("06.6", "Engine.peerOf"))
}

func (p *peerAddr) decode() netip.AddrPort {
	port := uint16(p.addr[2])<<8 | uint16(p.addr[3])
	if p.len < uint32(len(p.addr)) {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(p.addr[4:8])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(p.addr[8:24])).Unmap(), port)
}

// TODO step 6: refuse what is too many, close what is too late; else make the conn, note
// it under its descriptor, start its receive and tell the handler.
func (e *Engine) open(fd int, peer netip.AddrPort) {
	panic(engine.NotImplemented("06.6", "Engine.open"))
}

func (e *Engine) refuse(fd int) {
	e.stats.Refused++
	e.closeFD(fd)
}

// armRecv has the kernel receive for c: until it is told to stop, or once.
//
// TODO step 6: prepare a receive: into a buffer that the kernel picks, multishot if it
// can; else into one of e.buffers.Take.
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

// Queued implements [engine.Conn].
func (c *conn) Queued() int { return len(c.sending) - c.sent + len(c.queue) }

// Send implements [engine.Conn]. Nothing goes out before the next Poll: all sends of a
// turn are one system call.
//
// TODO step 8: keep to the hard limit, append to the queue (Blocks), list, throttle.
func (c *conn) Send(p []byte) (err error) {
	if c.closed || c.finish {
		return engine.ErrClosed
	}
	panic(engine.NotImplemented("06.8", "Conn.Send"))
}

// list has the queue sent by the next flush. One send at a time: of two the kernel may
// finish the second first.
//
// TODO step 8: into e.unsent, once, and not while a send is under way.
func (c *conn) list() {
	panic(engine.NotImplemented("06.8", "Conn.list"))
}

// flush starts to send what is queued: all of it that is a connection's, as one
// operation.
//
// TODO step 8: for each: the queue becomes what is being sent, if nothing is left of the
// last send, and one send is prepared (MSG_NOSIGNAL).
func (e *Engine) flush() {
	if len(e.unsent) > 0 {
		panic(engine.NotImplemented("06.8", "Engine.flush"))
	}
}

// written is the completion of a send: the kernel has taken res bytes, all or a part.
//
// TODO step 8: an error ends the connection. Else count; what is left goes with the next
// send; a block that is done is put back; then comes the queue, and after the queue the
// FIN that a CloseWrite left.
func (e *Engine) written(c *conn, res int) {
	panic(engine.NotImplemented("06.8", "Engine.written"))
}

// update follows a change of the queue or of the input: it ends a connection that has
// nothing more to do, has it served again if there is more, and starts or stops the
// receive.
//
// TODO step 6: an end of data with nothing left to send ends the connection. Throttle.
// List it as ready if there is more to hand over; start the receive, or cancel it while it
// is paused or has more than a turn may have.
func (c *conn) update() {
	panic(engine.NotImplemented("06.6", "Conn.update"))
}

// throttle stops reading from a peer that does not read what it is sent, and goes
// on when the queue has drained. Two marks, so that it does not flip at each write.
//
// TODO step 8: keep c.paused: it goes on above the high-water mark and off at the low one.
func (c *conn) throttle() {
	if c.Queued() > c.e.cfg.HighWater {
		panic(engine.NotImplemented("06.8", "Conn.throttle"))
	}
}

// cancel asks the kernel to end an operation of c's. It is a request: the operation
// completes, with ECANCELED or with what it has done, and so does the cancellation.
//
// TODO step 6: IORING_OP_ASYNC_CANCEL: Addr is the token to look for.
func (e *Engine) cancel(op operation, c *conn) {
	panic(engine.NotImplemented("06.6", "Engine.cancel"))
}

// CloseWrite implements [engine.Conn].
//
// TODO step 8: note it, and send the FIN: now, or from written when the queue is empty.
func (c *conn) CloseWrite() error {
	panic(engine.NotImplemented("06.8", "Conn.CloseWrite"))
}

// TODO step 8: IORING_OP_SHUTDOWN, or shutdown(2) where there is none.
func (c *conn) sendFIN() {
	panic(engine.NotImplemented("06.8", "Conn.sendFIN"))
}

// Close implements [engine.Conn].
//
// TODO step 7: end it, without an error.
func (c *conn) Close() error {
	panic(engine.NotImplemented("06.7", "Conn.Close"))
}

// end marks c closed; reap does the rest when no callback is running.
//
// TODO step 7: mark the connection and remember err. Once: whoever comes second changes
// nothing.
func (c *conn) end(err error) {
	panic(engine.NotImplemented("06.7", "Conn.end"))
}

// reap makes the last callback of ended connections, and begins to give back what they
// have.
//
// TODO step 7: for each connection in e.closing, in order: OnClose with its error, give
// its buffers and its queue back, cancel what is under way, and release. OnClose may end
// others, which then stand at the end of the same list.
func (e *Engine) reap() {
	if len(e.closing) > 0 {
		panic(engine.NotImplemented("06.7", "Engine.reap"))
	}
}

// release gives back what a connection that has had its OnClose holds, once no operation
// is under way for it. Before that the kernel may still read its block; and a close(2)
// would take the number away and leave the socket open, held by the operation: no FIN
// would go out (io_uring_cancelation(7)).
//
// TODO step 7: only when nothing is under way, and once: put the block back, forget the
// connection, closeFD.
func (e *Engine) release(c *conn) {
	panic(engine.NotImplemented("06.7", "Engine.release"))
}

// closeFD closes a connection's descriptor, or its place in the ring's table.
//
// TODO step 7: IORING_OP_CLOSE; with Direct FileIndex is the index plus one, and Fd is 0.
func (e *Engine) closeFD(fd int) {
	panic(engine.NotImplemented("06.7", "Engine.closeFD"))
}

// park stops accepting: there are no descriptors left. Clients wait in the accept queue.
//
// TODO step 9: once: count it in Stats.Parked, and set the time at which to try again.
func (e *Engine) park() {
	panic(engine.NotImplemented("06.9", "Engine.park"))
}

// unpark accepts again when a connection has closed, or after acceptRetry:
// descriptors come free elsewhere in the process too.
//
// TODO step 9: when that time has come, accept again.
func (e *Engine) unpark() {
	if !e.parked.IsZero() {
		panic(engine.NotImplemented("06.9", "Engine.unpark"))
	}
}

// sweep ends connections on which nothing has moved for the idle timeout.
//
// TODO step 9: a few times in an idle timeout, end every connection that has been quiet
// for longer. e.sweepAt is when the next look is due; Poll's wait ends by then.
func (e *Engine) sweep() {
	if e.cfg.IdleTimeout > 0 {
		panic(engine.NotImplemented("06.9", "Engine.sweep"))
	}
}

// Wake implements [engine.Engine].
//
// TODO step 9: write to the eventfd, unless a wake is on its way already. It may be called
// from any goroutine, also after Close.
func (e *Engine) Wake() {
	panic(engine.NotImplemented("06.9", "Engine.Wake"))
}

// armWake has the kernel read the eventfd as soon as there is something in it.
//
// TODO step 5: prepare a read of 8 bytes from the eventfd into e.count.
func (e *Engine) armWake() {
	panic(engine.NotImplemented("06.5", "Engine.armWake"))
}

// clearWake allows the next wake: the completed read has set the eventfd back to 0.
// Nothing is lost: whoever calls Wake from here on finds woken false, or has Poll about
// to return.
//
// TODO step 9: allow the next wake, then read again. In this order: think of a Wake that
// comes in between.
func (e *Engine) clearWake() {
	panic(engine.NotImplemented("06.9", "Engine.clearWake"))
}

// Shutdown implements [engine.Engine].
//
// TODO step 9: stop accepting, end every connection's output, and poll until all are gone
// and the listener is closed, or ctx is done (which has to wake a Poll that waits).
func (e *Engine) Shutdown(ctx context.Context) error {
	panic(engine.NotImplemented("06.9", "Engine.Shutdown"))
}

// stopAccepting cancels the accepts; the listener is closed after the last of them, which
// holds it open.
//
// TODO step 9: cancel the accepts; the completion of the last one closes the listener. If
// there are none, close it.
func (e *Engine) stopAccepting() {
	panic(engine.NotImplemented("06.9", "Engine.stopAccepting"))
}

func (e *Engine) cancelAccepts() {
	for i := range e.peers {
		if e.accepts&(1<<i) != 0 {
			e.cancelOwn(opAccept, i)
		}
	}
}

// cancelOwn is cancel for an operation that is no connection's.
//
// TODO step 5: as cancel, with the token of an operation that has generation 0.
func (e *Engine) cancelOwn(op operation, i int) {
	panic(engine.NotImplemented("06.5", "Engine.cancelOwn"))
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
//
// TODO step 5: once: end every connection with err, reap, cancel the accepts and the wake,
// and drain. Only then close what setup opened, and free the memory. Without a first Poll
// there is nothing to drain.
func (e *Engine) closeAll(err error) error {
	panic(engine.NotImplemented("06.5", "Engine.closeAll"))
}

// drain takes in completions until none can come any more.
//
// TODO step 5: enter, take in, complete, until nothing is in flight; not for longer than
// drainLimit.
func (e *Engine) drain() error {
	panic(engine.NotImplemented("06.5", "Engine.drain"))
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
