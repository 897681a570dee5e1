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
	features, errno := tryRing(0)
	if errno == 0 {
		return features, nil
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

// tryRing makes an io_uring with these flags and takes it down again.
func tryRing(flags uint32) (features uint32, errno unix.Errno) {
	// struct io_uring_params is 120 bytes; flags is its third word and features its sixth.
	// The kernel uses it until the call returns.
	var params [30]uint32
	params[2] = flags
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)), 0)
	if errno == 0 {
		unix.Close(int(fd))
	}
	return params[5], errno
}

// ringFlags are flags of io_uring_setup(2), with the kernel that brought each.
var ringFlags = []struct {
	name string
	bits uint32
}{
	{"R_DISABLED", 1 << 6},           // 5.10
	{"SUBMIT_ALL", 1 << 7},           // 5.18
	{"COOP_TASKRUN", 1 << 8},         // 5.19
	{"SINGLE_ISSUER", 1 << 12},       // 6.0
	{"DEFER_TASKRUN", 1<<12 | 1<<13}, // 6.1, with SINGLE_ISSUER only
	{"SQPOLL", 1 << 1},               // 5.11; 5.13 for everybody
}

// RingFlags are the names, without IORING_SETUP_, of the flags with which an io_uring can
// be made here, tried one by one, and those that were refused.
func RingFlags() (can, cannot []string) {
	for _, f := range ringFlags {
		if _, errno := tryRing(f.bits); errno == 0 {
			can = append(can, f.name)
		} else {
			cannot = append(cannot, f.name)
		}
	}
	return can, cannot
}

// opNames are the operations that wait for a file to be ready, as in
// include/uapi/linux/io_uring.h.
var opNames = map[int]string{1: "readv", 2: "writev", 6: "poll", 9: "sendmsg", 10: "recvmsg", 13: "accept", 16: "connect",
	22: "read", 23: "write", 26: "send", 27: "recv", 34: "shutdown", 47: "send zc", 48: "sendmsg zc", 49: "read multishot"}

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
	r := Ring{SqThread: -1, Waiting: map[string]int{}}
	overflow := false
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		n, _ := strconv.ParseUint(strings.TrimSpace(value), 0, 32)
		switch key {
		case "SqMask":
			r.SqEntries = uint32(n) + 1
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
		case "SqThread": // -1 if it has none
			r.SqThread, _ = strconv.Atoi(strings.TrimSpace(value))
		case "UserFiles":
			r.Files = int(n)
		case "UserBufs":
			r.Buffers = int(n)
		case "CqOverflowList":
			overflow = true
		case "NAPI":
			overflow = false
		}
		if overflow && strings.HasPrefix(key, "user_data=") { // "user_data=7, res=0, flags=0"
			r.Overflow++
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
