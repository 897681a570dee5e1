//go:build unix

package gameserver

import "syscall"

// FileLimit is the number of descriptors that a process may have here. (Go raises the
// soft limit to the hard one by itself.)
func FileLimit() uint64 {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 256
	}
	return uint64(r.Max)
}
