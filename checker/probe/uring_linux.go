package probe

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// IOUring makes an io_uring and takes it down again. It returns the features that the
// kernel reports, or a [*Missing].
func IOUring() (features uint32, err error) {
	// struct io_uring_params is 120 bytes; features is its sixth word. The kernel uses it
	// until the call returns.
	var params [30]uint32
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)), 0)
	if errno == 0 {
		unix.Close(int(fd))
		return params[5], nil
	}
	why, cure := "io_uring_setup: "+unix.ErrnoName(errno), "see io_uring_setup(2)"
	disabled, _ := os.ReadFile("/proc/sys/kernel/io_uring_disabled")
	switch state := strings.TrimSpace(string(disabled)); {
	case errno == unix.ENOSYS:
		cure = "the kernel has no io_uring (5.6 or newer has what lesson 06 needs), or the sandbox hides it"
	case state == "1" || state == "2":
		why += ", kernel.io_uring_disabled = " + state
		cure = "sysctl -w kernel.io_uring_disabled=0 (as root, on the host)"
	case errno == unix.EPERM:
		cure = "a seccomp filter forbids it, as container engines do: docker run --security-opt seccomp=unconfined, or allow io_uring_setup, io_uring_enter and io_uring_register in the profile"
	case errno == unix.ENOMEM:
		cure = "locked memory is limited: ulimit -l unlimited"
	}
	return 0, &Missing{"io_uring", why, cure}
}

// Ring is what the kernel tells of an io_uring in proc_pid_fdinfo(5).
type Ring struct {
	FD             int
	SqHead, SqTail uint32         // submissions taken by the kernel, and published
	CqHead, CqTail uint32         // completions taken, and published by the kernel
	CqEntries      uint32         // places in the completion queue
	Overflow       int            // completions that had no room
	Waiting        map[string]int // operations that wait for their file to be ready, by name
}

// opNames are the operations that the lab's engines use.
var opNames = map[int]string{6: "poll", 13: "accept", 22: "read", 26: "send", 27: "recv", 34: "shutdown"}

// Rings are the io_urings of process pid. What a kernel does not tell stays zero.
func Rings(pid int) ([]Ring, error) {
	links, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return nil, err
	}
	var rings []Ring
	for _, link := range links {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, link.Name()))
		if err != nil || kindOf(target) != "io_uring" {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, link.Name()))
		if err != nil {
			continue // closed since
		}
		r := parseRing(string(text))
		r.FD, _ = strconv.Atoi(link.Name())
		rings = append(rings, r)
	}
	return rings, nil
}

func parseRing(text string) Ring {
	r := Ring{Waiting: map[string]int{}}
	overflow := false
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		n, _ := strconv.ParseUint(strings.TrimSpace(value), 0, 32)
		switch key {
		case "SqHead":
			r.SqHead = uint32(n)
		case "SqTail":
			r.SqTail = uint32(n)
		case "CqHead":
			r.CqHead = uint32(n)
		case "CqTail":
			r.CqTail = uint32(n)
		case "CqMask":
			r.CqEntries = uint32(n) + 1
		case "CqOverflowList":
			overflow = true
		case "user_data":
			if overflow {
				r.Overflow++
			}
		}
		var op, works int
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "op=%d, task_works=%d", &op, &works); err == nil {
			name := opNames[op]
			if name == "" {
				name = fmt.Sprintf("operation %d", op)
			}
			r.Waiting[name]++
		}
	}
	return r
}
