package labtest

import (
	"os"

	"golang.org/x/sys/unix"
)

func gettid() int { return unix.Gettid() }

func signalThread(tid int) { _ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG) }

// Waits is how often the calling thread has waited for something, -1 where that is not
// to be had.
func Waits() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return -1
	}
	return int64(u.Nvcsw)
}
