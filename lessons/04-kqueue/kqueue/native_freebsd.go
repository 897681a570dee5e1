package kqueue

import "golang.org/x/sys/unix"

// The units of a timer's data. Milliseconds are the default.
const (
	NOTE_SECONDS  = unix.NOTE_SECONDS
	NOTE_MSECONDS = unix.NOTE_MSECONDS
	NOTE_USECONDS = unix.NOTE_USECONDS
	NOTE_NSECONDS = unix.NOTE_NSECONDS
)
