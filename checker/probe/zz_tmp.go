package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var ErrUnavailable = errors.New("not available")

type FD struct {
	Num           int
	Kind, Target  string
	Local, Remote netip.AddrPort
	State         string
}

func (f FD) String() string { return fmt.Sprintf("fd %d %s %s %s %v-%v", f.Num, f.Kind, f.Target, f.State, f.Local, f.Remote) }

func ap(sa unix.Sockaddr) netip.AddrPort {
	if s, ok := sa.(*unix.SockaddrInet4); ok {
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}

func FDs(pid int) ([]FD, error) {
	ents, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var out []FD
	for _, e := range ents {
		n, _ := strconv.Atoi(e.Name())
		t, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || t == fmt.Sprintf("/proc/%d/fd", pid) {
			continue
		}
		f := FD{Num: n, Target: t, Kind: "file"}
		switch {
		case strings.Contains(t, "eventpoll"):
			f.Kind = "epoll"
		case strings.HasPrefix(t, "socket:"):
			f.Kind = "tcp"
			if v, _ := unix.GetsockoptInt(n, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); v == 1 {
				f.Kind = "listener"
			}
			sa, _ := unix.Getsockname(n)
			f.Local = ap(sa)
			sa, _ = unix.Getpeername(n)
			f.Remote = ap(sa)
		case strings.HasPrefix(t, "pipe"):
			f.Kind = "pipe"
		}
		out = append(out, f)
	}
	return out, nil
}

func Leaked(before, after []FD) []FD {
	m := map[string]bool{}
	for _, f := range before {
		m[fmt.Sprint(f.Num, f.Target)] = true
	}
	var out []FD
	for _, f := range after {
		if !m[fmt.Sprint(f.Num, f.Target)] {
			out = append(out, f)
		}
	}
	return out
}

type Interest struct {
	FD     int
	Events uint32
	Data   uint64
	Ghost  bool
}

func EpollTable(pid, fd int) ([]Interest, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return nil, err
	}
	var out []Interest
	for l := range strings.Lines(string(b)) {
		var i Interest
		if n, _ := fmt.Sscanf(l, "tfd: %d events: %x data: %x", &i.FD, &i.Events, &i.Data); n == 3 {
			f := strings.Fields(l)
			for k, v := range f {
				if strings.HasPrefix(v, "ino:") {
					ino := strings.TrimPrefix(v, "ino:")
					if ino == "" {
						ino = f[k+1]
					}
					x, _ := strconv.ParseUint(ino, 16, 64)
					var st unix.Stat_t
					if err := unix.Fstat(i.FD, &st); err != nil || st.Ino != x {
						i.Ghost = true
					}
				}
			}
			out = append(out, i)
		}
	}
	return out, nil
}

type Sock struct {
	Unread, Unsent                               int
	State                                        string
	NonBlocking, CloseOnExec, NoDelay, ReuseAddr bool
	AcceptQueue, Backlog                         int
}

func Queues(fd int) (Sock, error) {
	var s Sock
	fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return s, err
	}
	s.NonBlocking = fl&unix.O_NONBLOCK != 0
	fl, _ = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	s.CloseOnExec = fl&unix.FD_CLOEXEC != 0
	s.Unread, _ = unix.IoctlGetInt(fd, unix.TIOCINQ)
	s.Unsent, _ = unix.IoctlGetInt(fd, unix.TIOCOUTQ)
	v, _ := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
	s.NoDelay = v != 0
	v, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR)
	s.ReuseAddr = v != 0
	if ti, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
		s.State = map[uint8]string{1: "ESTABLISHED", 8: "CLOSE_WAIT", 10: "LISTEN", 7: "CLOSE"}[ti.State]
		if ti.State == 10 {
			s.AcceptQueue, s.Backlog = int(ti.Unacked), int(ti.Sacked)
		}
	}
	return s, nil
}

func SocketByPeer(pid int, local netip.AddrPort) (FD, bool) {
	fds, _ := FDs(pid)
	for _, f := range fds {
		if f.Remote == local {
			return f, true
		}
	}
	return FD{}, false
}

func ThreadCPU(pid, tid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/schedstat", tid))
	if err != nil {
		return 0, err
	}
	var n int64
	fmt.Sscan(string(b), &n)
	return time.Duration(n), nil
}

func ProcessCPU(pid int) (time.Duration, error) {
	var ru unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), nil
}

func DecodeEpoll(ev uint32) string {
	var s []string
	for _, x := range []struct {
		b uint32
		n string
	}{{1, "EPOLLIN"}, {4, "EPOLLOUT"}, {8, "EPOLLERR"}, {16, "EPOLLHUP"}, {0x2000, "EPOLLRDHUP"}, {1 << 31, "EPOLLET"}} {
		if ev&x.b != 0 {
			s = append(s, x.n)
		}
	}
	return strings.Join(s, "|")
}
