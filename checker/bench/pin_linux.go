package bench

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// cores are the processors that this process may use.
func cores() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var all []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			all = append(all, i)
		}
	}
	return all
}

// startOn starts cmd on the given processors, on any if there are none, and as the leader of
// a process group if group says so. The process is killed when this thread ends
// (PR_SET_PDEATHSIG), so the goroutine that calls it must be locked to one.
func startOn(cmd *exec.Cmd, on []int, group bool) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: group}
	if len(on) == 0 {
		return cmd.Start()
	}
	// A child has its parent's processors; Go counts them when it starts.
	var before, set unix.CPUSet
	for _, i := range on {
		set.Set(i)
	}
	if unix.SchedGetaffinity(0, &before) == nil && unix.SchedSetaffinity(0, &set) == nil {
		defer unix.SchedSetaffinity(0, &before)
	}
	return cmd.Start()
}

// killGroup kills the process group that process pid leads.
func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }
