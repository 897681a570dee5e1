//go:build linux

package uringloop

import (
	"time"

	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

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
	sqe := e.prepare(opWake, abi.IORING_OP_READ, nil, e.wakefd)
	sqe.Addr, sqe.Len = addrOf(&e.shared.woken), 8
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

// armTick has the kernel count quarters of the idle timeout: for ever, or one.
//
// A timeout linked to the receive (IORING_OP_LINK_TIMEOUT) is of no use to one that goes on:
// it counts from the submission, not from the last byte, and ends a busy connection too.
func (e *Engine) armTick() {
	if e.cfg.IdleTimeout <= 0 {
		return
	}
	quarter := max(e.cfg.IdleTimeout/4, time.Nanosecond)
	e.shared.quarter = abi.Timespec{Sec: int64(quarter / time.Second), Nsec: int64(quarter % time.Second)}
	sqe := e.prepare(opTick, abi.IORING_OP_TIMEOUT, nil, -1)
	sqe.Addr, sqe.Len, sqe.UserData = addrOf(&e.shared.quarter), 1, uint64(tokenOf(opTick, 0, 0))
	if e.features.Has(MultishotTimeout) {
		sqe.OpFlags = abi.IORING_TIMEOUT_MULTISHOT
	}
}

// sweep ends connections on which nothing has moved for the idle timeout: in the quarter in
// which it last did it may have been at the very end, so four more have to be over. After
// a long turn several ticks are one: what has come meanwhile is served first.
func (e *Engine) sweep() {
	if !e.ticked {
		return
	}
	e.ticked = false
	e.tick++
	for _, c := range e.conns {
		if c != nil && e.tick-c.active > 4 {
			c.end(engine.ErrIdleTimeout)
		}
	}
}
