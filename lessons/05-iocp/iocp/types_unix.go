//go:build unix

package iocp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"
)

// Handle is a socket or a completion port.
type Handle uintptr

// InvalidHandle is what a call that makes a handle returns when it fails.
const InvalidHandle = ^Handle(0)

// Winsock's and kernel32's constants.
const (
	AF_INET     = 2
	AF_INET6    = 23
	SOCK_STREAM = 1
	IPPROTO_TCP = 6
	SOMAXCONN   = 0x7fffffff

	SOL_SOCKET                = 0xffff
	SO_REUSEADDR              = 4
	SO_EXCLUSIVEADDRUSE       = ^SO_REUSEADDR
	SO_LINGER                 = 0x80
	SO_SNDBUF                 = 0x1001
	SO_RCVBUF                 = 0x1002
	SO_UPDATE_ACCEPT_CONTEXT  = 0x700b
	SO_UPDATE_CONNECT_CONTEXT = 0x7010
	TCP_NODELAY               = 1

	SD_RECEIVE = 0
	SD_SEND    = 1
	SD_BOTH    = 2

	WSA_FLAG_OVERLAPPED        = 0x01
	WSA_FLAG_NO_HANDLE_INHERIT = 0x80

	INFINITE = 0xffffffff

	FILE_SKIP_COMPLETION_PORT_ON_SUCCESS = 1
	FILE_SKIP_SET_EVENT_ON_HANDLE        = 2
)

// Overlapped is one operation in flight: see the package comment. Internal is its status
// (an NTSTATUS: 0x103 while it is in flight), InternalHigh the number of bytes.
type Overlapped struct {
	Internal     uintptr
	InternalHigh uintptr
	Offset       uint32
	OffsetHigh   uint32
	HEvent       Handle
}

// OverlappedEntry is a completion as GetQueuedCompletionStatusEx gives it.
type OverlappedEntry struct {
	Key        uintptr
	Overlapped *Overlapped
	Internal   uintptr
	Bytes      uint32
}

// WSABuf is a piece of memory to send from or to receive into.
type WSABuf struct {
	Len uint32
	Buf *byte
}

// WSAData is what WSAStartup fills in.
type WSAData struct {
	Version     uint16
	HighVersion uint16
}

// WSAProtocolInfo is not used here.
type WSAProtocolInfo struct{}

// Linger is the value of SO_LINGER.
type Linger struct {
	Onoff  int32
	Linger int32
}

// Sockaddr is an address: *SockaddrInet4 or *SockaddrInet6.
type Sockaddr interface{ addrPort() netip.AddrPort }

// SockaddrInet4 is an IPv4 address and port.
type SockaddrInet4 struct {
	Port int
	Addr [4]byte
}

// SockaddrInet6 is an IPv6 address and port.
type SockaddrInet6 struct {
	Port   int
	ZoneId uint32
	Addr   [16]byte
}

func (sa *SockaddrInet4) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
}

func (sa *SockaddrInet6) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
}

func sockaddr(addr netip.AddrPort) Sockaddr {
	if addr.Addr().Is4() {
		return &SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	return &SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
}

// RawSockaddr begins every address as it lies in memory.
type RawSockaddr struct {
	Family uint16
	Data   [14]int8
}

// RawSockaddrAny has room for every kind of address as it lies in memory.
type RawSockaddrAny struct {
	Addr RawSockaddr
	Pad  [100]int8
}

// Sockaddr is the address in rsa.
func (rsa *RawSockaddrAny) Sockaddr() (Sockaddr, error) {
	// The first 28 of rsa's 116 bytes: sockaddr_in6, or the 16 of sockaddr_in.
	b := (*[28]byte)(unsafe.Pointer(rsa))
	port := int(binary.BigEndian.Uint16(b[2:]))
	switch binary.NativeEndian.Uint16(b[:]) {
	case AF_INET:
		return &SockaddrInet4{Port: port, Addr: [4]byte(b[4:8])}, nil
	case AF_INET6:
		return &SockaddrInet6{Port: port, Addr: [16]byte(b[8:24])}, nil
	}
	return nil, WSAEAFNOSUPPORT
}

// putRaw writes addr as it lies in Windows' memory, and returns how long it is.
func putRaw(b []byte, addr netip.AddrPort) int {
	binary.BigEndian.PutUint16(b[2:], addr.Port())
	if addr.Addr().Is4() {
		binary.NativeEndian.PutUint16(b, AF_INET)
		ip := addr.Addr().As4()
		copy(b[4:], ip[:])
		return 16
	}
	binary.NativeEndian.PutUint16(b, AF_INET6)
	ip := addr.Addr().As16()
	copy(b[8:], ip[:])
	return 28
}
