package runner

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

func killGroup(pid int) { exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(pid)).Run() }

// askForStacks does nothing: Windows has no SIGQUIT. The testing package's own
// alarm shows the stacks instead, see testTimeout.
func askForStacks(int) {}

func testTimeout(limit time.Duration) time.Duration { return limit }

func exitStatus(state *os.ProcessState) (status int, signal string) {
	if state == nil {
		return -1, ""
	}
	return state.ExitCode(), ""
}

// foreground leaves the process in the checker's group: the console sends Ctrl-C
// to all of it.
func foreground(*exec.Cmd) {}

func careful(*exec.Cmd) {}

func interrupt(int) {}

func sameGroup(*exec.Cmd) {}

func terminate(p *os.Process) { p.Kill() } // Windows has no other way
