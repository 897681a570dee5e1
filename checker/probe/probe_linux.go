package probe

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
// the listing itself needs, from proc_pid_fd(5). It asks the sockets of this process
// themselves, and looks those of another up in /proc/PID/net; the Kind of one that is
// not found there is "socket". Another user's process can be listed by root only.
func FDs(pid int) ([]FD, error) {
	fds, err := OpenFiles(pid)
	if err != nil {
		return nil, err
	}
	own := pid == os.Getpid()
	var sockets map[string]FD
	if !own {
		sockets, _ = readSocketTables(pid)
	}
	for i := range fds {
		fd := &fds[i]
		if inode, ok := strings.CutPrefix(fd.Target, "socket:["); ok {
			if own {
				describeOwn(fd)
			} else if s, ok := sockets[strings.TrimSuffix(inode, "]")]; ok {
				fd.Kind, fd.Local, fd.Remote, fd.State = s.Kind, s.Local, s.Remote, s.State
			}
		}
	}
	return fds, nil
}

// OpenFiles is [FDs] without a look at the sockets, all of which are of the kind
// "socket".
func OpenFiles(pid int) ([]FD, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	links, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
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
		fds = append(fds, FD{Num: num, Target: target, Kind: kindOf(target)})
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

// SocketByPeer finds the TCP descriptor in process pid whose remote address is remote:
// the server's end of the client that has this address. In this process it asks each
// descriptor with getpeername(2) alone, so that thousands cost milliseconds.
func SocketByPeer(pid int, remote netip.AddrPort) (FD, bool) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	if pid == os.Getpid() {
		return ownSocketByPeer(remote)
	}
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

func ownSocketByPeer(remote netip.AddrPort) (FD, bool) {
	links, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return FD{}, false
	}
	for _, link := range links {
		num, err := strconv.Atoi(link.Name())
		if err != nil {
			continue
		}
		sa, err := unix.Getpeername(num)
		if err != nil || sock.AddrPort(sa) != remote {
			continue
		}
		fd := FD{Num: num}
		fd.Target, _ = os.Readlink("/proc/self/fd/" + link.Name())
		if describeOwn(&fd); fd.Kind == "tcp" && fd.Remote == remote {
			return fd, true
		}
	}
	return FD{}, false
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

// Arrived is the number of bytes that the kernel has received on the TCP socket fd, read
// or not, if its peer is peer (a descriptor may have become another connection's). An
// acknowledgement says the same, but may be delayed by 40 ms.
func Arrived(fd int, peer netip.AddrPort) (int64, bool) {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return 0, false
	}
	if in4, ok := sa.(*unix.SockaddrInet4); !ok || netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), uint16(in4.Port)) != peer {
		return 0, false
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false
	}
	return int64(info.Bytes_received), true
}

// readSocketTables reads what /proc/PID/net tells of TCP, UDP and Unix sockets, by
// inode: of all sockets in the process's network namespace, so most are others'.
func readSocketTables(pid int) (map[string]FD, error) {
	table := map[string]FD{}
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6", "unix"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6 here, say
		}
		if err != nil {
			return nil, err
		}
		rows := bufio.NewScanner(f)
		rows.Scan() // the heading
		for rows.Scan() {
			if inode, fd := socketRow(name, strings.Fields(rows.Text())); inode != "" {
				table[inode] = fd
			}
		}
		err = rows.Err()
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return table, nil
}

// socketRow reads the fields of one row of /proc/net/tcp, udp or unix, see proc(5).
func socketRow(name string, fields []string) (inode string, fd FD) {
	if name == "unix" {
		if len(fields) < 7 {
			return "", fd
		}
		return fields[6], FD{Kind: "unix"}
	}
	if len(fields) < 10 {
		return "", fd
	}
	fd = FD{Kind: strings.TrimSuffix(name, "6"), Local: procAddr(fields[1]), Remote: procAddr(fields[2])}
	if fd.Kind == "tcp" {
		if s, ok := tcpRow(fields); ok {
			fd.State = s.State
		}
		if fd.State == "LISTEN" {
			fd.Kind = "listener"
		}
	}
	if fd.Remote.Port() == 0 {
		fd.Remote = netip.AddrPort{} // not connected
	}
	return fields[9], fd
}

// procAddr reads an address of /proc/net/tcp: the address as 32-bit words, each
// printed as a number of this machine's byte order, then the port.
func procAddr(s string) netip.AddrPort {
	host, port, _ := strings.Cut(s, ":")
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(host)%8 != 0 {
		return netip.AddrPort{}
	}
	var raw []byte
	for i := 0; i < len(host); i += 8 {
		word, err := strconv.ParseUint(host[i:i+8], 16, 32)
		if err != nil {
			return netip.AddrPort{}
		}
		raw = binary.NativeEndian.AppendUint32(raw, uint32(word))
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(p))
}
