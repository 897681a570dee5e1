package sock

import (
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
