//go:build unix

// Package sock is the TCP socket work of lesson 01, kept so that the lessons
// after it need not repeat it: every descriptor non-blocking and close-on-exec,
// every system call retried when a signal interrupts it.
package sock

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Listen opens a listening socket on addr and returns it with the address it is
// bound to. backlog is the length of the accept queue.
func Listen(addr netip.AddrPort, backlog int) (fd int, bound netip.AddrPort, err error) {
	// Connections of an earlier run of this server wait in TIME_WAIT for a minute;
	// without SO_REUSEADDR they would keep the port.
	return listen(addr, backlog, unix.SO_REUSEADDR)
}

// listen is Listen with the given options of SOL_SOCKET switched on.
func listen(addr netip.AddrPort, backlog int, options ...int) (fd int, bound netip.AddrPort, err error) {
	family, sa := Sockaddr(addr)
	fd, err = socket(family)
	if err != nil {
		return -1, bound, fmt.Errorf("listen on %s: %w", addr, os.NewSyscallError("socket", err))
	}
	if bound, err = bindAndListen(fd, sa, backlog, options); err != nil {
		unix.Close(fd)
		return -1, bound, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return fd, bound, nil
}

func bindAndListen(fd int, sa unix.Sockaddr, backlog int, options []int) (bound netip.AddrPort, err error) {
	for _, option := range options {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			return bound, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return bound, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return bound, os.NewSyscallError("listen", err)
	}
	sa, err = unix.Getsockname(fd)
	return AddrPort(sa), os.NewSyscallError("getsockname", err)
}

// Accept takes the next connection from listener's accept queue: non-blocking,
// close-on-exec, and with TCP_NODELAY, since an engine hands the kernel whole
// answers and has nothing to gain from Nagle's wait for more. The error is the
// bare errno: EAGAIN when the queue is empty.
func Accept(listener int) (fd int, peer netip.AddrPort, err error) {
	for {
		fd, peer, err = AcceptOnce(listener)
		switch err {
		case nil:
			// It fails only on a connection that is dead already, which the first read
			// will say.
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			return fd, peer, nil
		case unix.EINTR, unix.ECONNABORTED:
			// A signal, or a client that left while it waited: the next one, please.
		default:
			return -1, peer, err
		}
	}
}

// AcceptOnce is the bare accept of a non-blocking, close-on-exec connection.
func AcceptOnce(listener int) (fd int, peer netip.AddrPort, err error) {
	return accept(listener)
}

// Pipe returns the two ends of a non-blocking, close-on-exec pipe.
func Pipe() (r, w int, err error) {
	p := []int{-1, -1}
	err = pipe(p)
	return p[0], p[1], err
}

// CloseWrite sends the end of data after what the kernel has already taken.
func CloseWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// Close closes fd. It is never retried: Linux has freed the descriptor even when
// close(2) reports EINTR, and the number may be somebody else's by now.
func Close(fd int) error { return unix.Close(fd) }

// Sockaddr is addr and its address family, as socket and bind want them.
func Sockaddr(addr netip.AddrPort) (family int, sa unix.Sockaddr) {
	if ip := addr.Addr(); ip.Is4() || ip.Is4In6() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
}

// AddrPort is the address in sa, the zero AddrPort if it has none.
func AddrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
