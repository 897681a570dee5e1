//go:build linux

package uringloop

import (
	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
)

//lint:file-ignore U1000 most of it waits for its step

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
//
// TODO step 5: a submission with its token. If the queue is full, enter, and take
// completions in early. Count it in c.inFlight; with Direct fd is an index of the ring's
// table.
func (e *Engine) prepare(op operation, opcode uint8, c *conn, fd int) *abi.SQE {
	panic(engine.NotImplemented("06.5", "Engine.prepare"))
}

// generation tells connections apart that had the same descriptor.
func (c *conn) generation() uint32 { return uint32(c.ID()) & generationMask }

// cancel asks the kernel to end an operation of c's. It is a request: the operation
// completes, with ECANCELED or with what it has done, and so does the cancellation.
//
// TODO step 6: IORING_OP_ASYNC_CANCEL: Addr is the token to look for.
func (e *Engine) cancel(op operation, c *conn) {
	panic(engine.NotImplemented("06.6", "Engine.cancel"))
}

// cancelOwn is cancel for an operation that is no connection's.
//
// TODO step 5: as cancel: Addr is the token of op with generation 0, and i in the place of the
// descriptor.
func (e *Engine) cancelOwn(op operation, i int) {
	panic(engine.NotImplemented("06.5", "Engine.cancelOwn"))
}
