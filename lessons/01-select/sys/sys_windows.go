package sys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Winsock's names for the same things.
const (
	SOL_SOCKET = windows.SOL_SOCKET
	// SO_REUSEADDR is Winsock's SO_EXCLUSIVEADDRUSE here. Winsock's own SO_REUSEADDR
	// lets any process take a port that is in use; and a port with connections in
	// TIME_WAIT can be bound without it.
	SO_REUSEADDR = ^windows.SO_REUSEADDR
	IPPROTO_TCP  = windows.IPPROTO_TCP
	TCP_NODELAY  = windows.TCP_NODELAY
	SHUT_WR      = windows.SHUT_WR

	// FD_SETSIZE is the number of sockets in an FdSet. It is this package's choice:
	// Winsock takes any count, and 64 is only what its C header defines by default.
	FD_SETSIZE = 1024
)

// Winsock's errors under their unix names. EINTR and EMFILE-like conditions that
// Windows does not have are here so that the same code compiles.
const (
	EAGAIN       = windows.WSAEWOULDBLOCK
	EBADF        = windows.WSAENOTSOCK
	ECONNABORTED = windows.WSAECONNABORTED
	ECONNRESET   = windows.WSAECONNRESET
	EINTR        = windows.WSAEINTR
	EMFILE       = windows.WSAEMFILE
	ENFILE       = syscall.ENFILE
	ENOBUFS      = windows.WSAENOBUFS
	ENOMEM       = syscall.ENOMEM
	EPIPE        = windows.WSAESHUTDOWN
)

var (
	ws2         = windows.NewLazySystemDLL("ws2_32.dll")
	procSelect  = ws2.NewProc("select")
	procAccept  = ws2.NewProc("accept")
	procIoctl   = ws2.NewProc("ioctlsocket")
	procRecv    = ws2.NewProc("recv")
	procSend    = ws2.NewProc("send")
	procGetName = ws2.NewProc("getsockname")
)

func init() {
	var data windows.WSAData
	if err := windows.WSAStartup(0x202, &data); err != nil {
		panic(fmt.Sprintf("sys: Winsock 2.2 is not to be had: %v", err))
	}
}

// call runs a Winsock procedure, whose result is -1 when it failed; the error is then
// the thread's, which LazyProc.Call has fetched. Pointers among args are on the heap
// and stay alive until it returns, as for LazyProc.Call.
//
//go:uintptrescapes
func call(proc *windows.LazyProc, args ...uintptr) (int, error) {
	r, _, err := proc.Call(args...)
	if int32(r) == -1 {
		return -1, err
	}
	return int(int32(r)), nil
}

// FdSet is Winsock's fd_set: not a bitmap but an array of socket handles with a count.
// A handle may have any value; what is limited is how many there are.
type FdSet struct {
	count uint32
	fds   [FD_SETSIZE]windows.Handle
}

// Set adds fd, once. It panics when the set is full: see Fits.
func (s *FdSet) Set(fd int) {
	if s.IsSet(fd) {
		return
	}
	if s.count == FD_SETSIZE {
		panic("sys: FdSet is full")
	}
	s.fds[s.count] = windows.Handle(fd)
	s.count++
}

// Clear takes fd out.
func (s *FdSet) Clear(fd int) {
	for i, h := range s.fds[:s.count] {
		if h == windows.Handle(fd) {
			s.count--
			s.fds[i] = s.fds[s.count]
			return
		}
	}
}

// IsSet tells whether fd is in the set.
func (s *FdSet) IsSet(fd int) bool {
	for _, h := range s.fds[:s.count] {
		if h == windows.Handle(fd) {
			return true
		}
	}
	return false
}

// Zero empties the set.
func (s *FdSet) Zero() { s.count = 0 }

func fits(_, members int) bool { return members < FD_SETSIZE }

// Timeval is a time in seconds and microseconds.
type Timeval struct{ Sec, Usec int32 }

// NsecToTimeval converts nanoseconds, rounded up to whole microseconds.
func NsecToTimeval(nsec int64) Timeval {
	nsec += 999
	return Timeval{int32(nsec / 1e9), int32(nsec % 1e9 / 1e3)}
}

// Select is Winsock's select. It ignores nfds, and fails with WSAEINVAL if all sets
// are empty.
func Select(_ int, r, w, e *FdSet, timeout *Timeval) (int, error) {
	// The sets are used until the call returns and no longer.
	return call(procSelect, 0, uintptr(unsafe.Pointer(r)), uintptr(unsafe.Pointer(w)), uintptr(unsafe.Pointer(e)), uintptr(unsafe.Pointer(timeout)))
}

// SocketAddress is an address as bind wants it.
type SocketAddress = windows.Sockaddr

// Sockaddr is addr and its address family, as Socket and Bind want them.
func Sockaddr(addr netip.AddrPort) (family int, sa SocketAddress) {
	if ip := addr.Addr(); ip.Is4() || ip.Is4In6() {
		return windows.AF_INET, &windows.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}
	}
	return windows.AF_INET6, &windows.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
}

// Socket makes a TCP socket that child processes do not inherit, still blocking.
func Socket(family int) (int, error) {
	return socket(family, windows.SOCK_STREAM, windows.IPPROTO_TCP)
}

func socket(family, kind, protocol int) (int, error) {
	h, err := windows.WSASocket(int32(family), int32(kind), int32(protocol), nil, 0, windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
	return int(h), err
}

// Bind is Winsock's bind.
func Bind(fd int, sa SocketAddress) error { return windows.Bind(windows.Handle(fd), sa) }

// Listen is Winsock's listen.
func Listen(fd, backlog int) error { return windows.Listen(windows.Handle(fd), backlog) }

// Getsockname is Winsock's getsockname.
func Getsockname(fd int) (netip.AddrPort, error) {
	var raw windows.RawSockaddrAny
	size := int32(unsafe.Sizeof(raw))
	_, err := call(procGetName, uintptr(fd), uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&size)))
	return addrPort(&raw), err
}

func addrPort(raw *windows.RawSockaddrAny) netip.AddrPort {
	// The port is in network byte order, and 6 bytes of header or 2 lie before the
	// address: sockaddr_in6 and sockaddr_in.
	b := (*[28]byte)(unsafe.Pointer(raw)) // of raw's 112 bytes
	port := binary.BigEndian.Uint16(b[2:])
	switch raw.Addr.Family {
	case windows.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case windows.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// SetNonblock is ioctlsocket with FIONBIO.
func SetNonblock(fd int, on bool) error {
	const FIONBIO = 0x8004667e
	var value uint32
	if on {
		value = 1
	}
	_, err := call(procIoctl, uintptr(fd), FIONBIO, uintptr(unsafe.Pointer(&value)))
	return err
}

// SetsockoptInt is Winsock's setsockopt for options that are an int.
func SetsockoptInt(fd, level, option, value int) error {
	if option == SO_REUSEADDR {
		option = ^windows.SO_REUSEADDR // SO_EXCLUSIVEADDRUSE, whose value this is
	}
	return windows.SetsockoptInt(windows.Handle(fd), level, option, value)
}

func accept(fd int) (int, netip.AddrPort, error) {
	var raw windows.RawSockaddrAny
	size := int32(unsafe.Sizeof(raw))
	r, _, err := procAccept.Call(uintptr(fd), uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&size)))
	conn := windows.Handle(r)
	if conn == windows.InvalidHandle {
		return -1, netip.AddrPort{}, err
	}
	// accept's socket has the listener's modes, but can be inherited.
	if err := errors.Join(windows.SetHandleInformation(conn, windows.HANDLE_FLAG_INHERIT, 0), SetNonblock(int(conn), true)); err != nil {
		windows.Closesocket(conn)
		return -1, netip.AddrPort{}, err
	}
	return int(conn), addrPort(&raw), nil
}

// Read is Winsock's recv: 0 is the end of data.
func Read(fd int, p []byte) (int, error) {
	return call(procRecv, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0)
}

// Write is Winsock's send: it may take less than p.
func Write(fd int, p []byte) (int, error) {
	return call(procSend, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0)
}

// Shutdown is Winsock's shutdown.
func Shutdown(fd, how int) error { return windows.Shutdown(windows.Handle(fd), how) }

// Close is closesocket.
func Close(fd int) error { return windows.Closesocket(windows.Handle(fd)) }

func wakePair() (r, w int, err error) {
	r, w = -1, -1
	defer func() {
		if err != nil {
			Close(r)
			Close(w)
			r, w = -1, -1
		}
	}()
	loopback := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	var names [2]netip.AddrPort
	for i, fd := range []*int{&r, &w} {
		if *fd, err = socket(windows.AF_INET, windows.SOCK_DGRAM, windows.IPPROTO_UDP); err != nil {
			return r, w, err
		}
		_, sa := Sockaddr(loopback)
		if err = Bind(*fd, sa); err != nil {
			return r, w, err
		}
		if names[i], err = Getsockname(*fd); err != nil {
			return r, w, err
		}
		if err = SetNonblock(*fd, true); err != nil {
			return r, w, err
		}
	}
	// Connected to each other, they take datagrams from nobody else.
	for fd, peer := range map[int]netip.AddrPort{r: names[1], w: names[0]} {
		_, sa := Sockaddr(peer)
		if err = windows.Connect(windows.Handle(fd), sa); err != nil {
			return r, w, err
		}
	}
	return r, w, nil
}
