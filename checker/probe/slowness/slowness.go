// Package slowness says how much patience the machine needs just now.
package slowness

import (
	"fmt"
	"os"
	"runtime"
)

// Now is how many times as long as usual things may take on this machine now: 1
// to 6. More than 1 means that four threads or more for each processor wanted to run in
// the last minute, by the load average (proc_loadavg(5)); where there is none, it is 1.
func Now() int {
	var load float64
	text, _ := os.ReadFile("/proc/loadavg")
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		return 1
	}
	return factor(load, runtime.NumCPU())
}

func factor(load float64, processors int) int {
	return max(1, min(int(load)/(2*processors), 6))
}
