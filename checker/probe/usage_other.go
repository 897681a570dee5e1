//go:build !linux

package probe

import "os"

// ProcessUsage is the processor time that process pid has used: of this process the sum,
// as system time; of another it is not available.
func ProcessUsage(pid int) (Usage, error) {
	if pid != os.Getpid() {
		return Usage{}, unavailable("another process's processor time")
	}
	return OwnUsage()
}

// OwnUsage is ProcessUsage of this process.
func OwnUsage() (Usage, error) {
	d, err := ownCPU()
	return Usage{System: d}, err
}
