package sock

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RawSyscall does not tell the scheduler that a system call is on. That is right
// only for calls that cannot block, and saves the bookkeeping of the others: the
// descriptors here are non-blocking, so the kernel copies what there is and
// returns.

// Read reads into p what fd has received. It returns 0 at the end of data, and
// the bare errno: EAGAIN when there is nothing yet. p must not be empty.
func Read(fd int, p []byte) (int, error) { return transfer(unix.SYS_READ, fd, p) }

// Write gives p to the kernel, which takes all of it, a part, or with EAGAIN
// nothing. p must not be empty.
func Write(fd int, p []byte) (int, error) { return transfer(unix.SYS_WRITE, fd, p) }

func transfer(call uintptr, fd int, p []byte) (int, error) {
	for {
		// The kernel uses p only until it returns; unsafe.SliceData inside the call's
		// arguments keeps p alive and in place for that long (package unsafe, rule 4).
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// accept keeps the address on its stack: a crowd that comes leaves nothing to collect.
func accept(listener int) (int, netip.AddrPort, error) {
	var sa unix.RawSockaddrInet6 // has room for both families, which begin alike
	size := uint32(unsafe.Sizeof(sa))
	// SAFETY: the kernel writes to sa and size until it returns.
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:]) // in network order
	if sa.Family == unix.AF_INET {
		return int(fd), netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&sa)).Addr), port), nil
	}
	return int(fd), netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port), nil
}
