//go:build linux

package uringloop

import (
	"time"

	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{abi.IORING_OP_READ, sock.Write, time.Second}

// Wake implements [engine.Engine].
//
// TODO step 9: write to the eventfd, unless a wake is on its way already. It may be called
// from any goroutine, also after Close.
func (e *Engine) Wake() {
	panic(engine.NotImplemented("06.9", "Engine.Wake"))
}

// armWake has the kernel read the eventfd as soon as there is something in it.
//
// TODO step 5: prepare a read of 8 bytes from the eventfd into e.shared.woken. Its token has 0
// in the place of the descriptor, so that cancelOwn(opWake, 0) finds it.
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

// armTick has the kernel count quarters of the idle timeout: for ever, or one.
//
// A timeout linked to the receive (IORING_OP_LINK_TIMEOUT) is of no use to one that goes on:
// it counts from the submission, not from the last byte, and ends a busy connection too.
//
// TODO step 9: IORING_OP_TIMEOUT: Addr is that of e.shared.quarter, Len is 1; multishot if
// it can be. Its token is as that of the wake. complete notes the tick in e.ticked.
func (e *Engine) armTick() {
	if e.cfg.IdleTimeout > 0 {
		panic(engine.NotImplemented("06.9", "Engine.armTick"))
	}
}

// sweep ends connections on which nothing has moved for the idle timeout: in the quarter in
// which it last did it may have been at the very end, so four more have to be over. After
// a long turn several ticks are one: what has come meanwhile is served first.
//
// TODO step 9: after a tick: count it in e.tick, and end every connection that was active
// more than four ticks ago.
func (e *Engine) sweep() {
	if e.ticked {
		panic(engine.NotImplemented("06.9", "Engine.sweep"))
	}
}
