//go:build !linux

package probe

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"
)

func unavailable(what string) error {
	return fmt.Errorf("%s: %w (%s)", what, ErrUnavailable, runtime.GOOS)
}

// FDs is available on Linux only.
func FDs(int) ([]FD, error) { return nil, unavailable("descriptors") }

// SocketByPeer finds nothing but on Linux.
func SocketByPeer(int, netip.AddrPort) (FD, bool) { return FD{}, false }

// EpollTable is available on Linux only.
func EpollTable(int, int) ([]Interest, error) { return nil, unavailable("epoll") }

// Queues is available on Linux only.
func Queues(int) (Sock, error) { return Sock{}, unavailable("socket queues") }

// Arrived is available on Linux only.
func Arrived(int, netip.AddrPort) (int64, bool) { return 0, false }

// ThreadCPU is available on Linux only.
func ThreadCPU(int, int) (time.Duration, error) { return 0, unavailable("a thread's processor time") }

// ThreadState is available on Linux only.
func ThreadState(int, int) (Thread, error) { return Thread{}, unavailable("a thread's state") }

// ProcessCPU is the processor time that this process has used, user and system.
// Other processes' is available on Linux only.
func ProcessCPU(pid int) (time.Duration, error) {
	if pid != os.Getpid() {
		return 0, unavailable("another process's processor time")
	}
	return ownCPU()
}

// RSS is available on Linux only.
func RSS(int) (int64, error) { return 0, unavailable("resident memory") }

// SyscallName knows the names on Linux only.
func SyscallName(number int) string { return fmt.Sprintf("system call %d", number) }
