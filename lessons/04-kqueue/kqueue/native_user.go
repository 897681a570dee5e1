//go:build darwin || freebsd || dragonfly

package kqueue

import "golang.org/x/sys/unix"

// EVFILT_USER, and its notes.
const (
	EVFILT_USER = unix.EVFILT_USER

	NOTE_TRIGGER    = unix.NOTE_TRIGGER
	NOTE_FFNOP      = unix.NOTE_FFNOP
	NOTE_FFAND      = unix.NOTE_FFAND
	NOTE_FFOR       = unix.NOTE_FFOR
	NOTE_FFCOPY     = unix.NOTE_FFCOPY
	NOTE_FFCTRLMASK = unix.NOTE_FFCTRLMASK
	NOTE_FFLAGSMASK = unix.NOTE_FFLAGSMASK
	EV_DISPATCH     = unix.EV_DISPATCH
	EV_RECEIPT      = unix.EV_RECEIPT
)
