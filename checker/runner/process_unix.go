//go:build unix

package runner

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
}

func killGroup(pid int) { syscall.Kill(-pid, syscall.SIGKILL) }

// askForStacks makes a Go process print its goroutines and end.
func askForStacks(pid int) { syscall.Kill(pid, syscall.SIGQUIT) }

// testTimeout is for the testing package's own alarm, which comes later than
// ours.
func testTimeout(limit time.Duration) time.Duration { return limit + time.Minute }

func exitStatus(state *os.ProcessState) (status int, signal string) {
	if state == nil {
		return -1, ""
	}
	ws, ok := state.Sys().(syscall.WaitStatus)
	// A Go runtime that crashes with GOTRACEBACK=crash ends itself by SIGABRT,
	// after it has said why.
	if ok && ws.Signaled() && ws.Signal() != syscall.SIGABRT {
		return -1, ws.Signal().String()
	}
	return state.ExitCode(), ""
}

func foreground(cmd *exec.Cmd) { ownGroup(cmd) }

func careful(cmd *exec.Cmd) { softly(cmd.SysProcAttr) }

func interrupt(pid int) { syscall.Kill(-pid, syscall.SIGINT) }

// sameGroup leaves the process in this one's group. It is to end with this process, and
// to have the time to put the terminal right.
func sameGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	softly(cmd.SysProcAttr)
}

func terminate(p *os.Process) { p.Signal(syscall.SIGTERM) }
