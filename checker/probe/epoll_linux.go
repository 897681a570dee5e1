package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EpollTable reads the interest list of the epoll instance fd of process pid, from
// proc_pid_fdinfo(5).
func EpollTable(pid, fd int) ([]Interest, error) {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	if err != nil {
		return nil, err
	}
	if kindOf(target) != "epoll" {
		return nil, fmt.Errorf("descriptor %d of process %d is no epoll instance but %s", fd, pid, target)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		return nil, err
	}
	table, err := parseEpoll(string(text))
	if err != nil {
		return nil, fmt.Errorf("fdinfo of epoll descriptor %d: %w", fd, err)
	}
	same := map[int]int{} // how many entries before this one have the same number
	for i := range table {
		e := &table[i]
		e.Ghost = isGhost(pid, fd, *e, same[e.FD])
		same[e.FD]++
	}
	return table, nil
}

// parseEpoll reads the fdinfo of an epoll instance.
func parseEpoll(text string) ([]Interest, error) {
	var table []Interest
	for line := range strings.Lines(text) {
		// tfd:        8 events:     2001 data: 100000008  pos:0 ino:1234 sdev:8
		rest, ok := strings.CutPrefix(line, "tfd:")
		if !ok {
			continue
		}
		var i Interest
		var pos int64
		if _, err := fmt.Sscanf(rest, "%d events: %x data: %x pos:%d ino:%x", &i.FD, &i.Events, &i.Data, &pos, &i.Inode); err != nil {
			return nil, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
		}
		table = append(table, i)
	}
	return table, nil
}

// isGhost tells whether the number i.FD no longer names the file that epfd watches
// under it. nth counts the entries with this number that come before i.
func isGhost(pid, epfd int, i Interest, nth int) bool {
	info, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, i.FD))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Ino != i.Inode {
		return ok
	}
	if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		return false // a socket has its inode to itself
	}
	// All eventfds, timerfds and the like share one inode, both ends of a pipe too.
	// The kernel compares the files themselves, if it may: not without CONFIG_KCMP,
	// nor in some containers.
	const kcmpEpollTFD = 7 // KCMP_EPOLL_TFD of kcmp(2)
	slot := struct{ epfd, tfd, nth uint32 }{uint32(epfd), uint32(i.FD), uint32(nth)}
	// slot is on this stack, alive and in place during the call (package unsafe, rule 4);
	// the kernel only reads it.
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid), uintptr(pid), kcmpEpollTFD, uintptr(i.FD), uintptr(unsafe.Pointer(&slot)), 0)
	return errno == 0 && order != 0
}
