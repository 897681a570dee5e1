//go:build unix

package sys

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine/sock"
)

// Constants of x/sys/unix.
const (
	FD_SETSIZE   = unix.FD_SETSIZE
	SOL_SOCKET   = unix.SOL_SOCKET
	SO_REUSEADDR = unix.SO_REUSEADDR
	IPPROTO_TCP  = unix.IPPROTO_TCP
	TCP_NODELAY  = unix.TCP_NODELAY
	SHUT_WR      = unix.SHUT_WR
)

// Errors of x/sys/unix.
const (
	EAGAIN       = unix.EAGAIN
	EBADF        = unix.EBADF
	ECONNABORTED = unix.ECONNABORTED
	ECONNRESET   = unix.ECONNRESET
	EINTR        = unix.EINTR
	EMFILE       = unix.EMFILE
	ENFILE       = unix.ENFILE
	ENOBUFS      = unix.ENOBUFS
	ENOMEM       = unix.ENOMEM
	EPIPE        = unix.EPIPE
)

type (
	// FdSet is a bitmap with a bit for each descriptor below FD_SETSIZE. Its methods
	// panic for others.
	FdSet = unix.FdSet
	// Timeval is a time in seconds and microseconds.
	Timeval = unix.Timeval
	// SocketAddress is an address as bind wants it.
	SocketAddress = unix.Sockaddr
)

// Select is select(2): it waits until a descriptor in r is readable, one in w
// writable, or timeout is over (nil: without limit), leaves the ready ones in the
// sets, and returns how many there are. Linux also writes the time that was left into
// timeout; x/sys hides that where it goes through pselect6(2).
func Select(nfds int, r, w, e *FdSet, timeout *Timeval) (int, error) {
	return unix.Select(nfds, r, w, e, timeout)
}

// NsecToTimeval converts nanoseconds, rounded up to whole microseconds.
func NsecToTimeval(nsec int64) Timeval { return unix.NsecToTimeval(nsec) }

// Sockaddr is addr and its address family, as Socket and Bind want them.
func Sockaddr(addr netip.AddrPort) (family int, sa SocketAddress) { return sock.Sockaddr(addr) }

// Socket makes a TCP socket, close-on-exec and still blocking.
func Socket(family int) (int, error) {
	// The fork lock keeps a child that another goroutine starts from inheriting the
	// descriptor before it is close-on-exec; not every system has SOCK_CLOEXEC.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

// Bind is bind(2).
func Bind(fd int, sa SocketAddress) error { return unix.Bind(fd, sa) }

// Listen is listen(2).
func Listen(fd, backlog int) error { return unix.Listen(fd, backlog) }

// Getsockname is getsockname(2).
func Getsockname(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	return sock.AddrPort(sa), err
}

// SetNonblock sets or clears O_NONBLOCK.
func SetNonblock(fd int, on bool) error { return unix.SetNonblock(fd, on) }

// SetsockoptInt is setsockopt(2) for options that are an int.
func SetsockoptInt(fd, level, option, value int) error {
	return unix.SetsockoptInt(fd, level, option, value)
}

// Read is read(2): 0 is the end of data.
func Read(fd int, p []byte) (int, error) { return unix.Read(fd, p) }

// Write is write(2): it may take less than p. (Writing to a connection that is gone
// is EPIPE; Go's runtime takes care of the signal that goes with it.)
func Write(fd int, p []byte) (int, error) { return unix.Write(fd, p) }

// Shutdown is shutdown(2).
func Shutdown(fd, how int) error { return unix.Shutdown(fd, how) }

// Close is close(2).
func Close(fd int) error { return unix.Close(fd) }

func fits(fd, _ int) bool { return fd < FD_SETSIZE }

func accept(fd int) (int, netip.AddrPort, error) { return sock.AcceptOnce(fd) }

func wakePair() (r, w int, err error) { return sock.Pipe() }
