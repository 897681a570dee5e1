//go:build !linux

package probe

// IOUring is Linux's.
func IOUring() (features uint32, err error) { return 0, unavailable("io_uring") }

// Ring is what the kernel tells of an io_uring.
type Ring struct {
	FD             int
	SqHead, SqTail uint32
	CqHead, CqTail uint32
	CqEntries      uint32
	Overflow       int
	Waiting        map[string]int
}

// Rings is Linux's.
func Rings(int) ([]Ring, error) { return nil, unavailable("io_uring") }
