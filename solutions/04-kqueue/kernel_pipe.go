//go:build netbsd || openbsd

package kqueueloop

import (
	"iolab/lessons/04-kqueue/kqueue"
	"iolab/lessons/engine/sock"
)

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
func (w *wakeEvent) open(e *Engine) (err error) {
	if w.r, w.w, err = sock.Pipe(); err != nil {
		return err
	}
	w.opened = true
	e.change(w.r, kqueue.EVFILT_READ, kqueue.EV_ADD, 0)
	return nil
}

// is tells whether an event of ident and filter is this one.
func (w *wakeEvent) is(ident, filter int) bool {
	return ident == w.r && filter == kqueue.EVFILT_READ
}

// trigger makes the event happen.
func (w *wakeEvent) trigger(int) { _, _ = sock.Write(w.w, []byte{0}) }

// drain has the event over.
func (w *wakeEvent) drain() {
	var b [64]byte
	_, _ = sock.Read(w.r, b[:])
}

// close gives back what open has taken.
func (w *wakeEvent) close() {
	if w.opened {
		sock.Close(w.r)
		sock.Close(w.w)
	}
	w.opened = false
}
