//go:build !linux

package probe

// IOUring is Linux's.
func IOUring() (features uint32, err error) { return 0, unavailable("io_uring") }

// Rings is Linux's.
func Rings(int) ([]Ring, error) { return nil, unavailable("io_uring") }

// RingFlags is Linux's.
func RingFlags() (can, cannot []string) { return nil, nil }
