package kqueue

import "golang.org/x/sys/unix"

// OpenBSD has both. It has no EVFILT_USER in x/sys: a pipe does its work.
const (
	EV_RECEIPT  = unix.EV_RECEIPT
	EV_DISPATCH = unix.EV_DISPATCH
)
