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

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{fmt.Errorf, runtime.UnlockOSThread, time.Until}

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
// there are none, close it. A pause in accepting ends too (e.parked): wait would find its time
// over again and again.
func (e *Engine) stopAccepting() {
	panic(engine.NotImplemented("06.9", "Engine.stopAccepting"))
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
//
// TODO step 5: once: end every connection with err, reap, empty the lists that would keep wait
// from waiting, cancel the accepts, the wake and the tick, and drain. Only then close what
// setup opened, and free the memory; the last is to unlock the thread. Without a first Poll
// there is nothing to drain, and no thread.
func (e *Engine) closeAll(err error) error {
	panic(engine.NotImplemented("06.5", "Engine.closeAll"))
}

// drain takes in completions until none can come any more.
//
// TODO step 5: enter, take in, complete, until nothing is in flight; not for longer than
// drainLimit after the last completion.
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
	if e.shared != nil {
		_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(e.shared)), unsafe.Sizeof(*e.shared)))
		e.shared = nil
	}
}
