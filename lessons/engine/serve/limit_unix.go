//go:build unix

package serve

import (
	"errors"
	"syscall"
)

// raiseFileLimit raises the soft limit of open descriptors to the hard one and
// returns it. Go does so at start, but only on some systems and without saying
// what came of it.
func raiseFileLimit() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	soft := limit.Cur
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return uint64(soft), err // macOS: the hard limit is "unlimited", which it does not grant
	}
	return uint64(limit.Cur), nil
}

// hint is what to do about an engine that does not start.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "the port is in use: choose another with -addr, or 127.0.0.1:0 for any free one"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 are for root: choose another with -addr"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no such address: use 127.0.0.1 or 0.0.0.0"
	}
	return "see -help"
}
