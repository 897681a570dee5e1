package labtest

import (
	"os"

	"golang.org/x/sys/unix"
)

func gettid() int { return unix.Gettid() }

func signalThread(tid int) { _ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG) }
