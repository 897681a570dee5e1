//go:build darwin || netbsd || openbsd

package sock

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Without accept4 and its like (macOS has none, x/sys lacks those of NetBSD and
// OpenBSD) a descriptor is open for a moment before it is close-on-exec. The fork lock
// keeps a child that another goroutine starts from inheriting it in that moment.

func socket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	return fd, setFlags(fd)
}

func accept(listener int) (int, netip.AddrPort, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, sa, err := unix.Accept(listener)
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	return fd, AddrPort(sa), setFlags(fd)
}

func pipe(p []int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := unix.Pipe(p); err != nil {
		return err
	}
	if err := setFlags(p[0]); err != nil {
		unix.Close(p[1])
		return err
	}
	return setFlags(p[1])
}

// setFlags makes fd close-on-exec and non-blocking, or closes it.
func setFlags(fd int) error {
	unix.CloseOnExec(fd)
	err := unix.SetNonblock(fd, true)
	if err != nil {
		unix.Close(fd)
	}
	return err
}
