//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package kqueue

import "golang.org/x/sys/unix"

// Kevent_t is the struct kevent of kevent(2).
type Kevent_t = unix.Kevent_t

// Timespec is how long Kevent waits at most.
type Timespec = unix.Timespec

// Kqueue makes a queue and returns its descriptor, which a child of fork(2) does not
// inherit. See kqueue(2).
func Kqueue() (int, error) { return unix.Kqueue() }

// Kevent applies the changes, then waits for events and returns how many there are. See
// kevent(2).
func Kevent(kq int, changes, events []Kevent_t, timeout *Timespec) (int, error) {
	return unix.Kevent(kq, changes, events, timeout)
}

// SetKevent fills in the three fields that every change has.
func SetKevent(k *Kevent_t, fd, mode, flags int) { unix.SetKevent(k, fd, mode, flags) }

// Close closes a queue.
func Close(kq int) error { return unix.Close(kq) }

// What all systems have.
const (
	EVFILT_READ  = unix.EVFILT_READ
	EVFILT_WRITE = unix.EVFILT_WRITE
	EVFILT_TIMER = unix.EVFILT_TIMER

	EV_ADD     = unix.EV_ADD
	EV_DELETE  = unix.EV_DELETE
	EV_ENABLE  = unix.EV_ENABLE
	EV_DISABLE = unix.EV_DISABLE
	EV_ONESHOT = unix.EV_ONESHOT
	EV_CLEAR   = unix.EV_CLEAR
	EV_EOF     = unix.EV_EOF
	EV_ERROR   = unix.EV_ERROR

	NOTE_LOWAT = unix.NOTE_LOWAT
)
