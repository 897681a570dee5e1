//go:build netbsd || openbsd

package kqueueloop

import (
	"iolab/lessons/04-kqueue/kqueue"
	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{sock.Pipe, kqueue.Kevent}

// What takes the place of kernel_user.go on NetBSD, which has EVFILT_USER and EV_DISPATCH
// only since version 10, and on OpenBSD, where x/sys has no EVFILT_USER.

// dispatchFlag is empty: knotes stay enabled, and EV_DISABLE stops one that is not to be
// read from.
const dispatchFlag = 0

// wakeEvent is what ends a wait: a pipe, as in lesson 01.
type wakeEvent struct {
	opened bool
	r, w   int
}

// open makes the pipe, and has its readable end watched.
//
// TODO step 1: a pipe, and its readable end into the changes.
func (w *wakeEvent) open(e *Engine) (err error) {
	panic(engine.NotImplemented("04.1", "wakeEvent.open"))
}

// is tells whether an event of ident and filter is this one.
//
// TODO step 1: look at the ident and the filter.
func (w *wakeEvent) is(ident, filter int) bool {
	panic(engine.NotImplemented("04.1", "wakeEvent.is"))
}

// trigger makes the event happen.
//
// TODO step 9: write a byte.
func (w *wakeEvent) trigger(int) {
	panic(engine.NotImplemented("04.9", "wakeEvent.trigger"))
}

// drain has the event over.
//
// TODO step 9: make it unreadable again.
func (w *wakeEvent) drain() {
	panic(engine.NotImplemented("04.9", "wakeEvent.drain"))
}

// close gives back what open has taken.
//
// TODO step 1: close both ends, if they are open.
func (w *wakeEvent) close() {
	panic(engine.NotImplemented("04.1", "wakeEvent.close"))
}
