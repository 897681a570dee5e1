//go:build linux || darwin || freebsd

package kqueue_test

import "iolab/lessons/04-kqueue/kqueue"

const (
	noteSeconds  = kqueue.NOTE_SECONDS
	noteMseconds = kqueue.NOTE_MSECONDS
	noteUseconds = kqueue.NOTE_USECONDS
	noteNseconds = kqueue.NOTE_NSECONDS
)

const noUnits = ""
