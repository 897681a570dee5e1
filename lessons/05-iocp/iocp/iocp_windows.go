package iocp

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// x/sys's types.
type (
	Handle          = windows.Handle
	Errno           = syscall.Errno
	Overlapped      = windows.Overlapped
	WSABuf          = windows.WSABuf
	WSAData         = windows.WSAData
	WSAProtocolInfo = windows.WSAProtocolInfo
	Linger          = windows.Linger
	Sockaddr        = windows.Sockaddr
	SockaddrInet4   = windows.SockaddrInet4
	SockaddrInet6   = windows.SockaddrInet6
	RawSockaddr     = windows.RawSockaddr
	RawSockaddrAny  = windows.RawSockaddrAny
)

// x/sys's constants, and SD_SEND and its like, which it calls SHUT_WR.
const (
	InvalidHandle = windows.InvalidHandle

	AF_INET     = windows.AF_INET
	AF_INET6    = windows.AF_INET6
	SOCK_STREAM = windows.SOCK_STREAM
	IPPROTO_TCP = windows.IPPROTO_TCP
	SOMAXCONN   = windows.SOMAXCONN

	SOL_SOCKET                = windows.SOL_SOCKET
	SO_REUSEADDR              = windows.SO_REUSEADDR
	SO_EXCLUSIVEADDRUSE       = ^windows.SO_REUSEADDR
	SO_LINGER                 = windows.SO_LINGER
	SO_SNDBUF                 = windows.SO_SNDBUF
	SO_RCVBUF                 = windows.SO_RCVBUF
	SO_UPDATE_ACCEPT_CONTEXT  = windows.SO_UPDATE_ACCEPT_CONTEXT
	SO_UPDATE_CONNECT_CONTEXT = windows.SO_UPDATE_CONNECT_CONTEXT
	TCP_NODELAY               = windows.TCP_NODELAY

	SD_RECEIVE = windows.SHUT_RD
	SD_SEND    = windows.SHUT_WR
	SD_BOTH    = windows.SHUT_RDWR

	WSA_FLAG_OVERLAPPED        = windows.WSA_FLAG_OVERLAPPED
	WSA_FLAG_NO_HANDLE_INHERIT = windows.WSA_FLAG_NO_HANDLE_INHERIT

	INFINITE = windows.INFINITE

	FILE_SKIP_COMPLETION_PORT_ON_SUCCESS = windows.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS
	FILE_SKIP_SET_EVENT_ON_HANDLE        = windows.FILE_SKIP_SET_EVENT_ON_HANDLE
)

// x/sys's error numbers.
const (
	ERROR_INVALID_HANDLE      = windows.ERROR_INVALID_HANDLE
	ERROR_NETNAME_DELETED     = windows.ERROR_NETNAME_DELETED
	ERROR_INVALID_PARAMETER   = windows.ERROR_INVALID_PARAMETER
	ERROR_SEM_TIMEOUT         = windows.ERROR_SEM_TIMEOUT
	WAIT_TIMEOUT              = windows.WAIT_TIMEOUT
	ERROR_ABANDONED_WAIT_0    = windows.ERROR_ABANDONED_WAIT_0
	ERROR_OPERATION_ABORTED   = windows.ERROR_OPERATION_ABORTED
	ERROR_IO_INCOMPLETE       = windows.ERROR_IO_INCOMPLETE
	ERROR_IO_PENDING          = windows.ERROR_IO_PENDING
	ERROR_NOT_FOUND           = windows.ERROR_NOT_FOUND
	ERROR_CONNECTION_REFUSED  = windows.ERROR_CONNECTION_REFUSED
	ERROR_NETWORK_UNREACHABLE = windows.ERROR_NETWORK_UNREACHABLE
	ERROR_HOST_UNREACHABLE    = windows.ERROR_HOST_UNREACHABLE
	ERROR_CONNECTION_ABORTED  = windows.ERROR_CONNECTION_ABORTED
	ERROR_NO_SYSTEM_RESOURCES = windows.ERROR_NO_SYSTEM_RESOURCES
	WSAEACCES                 = windows.WSAEACCES
	WSAEFAULT                 = windows.WSAEFAULT
	WSAEINVAL                 = windows.WSAEINVAL
	WSAEMFILE                 = windows.WSAEMFILE
	WSAENOTSOCK               = windows.WSAENOTSOCK
	WSAENOPROTOOPT            = windows.WSAENOPROTOOPT
	WSAEOPNOTSUPP             = windows.WSAEOPNOTSUPP
	WSAEAFNOSUPPORT           = windows.WSAEAFNOSUPPORT
	WSAEADDRINUSE             = windows.WSAEADDRINUSE
	WSAEADDRNOTAVAIL          = windows.WSAEADDRNOTAVAIL
	WSAENETUNREACH            = windows.WSAENETUNREACH
	WSAECONNABORTED           = windows.WSAECONNABORTED
	WSAECONNRESET             = windows.WSAECONNRESET
	WSAENOBUFS                = windows.WSAENOBUFS
	WSAEISCONN                = windows.WSAEISCONN
	WSAENOTCONN               = windows.WSAENOTCONN
	WSAESHUTDOWN              = windows.WSAESHUTDOWN
	WSAETIMEDOUT              = windows.WSAETIMEDOUT
	WSAECONNREFUSED           = windows.WSAECONNREFUSED
	WSAEHOSTUNREACH           = windows.WSAEHOSTUNREACH
)

// OverlappedEntry is OVERLAPPED_ENTRY, which x/sys lacks.
type OverlappedEntry struct {
	Key        uintptr
	Overlapped *Overlapped
	Internal   uintptr
	Bytes      uint32
}

var procGetQueuedCompletionStatusEx = windows.NewLazySystemDLL("kernel32.dll").NewProc("GetQueuedCompletionStatusEx")

// The functions of x/sys. Like x/sys's own they do not make the pointers escape that they
// are given: what the kernel keeps has to be on the heap by other means.

func WSAStartup(verreq uint32, data *WSAData) error { return windows.WSAStartup(verreq, data) }

func WSACleanup() error { return windows.WSACleanup() }

func WSASocket(af int32, typ int32, protocol int32, protoInfo *WSAProtocolInfo, group uint32, flags uint32) (Handle, error) {
	return windows.WSASocket(af, typ, protocol, protoInfo, group, flags)
}

func Closesocket(h Handle) error { return windows.Closesocket(h) }

func Bind(fd Handle, sa Sockaddr) error { return windows.Bind(fd, sa) }

func Listen(h Handle, backlog int) error { return windows.Listen(h, backlog) }

func Getsockname(fd Handle) (Sockaddr, error) { return windows.Getsockname(fd) }

func Getpeername(fd Handle) (Sockaddr, error) { return windows.Getpeername(fd) }

func Setsockopt(h Handle, level, optname int32, optval *byte, optlen int32) error {
	return windows.Setsockopt(h, level, optname, optval, optlen)
}

func SetsockoptInt(h Handle, level, opt, value int) error {
	return windows.SetsockoptInt(h, level, opt, value)
}

func SetsockoptLinger(h Handle, level, opt int, l *Linger) error {
	return windows.SetsockoptLinger(h, level, opt, l)
}

func Shutdown(fd Handle, how int) error { return windows.Shutdown(fd, how) }

func SetFileCompletionNotificationModes(handle Handle, flags uint8) error {
	return windows.SetFileCompletionNotificationModes(handle, flags)
}

func CancelIoEx(h Handle, o *Overlapped) error { return windows.CancelIoEx(h, o) }

func WSAGetOverlappedResult(h Handle, o *Overlapped, bytes *uint32, wait bool, flags *uint32) error {
	return windows.WSAGetOverlappedResult(h, o, bytes, wait, flags)
}

func WSARecv(h Handle, bufs *WSABuf, bufcnt uint32, recvd *uint32, flags *uint32, overlapped *Overlapped, croutine *byte) error {
	return windows.WSARecv(h, bufs, bufcnt, recvd, flags, overlapped, croutine)
}

func WSASend(h Handle, bufs *WSABuf, bufcnt uint32, sent *uint32, flags uint32, overlapped *Overlapped, croutine *byte) error {
	return windows.WSASend(h, bufs, bufcnt, sent, flags, overlapped, croutine)
}

func AcceptEx(ls Handle, as Handle, buf *byte, rxdatalen uint32, laddrlen uint32, raddrlen uint32, recvd *uint32, overlapped *Overlapped) error {
	return windows.AcceptEx(ls, as, buf, rxdatalen, laddrlen, raddrlen, recvd, overlapped)
}

func GetAcceptExSockaddrs(buf *byte, rxdatalen uint32, laddrlen uint32, raddrlen uint32, lrsa **RawSockaddrAny, lrsalen *int32, rrsa **RawSockaddrAny, rrsalen *int32) {
	windows.GetAcceptExSockaddrs(buf, rxdatalen, laddrlen, raddrlen, lrsa, lrsalen, rrsa, rrsalen)
}

func ConnectEx(fd Handle, sa Sockaddr, sendBuf *byte, sendDataLen uint32, bytesSent *uint32, overlapped *Overlapped) error {
	return windows.ConnectEx(fd, sa, sendBuf, sendDataLen, bytesSent, overlapped)
}

func CreateIoCompletionPort(filehandle Handle, cphandle Handle, key uintptr, threadcnt uint32) (Handle, error) {
	return windows.CreateIoCompletionPort(filehandle, cphandle, key, threadcnt)
}

func GetQueuedCompletionStatus(cphandle Handle, qty *uint32, key *uintptr, overlapped **Overlapped, timeout uint32) error {
	return windows.GetQueuedCompletionStatus(cphandle, qty, key, overlapped, timeout)
}

func PostQueuedCompletionStatus(cphandle Handle, qty uint32, key uintptr, overlapped *Overlapped) error {
	return windows.PostQueuedCompletionStatus(cphandle, qty, key, overlapped)
}

func CloseHandle(handle Handle) error { return windows.CloseHandle(handle) }

// GetQueuedCompletionStatusEx waits for completions, at most timeout milliseconds, and
// gives as many as there are, up to count. A failed operation is no error here: its
// entry's Internal is its status. x/sys lacks it.
func GetQueuedCompletionStatusEx(cphandle Handle, entries *OverlappedEntry, count uint32, removed *uint32, timeout uint32, alertable bool) error {
	var alert uintptr
	if alertable {
		alert = 1
	}
	// The kernel writes to entries and removed until the call returns, and no longer.
	ok, _, err := procGetQueuedCompletionStatusEx.Call(uintptr(cphandle), uintptr(unsafe.Pointer(entries)), uintptr(count),
		uintptr(unsafe.Pointer(removed)), uintptr(timeout), alert)
	if ok == 0 {
		*removed = 0
		return err
	}
	return nil
}

// wsaidDisconnectEx names DisconnectEx to Winsock.
var wsaidDisconnectEx = windows.GUID{Data1: 0x7fda2e11, Data2: 0x8630, Data3: 0x436f, Data4: [8]byte{0xa0, 0x31, 0xf5, 0x36, 0xa6, 0xee, 0xc1, 0x57}}

// DisconnectEx sends the end of data after what is in flight. x/sys lacks it: like
// ConnectEx it is no export of a DLL, but is asked for by number.
func DisconnectEx(h Handle, overlapped *Overlapped, flags uint32, reserved uint32) error {
	var proc uintptr
	var n uint32
	err := windows.WSAIoctl(h, windows.SIO_GET_EXTENSION_FUNCTION_POINTER,
		(*byte)(unsafe.Pointer(&wsaidDisconnectEx)), uint32(unsafe.Sizeof(wsaidDisconnectEx)),
		(*byte)(unsafe.Pointer(&proc)), uint32(unsafe.Sizeof(proc)), &n, nil, 0)
	if err != nil {
		return err
	}
	ok, _, errno := syscall.SyscallN(proc, uintptr(h), uintptr(unsafe.Pointer(overlapped)), uintptr(flags), uintptr(reserved))
	if ok == 0 {
		return errno
	}
	return nil
}

// Settle does nothing: here the kernel works by itself, and cannot be asked whether it is done.
func Settle() {}

// Pending knows nothing: here the kernel does not tell what is in flight.
func Pending(h Handle) (calls []string, known bool) { return nil, false }
