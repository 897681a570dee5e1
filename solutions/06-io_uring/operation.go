//go:build linux

package uringloop

import "iolab/lessons/06-io_uring/abi"

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
	opTick
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

// prepare returns a submission for an operation on fd, which is c's if c is not nil. The
// queue may be full in the middle of a turn; then the kernel gets what is prepared so far.
func (e *Engine) prepare(op operation, opcode uint8, c *conn, fd int) *abi.SQE {
	sqe := e.ring.SQE()
	for ; sqe == nil; sqe = e.ring.SQE() {
		if err := e.enter(0); err != nil {
			sqe = new(abi.SQE) // goes nowhere; the next Poll meets the same error, and returns it
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
			sqe.Flags = abi.IOSQE_FIXED_FILE
		}
	}
	sqe.Opcode, sqe.Fd, sqe.UserData = opcode, int32(fd), uint64(tokenOf(op, generation, fd))
	return sqe
}

// generation tells connections apart that had the same descriptor.
func (c *conn) generation() uint32 { return uint32(c.ID()) & generationMask }

// cancel asks the kernel to end an operation of c's. It is a request: the operation
// completes, with ECANCELED or with what it has done, and so does the cancellation.
func (e *Engine) cancel(op operation, c *conn) {
	sqe := e.prepare(opCancel, abi.IORING_OP_ASYNC_CANCEL, c, c.fd)
	sqe.Flags, sqe.Fd, sqe.Addr = 0, -1, uint64(tokenOf(op, c.generation(), c.fd))
}

// cancelOwn is cancel for an operation that is no connection's.
func (e *Engine) cancelOwn(op operation, i int) {
	sqe := e.prepare(opCancel, abi.IORING_OP_ASYNC_CANCEL, nil, -1)
	sqe.Addr = uint64(tokenOf(op, 0, i))
}
