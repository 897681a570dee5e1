package serve

import (
	"errors"

	"golang.org/x/sys/windows"
)

// raiseFileLimit does nothing: Windows limits handles by memory, not by number.
func raiseFileLimit() (uint64, error) { return 1 << 24, nil }

// hint is what to do about an engine that does not start.
func hint(err error) string {
	switch {
	case errors.Is(err, windows.WSAEADDRINUSE):
		return "the port is in use: choose another with -addr, or 127.0.0.1:0 for any free one"
	case errors.Is(err, windows.WSAEACCES):
		return "the port is reserved or held exclusively: choose another with -addr"
	case errors.Is(err, windows.WSAEADDRNOTAVAIL):
		return "this machine has no such address: use 127.0.0.1 or 0.0.0.0"
	}
	return "see -help"
}
