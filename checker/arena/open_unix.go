//go:build unix

package arena

import (
	"os/exec"
	"syscall"
)

// apart starts a program in a session of its own: Ctrl-C is for the arena, not for a
// browser that it has started.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
