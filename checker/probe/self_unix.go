//go:build unix

package probe

import (
	"time"

	"golang.org/x/sys/unix"
)

// CountFDs counts the open descriptors of this process that have numbers below 65536,
// by fcntl(2): /dev/fd lists only 0, 1 and 2 on a FreeBSD as installed, and a limit
// says nothing of descriptors that were opened before it was lowered.
func CountFDs() (int, error) {
	n := 0
	for fd := range uintptr(1 << 16) {
		if _, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n, nil
}

func ownCPU() (time.Duration, error) {
	var usage unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}
