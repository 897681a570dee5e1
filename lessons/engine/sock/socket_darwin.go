package sock

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// macOS has neither accept4 nor SOCK_CLOEXEC. The fork lock keeps a child that
// another goroutine starts from inheriting the descriptor in between.

func socket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	return fd, setFlags(fd)
}

func accept(listener int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, sa, err := unix.Accept(listener)
	if err != nil {
		return -1, nil, err
	}
	return fd, sa, setFlags(fd)
}

func setFlags(fd int) error {
	unix.CloseOnExec(fd)
	err := unix.SetNonblock(fd, true)
	if err != nil {
		unix.Close(fd)
	}
	return err
}
