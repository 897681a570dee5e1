//go:build unix && !freebsd && !dragonfly

package bench

// rlim is a limit as this system's Rlimit has it.
func rlim(n uint64) uint64 { return n }
