//go:build !linux

package bench

import "os/exec"

// cores are the processors that this process may use, as far as they can be chosen: none.
func cores() []int { return nil }

// startOn starts cmd; on this system processors are not chosen, and no group is made.
func startOn(cmd *exec.Cmd, _ []int, _ bool) error { return cmd.Start() }

// killGroup has no group to kill.
func killGroup(int) {}
