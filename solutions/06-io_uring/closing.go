//go:build linux

package uringloop

import (
	"context"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

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
	for i := range acceptsAtOnce {
		if e.accepts&(1<<i) != 0 {
			e.cancelOwn(opAccept, i)
		}
	}
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
		defer runtime.UnlockOSThread() // at the very end: the ring is taken down on its thread, too
		for _, c := range e.conns {
			if c != nil {
				c.end(err)
			}
		}
		e.reap()
		e.ready, e.starved = nil, nil // they would keep wait from waiting
		e.cancelAccepts()
		e.cancelOwn(opWake, 0)
		e.cancelOwn(opTick, 0)
		left = e.drain()
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
			return fmt.Errorf("close: %d operations have not completed, and for %v none has", e.ring.InFlight(), drainLimit)
		}
		if err := e.enter(e.wait(max(time.Until(deadline), 0))); err != nil {
			return err
		}
		e.takeIn()
		for _, cqe := range e.batch {
			e.complete(cqe)
			deadline = time.Now().Add(drainLimit) // it goes on, if slowly
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
	if e.shared != nil {
		_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(e.shared)), unsafe.Sizeof(*e.shared)))
		e.shared = nil
	}
}
