// Package probe looks at a process and its sockets from outside: descriptors, epoll
// interest lists, socket queues, processor time. It is where the evidence in reports
// comes from. It changes nothing in what it looks at.
//
// Everything is there on Linux, from proc(5) and from getsockopt on one's own
// descriptors. Elsewhere most functions return [ErrUnavailable].
package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrUnavailable is returned, wrapped, where a system has no way to tell.
var ErrUnavailable = errors.New("not available on this system")

// Missing is a mechanism that this machine does not have. It wraps [ErrUnavailable].
type Missing struct {
	What string // "io_uring"
	Why  string // what the kernel said
	Cure string // what would help
}

func (m *Missing) Error() string {
	return fmt.Sprintf("%s is %v: %s. What helps: %s", m.What, ErrUnavailable, m.Why, m.Cure)
}

// Unwrap returns [ErrUnavailable].
func (m *Missing) Unwrap() error { return ErrUnavailable }

// FD is an open descriptor of a process.
type FD struct {
	Num    int
	Kind   string         // "tcp", "listener", "udp", "unix", other "socket", "pipe", "epoll", "eventfd", "timerfd", "io_uring", other "file"
	Target string         // what /proc/PID/fd/N points to: names the open file, not the number
	Local  netip.AddrPort // of a TCP or UDP socket
	Remote netip.AddrPort // of a connected TCP socket
	State  string         // of a TCP socket, such as "ESTABLISHED" or "CLOSE_WAIT"
}

// String describes the descriptor in one line.
func (f FD) String() string {
	switch f.Kind {
	case "tcp":
		switch {
		case !f.Remote.IsValid() && f.Local.Port() == 0:
			return fmt.Sprintf("fd %d  a TCP socket that was never bound", f.Num)
		case !f.Remote.IsValid():
			return fmt.Sprintf("fd %d  tcp %s %v, not connected", f.Num, f.State, f.Local)
		}
		return fmt.Sprintf("fd %d  tcp %s %v -> %v", f.Num, f.State, f.Local, f.Remote)
	case "listener":
		return fmt.Sprintf("fd %d  listener %v", f.Num, f.Local)
	case "udp":
		return fmt.Sprintf("fd %d  udp %v", f.Num, f.Local)
	case "file":
		return fmt.Sprintf("fd %d  %s", f.Num, f.Target)
	}
	return fmt.Sprintf("fd %d  %s", f.Num, f.Kind)
}

// Leaked returns the descriptors in after that were not in before. A number that was
// closed and opened again for something else counts; one that was opened again for an
// anonymous file of the same kind (another eventfd, say) cannot be told apart.
func Leaked(before, after []FD) []FD {
	type file struct {
		num    int
		target string
	}
	had := make(map[file]bool, len(before))
	for _, fd := range before {
		had[file{fd.Num, fd.Target}] = true
	}
	var leaked []FD
	for _, fd := range after {
		if !had[file{fd.Num, fd.Target}] {
			leaked = append(leaked, fd)
		}
	}
	return leaked
}

// Thread is what a thread was doing when [ThreadState] looked.
type Thread struct {
	State string // "R" running or ready to, "S" asleep, "D" asleep and not to be interrupted; others in proc_pid_stat(5)
	Wchan string // the kernel's function in which it sleeps, such as "ep_poll"; empty if it runs, or may not be known

	InSyscall bool   // it sleeps in a system call; false also where the kernel does not tell which
	Syscall   int    // the call's number, such as unix.SYS_READ
	Arg       uint64 // and its first argument: of most calls the descriptor
}

// Unlimited is a limit that is none.
const Unlimited = ^uint64(0)

// Interest is one entry of an epoll interest list.
type Interest struct {
	FD     int
	Events uint32 // as the kernel keeps them, EPOLLERR and EPOLLHUP included
	Data   uint64 // what the program registered
	Inode  uint64 // of the open file
	Ghost  bool   // FD is closed now, or names another file: a duplicate keeps the entry alive
}

// Ring is what the kernel tells of an io_uring in proc_pid_fdinfo(5).
type Ring struct {
	FD             int
	SqHead, SqTail uint32         // submissions taken by the kernel, and published
	CqHead, CqTail uint32         // completions taken, and published by the kernel
	SqEntries      uint32         // places in the submission queue
	CqEntries      uint32         // and in the completion queue
	Overflow       int            // completions that had no room
	Waiting        map[string]int // operations that wait for their file to be ready, by name
	Files, Buffers int            // places in the tables of registered files and buffers
	SqThread       int            // the kernel's thread that polls for submissions, -1 for none
}

// Sock is the kernel's view of one TCP socket.
type Sock struct {
	State  string // such as "ESTABLISHED" or "CLOSE_WAIT"
	Unread int    // bytes in the receive queue
	Unsent int    // bytes in the send queue: not sent, or not acknowledged

	NonBlocking bool
	CloseOnExec bool
	NoDelay     bool
	ReuseAddr   bool

	AcceptQueue int // of a listener: connections that wait to be accepted
	Backlog     int // and how many may
}

// epollEvents are the bits of an epoll event in the order in which they are shown.
var epollEvents = []struct {
	bit  uint32
	name string
}{
	{0x001, "EPOLLIN"}, {0x002, "EPOLLPRI"}, {0x004, "EPOLLOUT"}, {0x2000, "EPOLLRDHUP"},
	{0x008, "EPOLLERR"}, {0x010, "EPOLLHUP"},
	{1 << 31, "EPOLLET"}, {1 << 30, "EPOLLONESHOT"}, {1 << 29, "EPOLLWAKEUP"}, {1 << 28, "EPOLLEXCLUSIVE"},
}

// DecodeEpoll names the bits of an epoll event, such as "EPOLLIN|EPOLLRDHUP"; bits
// without a name are shown in hex, no bits as "0".
func DecodeEpoll(events uint32) string {
	var names []string
	for _, e := range epollEvents {
		if events&e.bit != 0 {
			names = append(names, e.name)
			events &^= e.bit
		}
	}
	if events != 0 {
		names = append(names, fmt.Sprintf("%#x", events))
	}
	if names == nil {
		return "0"
	}
	return strings.Join(names, "|")
}
