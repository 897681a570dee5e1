//go:build !linux

package doctor

import "runtime"

func system() []Check {
	checks := limits()
	if runtime.GOOS == "windows" {
		checks = append(checks, Check{"lessons", Info, "01 and 05 natively; epoll and io_uring are Linux's",
			"for lessons 02, 03 and 06: wsl --install, and clone the lab inside it"})
	} else {
		checks = append(checks, Check{"lessons", Info, "01 natively; epoll and io_uring are Linux's",
			"for lessons 02, 03 and 06 use a Linux machine, or a container that allows io_uring"})
	}
	return checks
}
