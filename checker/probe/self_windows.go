package probe

import (
	"time"

	"golang.org/x/sys/windows"
)

// CountFDs is not available on Windows, whose sockets are handles among others.
func CountFDs() (int, error) { return 0, unavailable("descriptors") }

func ownCPU() (time.Duration, error) {
	var created, exited, kernel, user windows.Filetime
	err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user)
	// A Filetime's high and low word count 100 ns.
	ticks := func(f windows.Filetime) int64 { return int64(f.HighDateTime)<<32 | int64(f.LowDateTime) }
	return time.Duration(ticks(kernel)+ticks(user)) * 100, err
}
