//go:build unix && !linux

package iocp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// newSocket makes a socket, non-blocking and close-on-exec.
func newSocket(kind, family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// moveTo makes the descriptor to mean what from means, with to's flags.
func moveTo(from, to, flags int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := unix.Dup2(from, to); err != nil {
		return err
	}
	_, err := unix.FcntlInt(uintptr(to), unix.F_SETFD, flags)
	return err
}
