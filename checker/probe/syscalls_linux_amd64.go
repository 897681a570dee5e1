package probe

import "golang.org/x/sys/unix"

// oldSyscallNames are those that some architectures do without.
var oldSyscallNames = map[int]string{
	unix.SYS_EPOLL_WAIT: "epoll_wait", unix.SYS_SELECT: "select", unix.SYS_POLL: "poll", unix.SYS_PAUSE: "pause", unix.SYS_ACCEPT: "accept",
}
