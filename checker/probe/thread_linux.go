package probe

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ThreadCPU is the processor time that thread tid of process pid has used, from
// /proc/PID/task/TID/schedstat in nanoseconds, or if the kernel does not keep that,
// from proc_pid_stat(5) in steps of 10 ms.
func ThreadCPU(pid, tid int) (time.Duration, error) {
	dir := fmt.Sprintf("/proc/%d/task/%d/", pid, tid)
	if text, err := os.ReadFile(dir + "schedstat"); err == nil {
		// "time on a processor, time spent waiting for one, number of turns"; all zero
		// in a kernel without CONFIG_SCHED_INFO.
		var used, waited, turns int64
		if _, err := fmt.Sscan(string(text), &used, &waited, &turns); err == nil && turns > 0 {
			return time.Duration(used), nil
		}
	}
	return statCPU(dir + "stat")
}

// ProcessCPU is the processor time that process pid has used, user and system: of
// this process from getrusage(2), of another from proc_pid_stat(5), in steps of 10 ms.
func ProcessCPU(pid int) (time.Duration, error) {
	if pid == os.Getpid() {
		return ownCPU()
	}
	return statCPU(fmt.Sprintf("/proc/%d/stat", pid))
}

// statCPU adds up the fields utime and stime of a stat file.
func statCPU(path string) (time.Duration, error) {
	fields, err := statFields(path)
	if err != nil {
		return 0, err
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	const tick = time.Second / 100 // USER_HZ, the same on all of Go's Linux ports
	return time.Duration(user+system) * tick, err
}

// statFields are the fields of a stat file from the third, the state, to at least the
// fifteenth, stime. The second is the command's name, in parentheses, which may
// contain anything: the last parenthesis ends it.
func statFields(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return nil, fmt.Errorf("%s: %d fields after the name, not 13 or more", path, len(fields))
	}
	return fields, nil
}

// ThreadState tells what thread tid of process pid does: whether it runs, or sleeps and
// where, from /proc/PID/task/TID/stat, wchan and syscall. The three are read one after
// the other, so a thread that is just waking up may show a mixture. The last two need
// the right to trace the process (a thread of one's own always may be looked at).
func ThreadState(pid, tid int) (Thread, error) {
	dir := fmt.Sprintf("/proc/%d/task/%d/", pid, tid)
	fields, err := statFields(dir + "stat")
	if err != nil {
		return Thread{}, err
	}
	t := Thread{State: fields[0]}
	if text, err := os.ReadFile(dir + "wchan"); err == nil && string(text) != "0" {
		t.Wchan = string(text)
	}
	if text, err := os.ReadFile(dir + "syscall"); err == nil {
		// "running", or the number and its arguments in hex, or -1 if it sleeps elsewhere.
		n, err := fmt.Sscanf(string(text), "%d 0x%x", &t.Syscall, &t.Arg)
		if t.InSyscall = err == nil && n == 2 && t.Syscall >= 0; !t.InSyscall {
			t.Syscall, t.Arg = 0, 0
		}
	}
	return t, nil
}

// RSS is the resident memory of process pid in bytes, from proc_pid_statm(5). The
// kernel counts in batches a processor and may lag behind by some hundred kilobytes.
func RSS(pid int) (int64, error) {
	path := fmt.Sprintf("/proc/%d/statm", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var size, resident int64 // pages
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, fmt.Errorf("%s: %q: %w", path, text, err)
	}
	return resident * int64(os.Getpagesize()), nil
}
