//go:build unix

package bench

import "syscall"

// fileLimit is how many descriptors a process may have at most, 0 if that is not a matter.
func fileLimit() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return min(uint64(limit.Max), 1<<30)
}
