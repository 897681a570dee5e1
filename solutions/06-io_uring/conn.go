//go:build linux

package uringloop

import (
	"os"

	"golang.org/x/sys/unix"

	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

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
		sqe := e.prepare(opSend, abi.IORING_OP_SEND, c, c.fd)
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
	c.active = e.tick
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

// sendFIN ends the output. As an operation that is work for a thread of the kernel's own
// (io_shutdown_prep in io_uring/net.c forces it), so it is one only where there is no
// descriptor to call shutdown(2) with.
func (c *conn) sendFIN() {
	if c.e.features.Has(Direct) {
		sqe := c.e.prepare(opShutdown, abi.IORING_OP_SHUTDOWN, c, c.fd)
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
		e.port.Connections.Add(-1)
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
	sqe := e.prepare(opClose, abi.IORING_OP_CLOSE, nil, fd)
	if e.features.Has(Direct) {
		sqe.Fd, sqe.FileIndex = 0, uint32(fd)+1
	}
}
