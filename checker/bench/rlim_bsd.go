//go:build freebsd || dragonfly

package bench

// rlim is a limit as this system's Rlimit has it.
func rlim(n uint64) int64 { return int64(n) }
