//go:build linux || darwin || freebsd || netbsd || dragonfly

package kqueue_test

import "iolab/lessons/04-kqueue/kqueue"

const (
	evfiltUser  = kqueue.EVFILT_USER
	noteTrigger = kqueue.NOTE_TRIGGER
	noteFFNop   = kqueue.NOTE_FFNOP
	noteFFAnd   = kqueue.NOTE_FFAND
	noteFFOr    = kqueue.NOTE_FFOR
	noteFFCopy  = kqueue.NOTE_FFCOPY
	noteFFMask  = kqueue.NOTE_FFLAGSMASK
)

const noUserNames = ""
