package probe

import "golang.org/x/sys/unix"

// oldSyscallNames are those that some architectures do without.
var oldSyscallNames = map[int]string{unix.SYS_ACCEPT: "accept"}
