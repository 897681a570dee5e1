package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is what proc_pid(5) tells of a process to everybody.
type Process struct {
	PID     int
	Group   int    // the process that it is a thread of; PID itself if it is none
	Name    string // of the program, cut off after 15 characters
	State   string // as in [Thread]; "Z": it has ended, and its parent has not asked yet
	User    int    // effective
	Kernel  bool   // a thread of the kernel's
	Threads int
	Command []string
}

// Look reads about process pid. A process that there is not is [fs.ErrNotExist].
func Look(pid int) (Process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, unix.ESRCH) { // it ended between opening and reading
		err = fs.ErrNotExist
	}
	if err != nil {
		return Process{}, err
	}
	p := parseStatus(string(text))
	p.PID = pid
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	p.Command = strings.FieldsFunc(string(command), func(r rune) bool { return r == 0 })
	if fields, err := statFields(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		flags, _ := strconv.ParseUint(fields[6], 10, 64)
		p.Kernel = flags&0x200000 != 0 // PF_KTHREAD
	}
	return p, nil
}

func parseStatus(text string) Process {
	var p Process
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		switch key {
		case "Name":
			p.Name = strings.TrimSpace(value)
		case "State":
			p.State = fields[0]
		case "Tgid":
			p.Group, _ = strconv.Atoi(fields[0])
		case "Uid":
			if len(fields) > 1 {
				p.User, _ = strconv.Atoi(fields[1])
			}
		case "Threads":
			p.Threads, _ = strconv.Atoi(fields[0])
		}
	}
	return p
}

// FileLimits are the limits on descriptors of process pid, from proc_pid_limits(5).
func FileLimits(pid int) (soft, hard uint64, err error) {
	path := fmt.Sprintf("/proc/%d/limits", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	soft, hard, ok := parseFileLimits(string(text))
	if !ok {
		return 0, 0, fmt.Errorf("%s has no line about open files", path)
	}
	return soft, hard, nil
}

func parseFileLimits(text string) (soft, hard uint64, ok bool) {
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, "Max open files")
		fields := strings.Fields(rest)
		if !found || len(fields) < 2 {
			continue
		}
		limit := func(s string) uint64 {
			if n, err := strconv.ParseUint(s, 10, 64); err == nil {
				return n
			}
			return Unlimited
		}
		return limit(fields[0]), limit(fields[1]), true
	}
	return 0, 0, false
}

// Threads are the ids of the threads of process pid.
func Threads(pid int) ([]int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, err
	}
	var tids []int
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids, nil
}

// ThreadName is the name of a thread, which a program may set.
func ThreadName(pid, tid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/comm", pid, tid))
	return strings.TrimSpace(string(text))
}

// ThreadDemand is the time that a thread has been on a processor and, beside it, the
// time that it waited for one: on a busy machine what it would have liked to use is the
// sum. Kernels without CONFIG_SCHED_INFO tell the first alone.
func ThreadDemand(pid, tid int) (used, waited time.Duration, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, tid))
	if err == nil {
		var turns int64
		if _, err := fmt.Sscan(string(text), &used, &waited, &turns); err == nil && turns > 0 {
			return used, waited, nil
		}
	}
	used, err = ThreadCPU(pid, tid)
	return used, 0, err
}

// SystemTime is the processor time that a thread has spent in the kernel, in steps of
// 10 ms.
func SystemTime(pid, tid int) (time.Duration, error) {
	fields, err := statFields(fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid))
	if err != nil {
		return 0, err
	}
	ticks, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(ticks) * time.Second / 100, err
}

// Pending is how much an eventfd (its counter) or a timerfd (expirations) has to
// be read, from its fdinfo; 0 for a descriptor of another kind.
func Pending(pid, fd int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		return 0
	}
	return parsePending(string(text))
}

func parsePending(text string) uint64 {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "eventfd-count": // in hex
			n, _ := strconv.ParseUint(value, 16, 64)
			return n
		case "ticks":
			n, _ := strconv.ParseUint(value, 10, 64)
			return n
		}
	}
	return 0
}

// Protocol is the name of the protocol of a socket, such as "TCP" or "UNIX", also of one
// that is in none of the kernel's tables, as a TCP socket without a connection; "" if the
// kernel does not tell.
func Protocol(pid, fd int) string {
	name := make([]byte, 64)
	n, err := unix.Getxattr(fmt.Sprintf("/proc/%d/fd/%d", pid, fd), "system.sockprotoname", name)
	if err != nil || n <= 0 {
		return ""
	}
	return strings.TrimRight(string(name[:n]), "\x00")
}
