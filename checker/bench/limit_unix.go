//go:build unix

package bench

import (
	"fmt"
	"syscall"
)

// fileLimit is how many descriptors a process may have at most, 0 if that is not a matter.
func fileLimit() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return min(uint64(limit.Max), 1<<30)
}

// RaiseLimit tries to raise this process's limit of descriptors, which its children have,
// too, to what n connections need, and says what came of it.
func RaiseLimit(n int) string {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "RLIMIT_NOFILE is not known: " + err.Error()
	}
	want := uint64(n) + 1000
	if most := number("/proc/sys/fs/nr_open"); most > 0 {
		want = min(want, uint64(most))
	}
	before := uint64(limit.Max)
	if before >= want {
		return fmt.Sprintf("RLIMIT_NOFILE: %s descriptors a process, enough", thousands(float64(before)))
	}
	limit.Cur, limit.Max = rlim(want), rlim(want)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Sprintf("RLIMIT_NOFILE: %s descriptors a process; it cannot be raised here (%v), so more connections take more processes",
			thousands(float64(before)), err)
	}
	return fmt.Sprintf("RLIMIT_NOFILE: raised from %s to %s descriptors a process, for this run", thousands(float64(before)), thousands(float64(want)))
}
