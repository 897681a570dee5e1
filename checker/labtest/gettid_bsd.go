//go:build unix && !linux

package labtest

import "golang.org/x/sys/unix"

func gettid() int { return 0 }

// signalThread signals the process: which thread takes it is the kernel's choice.
func signalThread(int) { _ = unix.Kill(unix.Getpid(), unix.SIGURG) }

// Waits is -1: the kernel counts it for the process only.
func Waits() int64 { return -1 }
