package sys

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	FD_SETSIZE   = unix.FD_SETSIZE
	SOL_SOCKET   = unix.SOL_SOCKET
	SO_REUSEADDR = unix.SO_REUSEADDR
	IPPROTO_TCP  = unix.IPPROTO_TCP
	TCP_NODELAY  = unix.TCP_NODELAY
	SHUT_WR      = unix.SHUT_WR
	EAGAIN       = unix.EAGAIN
	EINTR        = unix.EINTR
	EMFILE       = unix.EMFILE
	ENFILE       = unix.ENFILE
	ENOBUFS      = unix.ENOBUFS
	ENOMEM       = unix.ENOMEM
)

type (
	FdSet   = unix.FdSet
	Timeval = unix.Timeval
)

func Fits(fd, members int) bool                             { return fd < FD_SETSIZE }
func Select(n int, r, w, e *FdSet, t *Timeval) (int, error) { return unix.Select(n, r, w, e, t) }
func NsecToTimeval(n int64) Timeval                         { return unix.NsecToTimeval(n) }
func Sockaddr(a netip.AddrPort) (int, unix.Sockaddr) {
	return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}
func Socket(f int) (int, error)                  { return unix.Socket(f, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) }
func SetNonblock(fd int, b bool) error           { return unix.SetNonblock(fd, b) }
func SetsockoptInt(fd, l, o, v int) error        { return unix.SetsockoptInt(fd, l, o, v) }
func Bind(fd int, sa unix.Sockaddr) error        { return unix.Bind(fd, sa) }
func Listen(fd, n int) error                     { return unix.Listen(fd, n) }
func Getsockname(fd int) (netip.AddrPort, error) { sa, err := unix.Getsockname(fd); return ap(sa), err }
func ap(sa unix.Sockaddr) netip.AddrPort {
	if s, ok := sa.(*unix.SockaddrInet4); ok {
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}
func Accept(fd int) (int, netip.AddrPort, error) {
	n, sa, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return n, ap(sa), err
}
func Read(fd int, p []byte) (int, error)  { return unix.Read(fd, p) }
func Write(fd int, p []byte) (int, error) { return unix.Write(fd, p) }
func Shutdown(fd, how int) error          { return unix.Shutdown(fd, how) }
func Close(fd int) error                  { return unix.Close(fd) }
func WakePair() (int, int, error) {
	var p [2]int
	err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
	return p[0], p[1], err
}
