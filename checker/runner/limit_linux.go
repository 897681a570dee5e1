package runner

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// limit caps the descriptors of a process, never above what it has, and leaves no
// core files.
func limit(pid int, l Limits) {
	var now unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now) == nil && l.Files > 0 {
		now.Cur, now.Max = min(now.Cur, l.Files), min(now.Max, l.Files)
		unix.Prlimit(pid, unix.RLIMIT_NOFILE, &now, nil)
	}
	if unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &now) == nil {
		now.Cur = 0
		unix.Prlimit(pid, unix.RLIMIT_CORE, &now, nil)
	}
}

// groupMemory is the resident memory of a process group.
func groupMemory(group int) int64 {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var pages int64
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// pid (name) state ppid pgrp ...: the name may hold anything
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) < 22 || string(fields[2]) != strconv.Itoa(group) {
			continue
		}
		rss, _ := strconv.ParseInt(string(fields[21]), 10, 64)
		pages += rss
	}
	return pages * int64(os.Getpagesize())
}
