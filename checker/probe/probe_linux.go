package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine/sock"
)

// tcpStates are named as in include/net/tcp_states.h.
var tcpStates = [...]string{1: "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"}

func stateName(n int) string {
	if n > 0 && n < len(tcpStates) {
		return tcpStates[n]
	}
	return fmt.Sprintf("state %d", n)
}

// FDs lists the open descriptors of process pid, lowest first, without the one that
// the listing itself needs.
func FDs(pid int) ([]FD, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	links, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	sockets := func(inode string) (socketInfo, bool) { return socketInfo{}, false }
	if pid != os.Getpid() {
		if table, err := readSocketTables(pid); err == nil {
			sockets = func(inode string) (socketInfo, bool) { s, ok := table[inode]; return s, ok }
		}
	}
	fds := make([]FD, 0, len(links))
	for _, link := range links {
		num, err := strconv.Atoi(link.Name())
		if err != nil {
			continue
		}
		target, err := os.Readlink(filepath.Join(dir, link.Name()))
		if err != nil || target == dir {
			continue // closed since, or the listing's own
		}
		fd := FD{Num: num, Target: target, Kind: kindOf(target)}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			if pid == os.Getpid() {
				describeOwn(&fd)
			} else if s, ok := sockets(strings.TrimSuffix(inode, "]")); ok {
				fd.Kind, fd.Local, fd.Remote, fd.State = s.kind, s.local, s.remote, s.state
			}
		}
		fds = append(fds, fd)
	}
	slices.SortFunc(fds, func(a, b FD) int { return a.Num - b.Num })
	return fds, nil
}

// kindOf reads a link target of proc_pid_fd(5).
func kindOf(target string) string {
	switch {
	case strings.HasPrefix(target, "socket:"):
		return "socket"
	case strings.HasPrefix(target, "pipe:"):
		return "pipe"
	case strings.HasPrefix(target, "anon_inode:"):
		kind := strings.Trim(strings.TrimPrefix(target, "anon_inode:"), "[]")
		if kind == "eventpoll" {
			return "epoll"
		}
		return kind
	}
	return "file"
}

// describeOwn fills in what a process can ask about its own socket.
func describeOwn(fd *FD) {
	domain, _ := unix.GetsockoptInt(fd.Num, unix.SOL_SOCKET, unix.SO_DOMAIN)
	kind, _ := unix.GetsockoptInt(fd.Num, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case domain == unix.AF_UNIX:
		fd.Kind = "unix"
		return
	case domain != unix.AF_INET && domain != unix.AF_INET6:
		return
	case kind == unix.SOCK_DGRAM:
		fd.Kind = "udp"
	case kind == unix.SOCK_STREAM:
		fd.Kind = "tcp"
		if info, err := unix.GetsockoptTCPInfo(fd.Num, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			fd.State = stateName(int(info.State))
		}
		if fd.State == "LISTEN" {
			fd.Kind = "listener"
		}
	}
	if sa, err := unix.Getsockname(fd.Num); err == nil {
		fd.Local = sock.AddrPort(sa)
	}
	if sa, err := unix.Getpeername(fd.Num); err == nil {
		fd.Remote = sock.AddrPort(sa)
	}
}

// SocketByPeer finds the descriptor in process pid whose remote address is remote:
// the server's end of the client that has this address.
func SocketByPeer(pid int, remote netip.AddrPort) (FD, bool) {
	fds, err := FDs(pid)
	if err != nil {
		return FD{}, false
	}
	i := slices.IndexFunc(fds, func(fd FD) bool { return fd.Kind == "tcp" && fd.Remote == remote })
	if i < 0 {
		return FD{}, false
	}
	return fds[i], true
}

// EpollTable reads the interest list of the epoll instance fd of process pid, from
// proc_pid_fdinfo(5).
func EpollTable(pid, fd int) ([]Interest, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		return nil, err
	}
	var table []Interest
	for line := range strings.Lines(string(text)) {
		// tfd:        8 events:     2001 data: 100000008  pos:0 ino:1234 sdev:8
		rest, ok := strings.CutPrefix(line, "tfd:")
		if !ok {
			continue
		}
		var i Interest
		var pos int64
		if _, err := fmt.Sscanf(rest, "%d events: %x data: %x pos:%d ino:%x", &i.FD, &i.Events, &i.Data, &pos, &i.Inode); err != nil {
			return nil, fmt.Errorf("fdinfo of epoll descriptor %d: %q: %w", fd, strings.TrimSpace(line), err)
		}
		info, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, i.FD))
		i.Ghost = errors.Is(err, fs.ErrNotExist) || err == nil && inode(info) != i.Inode
		table = append(table, i)
	}
	return table, nil
}

func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// Queues asks the kernel about fd, a descriptor of this process; what does not apply
// to it (queues of something that is no socket, say) stays zero. It clears nothing: in
// particular not SO_ERROR.
func Queues(fd int) (Sock, error) {
	var s Sock
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return s, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	s.NonBlocking = flags&unix.O_NONBLOCK != 0
	flags, _ = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	s.CloseOnExec = flags&unix.FD_CLOEXEC != 0

	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return s, nil // no TCP socket
	}
	s.State = stateName(int(info.State))
	on := func(level, option int) bool { v, _ := unix.GetsockoptInt(fd, level, option); return v != 0 }
	s.NoDelay = on(unix.IPPROTO_TCP, unix.TCP_NODELAY)
	s.ReuseAddr = on(unix.SOL_SOCKET, unix.SO_REUSEADDR)
	if s.State == "LISTEN" {
		s.AcceptQueue, s.Backlog = int(info.Unacked), int(info.Sacked) // what ss(8) shows as Recv-Q and Send-Q
		return s, nil
	}
	s.Unread, _ = unix.IoctlGetInt(fd, unix.TIOCINQ)
	s.Unsent, _ = unix.IoctlGetInt(fd, unix.TIOCOUTQ)
	return s, nil
}

// ThreadCPU is the processor time that thread tid of process pid has used, from
// /proc/PID/task/TID/schedstat (in nanoseconds).
func ThreadCPU(pid, tid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, tid))
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
	return time.Duration(ns), err
}

// ProcessCPU is the processor time that process pid has used, user and system: of
// this process from getrusage(2), of another from proc_pid_stat(5), in steps of 10 ms.
func ProcessCPU(pid int) (time.Duration, error) {
	if pid == os.Getpid() {
		return ownCPU()
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may contain anything; fields count from there.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	const tick = time.Second / 100 // USER_HZ, the same on all of Go's Linux ports
	return time.Duration(user+system) * tick, err
}

// RSS is the resident memory of process pid in bytes, from proc_pid_statm(5).
func RSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, err
	}
	return resident * int64(os.Getpagesize()), nil
}

type socketInfo struct {
	kind          string
	local, remote netip.AddrPort
	state         string
}

// readSocketTables reads /proc/PID/net/tcp and tcp6, by inode.
func readSocketTables(pid int) (map[string]socketInfo, error) {
	table := map[string]socketInfo{}
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if err != nil {
			return nil, err
		}
		rows := bufio.NewScanner(f)
		rows.Scan() // the heading
		for rows.Scan() {
			fields := strings.Fields(rows.Text())
			if len(fields) < 10 {
				continue
			}
			state, _ := strconv.ParseInt(fields[3], 16, 32)
			s := socketInfo{kind: "tcp", local: procAddr(fields[1]), remote: procAddr(fields[2]), state: stateName(int(state))}
			if s.state == "LISTEN" {
				s.kind = "listener"
			}
			table[fields[9]] = s
		}
		f.Close()
	}
	return table, nil
}

// procAddr reads an address of /proc/net/tcp: 32-bit words in the machine's byte
// order, here little-endian, then the port.
func procAddr(s string) netip.AddrPort {
	host, port, _ := strings.Cut(s, ":")
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(host)%8 != 0 {
		return netip.AddrPort{}
	}
	var raw []byte
	for i := 0; i < len(host); i += 8 {
		word, _ := strconv.ParseUint(host[i:i+8], 16, 32)
		raw = append(raw, byte(word), byte(word>>8), byte(word>>16), byte(word>>24))
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(p))
}
