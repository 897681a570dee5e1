//go:build !linux

package runner

// limit does nothing: only Linux can limit a process from outside.
func limit(int, Limits) {}

// groupMemory is not known here: no limit.
func groupMemory(int) int64 { return 0 }
