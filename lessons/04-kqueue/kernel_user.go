//go:build linux || darwin || freebsd || dragonfly

package kqueueloop

import (
	"iolab/lessons/04-kqueue/kqueue"
	"iolab/lessons/engine"
)

//lint:file-ignore U1000 most of it waits for its step

// What these kernels have and NetBSD (before 10) and OpenBSD have not; for them there is
// kernel_pipe.go.

// dispatchFlag makes a knote disable itself when it is reported.
const dispatchFlag = kqueue.EV_DISPATCH

// wakeEvent is what ends a wait: a user event.
type wakeEvent struct{}

// open adds the user event.
//
// TODO step 1: a user event, wakeIdent, into the changes.
func (w *wakeEvent) open(e *Engine) error {
	panic(engine.NotImplemented("04.1", "wakeEvent.open"))
}

// is tells whether an event of ident and filter is this one.
//
// TODO step 1: look at the filter.
func (w *wakeEvent) is(ident, filter int) bool {
	panic(engine.NotImplemented("04.1", "wakeEvent.is"))
}

// trigger makes the event happen. A kevent without room for events does not wait, and may
// be called while the loop waits in another.
//
// TODO step 9: a kevent with one change and no room for events: NOTE_TRIGGER in fflags.
func (w *wakeEvent) trigger(kq int) {
	panic(engine.NotImplemented("04.9", "wakeEvent.trigger"))
}

// drain has the event over.
//
// TODO step 9: think about what EV_CLEAR leaves to do.
func (w *wakeEvent) drain() {
	panic(engine.NotImplemented("04.9", "wakeEvent.drain"))
}

// close gives back what open has taken.
//
// TODO step 1: think about what there is to give back.
func (w *wakeEvent) close() {
	panic(engine.NotImplemented("04.1", "wakeEvent.close"))
}
