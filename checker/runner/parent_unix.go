//go:build unix && !linux

package runner

import "syscall"

// dieWithParent does nothing: there is no parent-death signal here.
func dieWithParent(*syscall.SysProcAttr) {}

// softly does nothing, either.
func softly(*syscall.SysProcAttr) {}
