package runner

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"unsafe"
)

func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// softly has the parent's death ask the process to end.
func softly(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }

// limit caps the descriptors of a process, never above what it has, and leaves no
// core files.
func limit(pid int, l Limits) {
	var now rlimit
	if prlimit(pid, syscall.RLIMIT_NOFILE, nil, &now) && l.Files > 0 {
		now.cur, now.max = min(now.cur, l.Files), min(now.max, l.Files)
		prlimit(pid, syscall.RLIMIT_NOFILE, &now, nil)
	}
	if prlimit(pid, syscall.RLIMIT_CORE, nil, &now) {
		now.cur = 0
		prlimit(pid, syscall.RLIMIT_CORE, &now, nil)
	}
}

// rlimit is struct rlimit64 of prlimit(2).
type rlimit struct{ cur, max uint64 }

// prlimit is prlimit(2). (golang.org/x/sys/unix has it, and would cost a second of
// compilation before the first map.)
func prlimit(pid, resource int, set, get *rlimit) bool {
	// SAFETY: the kernel reads set and writes get during the call only.
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), uintptr(resource),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 0, 0)
	return errno == 0
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
