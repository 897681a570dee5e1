//go:build unix

package iocp

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Errno is an error number of Windows.
type Errno uint32

// The error numbers that the emulation gives.
const (
	ERROR_INVALID_HANDLE      Errno = 6
	ERROR_NETNAME_DELETED     Errno = 64
	ERROR_INVALID_PARAMETER   Errno = 87
	ERROR_SEM_TIMEOUT         Errno = 121
	WAIT_TIMEOUT              Errno = 258
	ERROR_ABANDONED_WAIT_0    Errno = 735
	ERROR_OPERATION_ABORTED   Errno = 995
	ERROR_IO_INCOMPLETE       Errno = 996
	ERROR_IO_PENDING          Errno = 997
	ERROR_NOT_FOUND           Errno = 1168
	ERROR_CONNECTION_REFUSED  Errno = 1225
	ERROR_NETWORK_UNREACHABLE Errno = 1231
	ERROR_HOST_UNREACHABLE    Errno = 1232
	ERROR_CONNECTION_ABORTED  Errno = 1236
	ERROR_NO_SYSTEM_RESOURCES Errno = 1450
	WSAEACCES                 Errno = 10013
	WSAEFAULT                 Errno = 10014
	WSAEINVAL                 Errno = 10022
	WSAEMFILE                 Errno = 10024
	WSAENOTSOCK               Errno = 10038
	WSAENOPROTOOPT            Errno = 10042
	WSAEOPNOTSUPP             Errno = 10045
	WSAEAFNOSUPPORT           Errno = 10047
	WSAEADDRINUSE             Errno = 10048
	WSAEADDRNOTAVAIL          Errno = 10049
	WSAENETUNREACH            Errno = 10051
	WSAECONNABORTED           Errno = 10053
	WSAECONNRESET             Errno = 10054
	WSAENOBUFS                Errno = 10055
	WSAEISCONN                Errno = 10056
	WSAENOTCONN               Errno = 10057
	WSAESHUTDOWN              Errno = 10058
	WSAETIMEDOUT              Errno = 10060
	WSAECONNREFUSED           Errno = 10061
	WSAEHOSTUNREACH           Errno = 10065
)

var errnoText = map[Errno]string{
	ERROR_INVALID_HANDLE:      "The handle is invalid.",
	ERROR_NETNAME_DELETED:     "The specified network name is no longer available.",
	ERROR_INVALID_PARAMETER:   "The parameter is incorrect.",
	ERROR_SEM_TIMEOUT:         "The semaphore timeout period has expired.",
	WAIT_TIMEOUT:              "The wait operation timed out.",
	ERROR_ABANDONED_WAIT_0:    "The wait completed due to an abandoned object.",
	ERROR_OPERATION_ABORTED:   "The I/O operation has been aborted because of either a thread exit or an application request.",
	ERROR_IO_INCOMPLETE:       "Overlapped I/O event is not in a signaled state.",
	ERROR_IO_PENDING:          "Overlapped I/O operation is in progress.",
	ERROR_NOT_FOUND:           "Element not found.",
	ERROR_CONNECTION_REFUSED:  "The remote computer refused the network connection.",
	ERROR_NETWORK_UNREACHABLE: "The network location cannot be reached.",
	ERROR_HOST_UNREACHABLE:    "The network location cannot be reached.",
	ERROR_CONNECTION_ABORTED:  "The network connection was aborted by the local system.",
	ERROR_NO_SYSTEM_RESOURCES: "Insufficient system resources exist to complete the requested service.",
	WSAEACCES:                 "An attempt was made to access a socket in a way forbidden by its access permissions.",
	WSAEFAULT:                 "The system detected an invalid pointer address in attempting to use a pointer argument in a call.",
	WSAEINVAL:                 "An invalid argument was supplied.",
	WSAEMFILE:                 "Too many open sockets.",
	WSAENOTSOCK:               "An operation was attempted on something that is not a socket.",
	WSAENOPROTOOPT:            "An unknown, invalid, or unsupported option or level was specified in a getsockopt or setsockopt call.",
	WSAEOPNOTSUPP:             "The attempted operation is not supported for the type of object referenced.",
	WSAEAFNOSUPPORT:           "An address incompatible with the requested protocol was used.",
	WSAEADDRINUSE:             "Only one usage of each socket address (protocol/network address/port) is normally permitted.",
	WSAEADDRNOTAVAIL:          "The requested address is not valid in its context.",
	WSAENETUNREACH:            "A socket operation was attempted to an unreachable network.",
	WSAECONNABORTED:           "An established connection was aborted by the software in your host machine.",
	WSAECONNRESET:             "An existing connection was forcibly closed by the remote host.",
	WSAENOBUFS:                "The system lacked sufficient buffer space or a queue was full.",
	WSAEISCONN:                "A connect request was made on an already connected socket.",
	WSAENOTCONN:               "The socket is not connected.",
	WSAESHUTDOWN:              "The socket had already been shut down in that direction.",
	WSAETIMEDOUT:              "The connected party did not properly respond after a period of time.",
	WSAECONNREFUSED:           "No connection could be made because the target machine actively refused it.",
	WSAEHOSTUNREACH:           "A socket operation was attempted to an unreachable host.",
}

// Error is Windows' text for the number.
func (e Errno) Error() string {
	if s, ok := errnoText[e]; ok {
		return s
	}
	return fmt.Sprintf("Windows error %d", uint32(e))
}

// errnoOf are Winsock's numbers for the errors of this system.
var errnoOf = map[syscall.Errno]Errno{
	unix.EACCES: WSAEACCES, unix.EPERM: WSAEACCES, unix.EFAULT: WSAEFAULT, unix.EINVAL: WSAEINVAL,
	unix.EMFILE: WSAEMFILE, unix.ENFILE: WSAEMFILE, unix.EBADF: WSAENOTSOCK, unix.ENOTSOCK: WSAENOTSOCK,
	unix.ENOPROTOOPT: WSAENOPROTOOPT, unix.EOPNOTSUPP: WSAEOPNOTSUPP, unix.EAFNOSUPPORT: WSAEAFNOSUPPORT,
	unix.EADDRINUSE: WSAEADDRINUSE, unix.EADDRNOTAVAIL: WSAEADDRNOTAVAIL, unix.ENETUNREACH: WSAENETUNREACH,
	unix.ECONNABORTED: WSAECONNABORTED, unix.ECONNRESET: WSAECONNRESET, unix.EPIPE: WSAECONNRESET,
	unix.ENOBUFS: WSAENOBUFS, unix.ENOMEM: WSAENOBUFS, unix.EISCONN: WSAEISCONN, unix.ENOTCONN: WSAENOTCONN,
	unix.ETIMEDOUT: WSAETIMEDOUT, unix.ECONNREFUSED: WSAECONNREFUSED, unix.EHOSTUNREACH: WSAEHOSTUNREACH,
}

func winsock(err error) Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if e, ok := errnoOf[errno]; ok {
			return e
		}
	}
	return WSAEINVAL
}

// failed is err as a Winsock error, nil if there is none.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return winsock(err)
}

// An operation's outcome is kept in its OVERLAPPED as an NTSTATUS, and there are two ways
// to read it: WSAGetOverlappedResult gives Winsock's number for it, GetQueuedCompletionStatus
// that of the rest of Windows.
const (
	statusPending   = 0x103
	statusCancelled = 0xC0000120
)

var statuses = []struct {
	status  uintptr
	winsock Errno
	windows Errno
}{
	{0, 0, 0},
	{statusCancelled, ERROR_OPERATION_ABORTED, ERROR_OPERATION_ABORTED},
	{0xC000020D, WSAECONNRESET, ERROR_NETNAME_DELETED},
	{0xC0000241, WSAECONNABORTED, ERROR_CONNECTION_ABORTED},
	{0xC0000236, WSAECONNREFUSED, ERROR_CONNECTION_REFUSED},
	{0xC00000B5, WSAETIMEDOUT, ERROR_SEM_TIMEOUT},
	{0xC000023C, WSAENETUNREACH, ERROR_NETWORK_UNREACHABLE},
	{0xC000023D, WSAEHOSTUNREACH, ERROR_HOST_UNREACHABLE},
	{0xC000009A, WSAENOBUFS, ERROR_NO_SYSTEM_RESOURCES},
	{0xC000000D, WSAEINVAL, ERROR_INVALID_PARAMETER},
}

func statusOf(e Errno) uintptr {
	for _, s := range statuses {
		if s.winsock == e {
			return s.status
		}
	}
	return 0xC000000D // STATUS_INVALID_PARAMETER
}

func windowsError(status uintptr) error {
	for _, s := range statuses {
		if s.status == status && s.windows != 0 {
			return s.windows
		}
	}
	return nil
}

func winsockError(status uintptr) error {
	for _, s := range statuses {
		if s.status == status && s.winsock != 0 {
			return s.winsock
		}
	}
	return nil
}
