//go:build linux

package uringloop

import (
	"os"

	"golang.org/x/sys/unix"

	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{abi.IORING_OP_SEND, os.NewSyscallError, sock.CloseWrite, unix.MSG_NOSIGNAL}

// conn is one connection. A silent one is this and a place in e.conns, 200 bytes in all:
// the kernel holds the receive, and a buffer is only taken when there are bytes for it.
type conn struct {
	engine.Identity
	e  *Engine
	fd int

	sending []byte // what the kernel is sending, see Blocks
	sent    int    // bytes of it that it has taken
	queue   []byte // what comes after it
	err     error  // that ended the input; for OnClose

	first, last uint32 // the list of what is received and not yet given to OnData
	buffer      uint32 // without a buffer ring: what the receive under way was given
	active      uint32 // the tick in which a byte last moved
	turn        uint32 // when it last had OnData, and
	budget      int    // how much more it may have in that turn

	inFlight   uint8 // operations under way
	receiving  bool  // a receive is among them,
	cancelling bool  // and its cancellation
	busy       bool  // a send is among them
	listed     bool  // in e.ready
	pending    bool  // in e.unsent
	hungry     bool  // in e.starved
	paused     bool  // not read from until the queue has drained
	over       bool  // the input has ended: end of data, or err
	eof        bool  // and OnData has had all of it
	finish     bool  // CloseWrite was called
	closed     bool  // in e.closing, or gone
	gone       bool  // has had its OnClose
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

// CloseWrite implements [engine.Conn].
//
// TODO step 8: note it, and send the FIN: now, or from written when the queue is empty.
func (c *conn) CloseWrite() error {
	panic(engine.NotImplemented("06.8", "Conn.CloseWrite"))
}

// sendFIN ends the output. As an operation that is work for a thread of the kernel's own
// (io_shutdown_prep in io_uring/net.c forces it), so it is one only where there is no
// descriptor to call shutdown(2) with.
//
// TODO step 8: sock.CloseWrite (count it); with Direct IORING_OP_SHUTDOWN, whose Len is how:
// SHUT_WR.
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
// TODO step 7: for each connection in e.closing, in order: lower the counts (e.stats's and
// e.port's), OnClose with its error, give its buffers and its queue back, cancel what is under
// way, and release. OnClose may end others, which then stand at the end of the same list.
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
