//go:build linux || darwin || freebsd || dragonfly

package kqueueloop

import "iolab/lessons/04-kqueue/kqueue"

// What these kernels have and NetBSD (before 10) and OpenBSD have not; for them there is
// kernel_pipe.go.

// dispatchFlag makes a knote disable itself when it is reported.
const dispatchFlag = kqueue.EV_DISPATCH

// wakeEvent is what ends a wait: a user event.
type wakeEvent struct{}

// open adds the user event. EV_CLEAR: when it has been reported it is over.
func (w *wakeEvent) open(e *Engine) error {
	e.change(wakeIdent, kqueue.EVFILT_USER, kqueue.EV_ADD|kqueue.EV_CLEAR, 0)
	return nil
}

// is tells whether an event of ident and filter is this one.
func (w *wakeEvent) is(ident, filter int) bool { return filter == kqueue.EVFILT_USER }

// trigger makes the event happen. A kevent without room for events does not wait, and may
// be called while the loop waits in another.
func (w *wakeEvent) trigger(kq int) {
	change := []kqueue.Kevent_t{{Fflags: kqueue.NOTE_TRIGGER}}
	kqueue.SetKevent(&change[0], wakeIdent, kqueue.EVFILT_USER, 0)
	_, _ = kqueue.Kevent(kq, change, nil, nil)
}

// drain has the event over. It is already: see EV_CLEAR above.
func (w *wakeEvent) drain() {}

// close gives back what open has taken: nothing, the queue is closed anyway.
func (w *wakeEvent) close() {}
