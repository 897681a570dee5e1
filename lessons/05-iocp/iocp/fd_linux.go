package iocp

import "golang.org/x/sys/unix"

// newSocket makes a socket, non-blocking and close-on-exec.
func newSocket(kind, family int) (int, error) {
	return unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// moveTo makes the descriptor to mean what from means, with to's flags.
func moveTo(from, to, flags int) error {
	if flags&unix.FD_CLOEXEC != 0 {
		return unix.Dup3(from, to, unix.O_CLOEXEC)
	}
	return unix.Dup3(from, to, 0)
}
