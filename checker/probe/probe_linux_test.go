package probe

import (
	"bufio"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pair is a TCP connection on loopback.
func pair(t *testing.T) (client, server *net.TCPConn) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	c, err := net.Dial("tcp4", ln.Addr().String())
	require.NoError(t, err)
	s, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestFindsTheOtherEndAndItsQueue(t *testing.T) {
	client, _ := pair(t)
	local := client.LocalAddr().(*net.TCPAddr).AddrPort()
	fd, ok := SocketByPeer(os.Getpid(), local)
	require.True(t, ok)
	assert.Equal(t, "ESTABLISHED", fd.State)
	mapped, ok := SocketByPeer(os.Getpid(), netip.AddrPortFrom(netip.AddrFrom16(local.Addr().As16()), local.Port()))
	require.True(t, ok, "::ffff:127.0.0.1 is 127.0.0.1")
	assert.Equal(t, fd, mapped)
	client.Write([]byte("12345"))
	require.Eventually(t, func() bool {
		s, err := Queues(fd.Num)
		return err == nil && s.Unread == 5
	}, 5e9, 1e6)
	s, _ := Queues(fd.Num)
	assert.True(t, s.NonBlocking)
	assert.True(t, s.CloseOnExec)
	assert.True(t, s.NoDelay)
	client.CloseWrite()
	require.Eventually(t, func() bool { s, _ := Queues(fd.Num); return s.State == "CLOSE_WAIT" }, 5e9, 1e6)
}

func TestSeesAListenersAcceptQueue(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	c, err := net.Dial("tcp4", ln.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	fds, err := FDs(os.Getpid())
	require.NoError(t, err)
	for _, fd := range fds {
		if fd.Kind == "listener" && fd.Local == ln.Addr().(*net.TCPAddr).AddrPort() {
			s, err := Queues(fd.Num)
			require.NoError(t, err)
			assert.Equal(t, 1, s.AcceptQueue)
			assert.Positive(t, s.Backlog)
			return
		}
	}
	t.Fatal("the listener is not among the descriptors")
}

func TestLeakedSeesAReusedNumber(t *testing.T) {
	before := []FD{{Num: 3, Target: "socket:[1]"}, {Num: 4, Target: "socket:[2]"}}
	after := []FD{{Num: 3, Target: "socket:[9]"}, {Num: 4, Target: "socket:[2]"}, {Num: 5, Target: "pipe:[3]"}}
	assert.Equal(t, []FD{after[0], after[2]}, Leaked(before, after))
}

func TestEpollTableShowsGhosts(t *testing.T) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(epfd)
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	defer unix.Close(p[1])
	require.NoError(t, unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, p[0], &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: 7, Pad: 9}))

	table, err := EpollTable(os.Getpid(), epfd)
	require.NoError(t, err)
	require.Len(t, table, 1)
	assert.Equal(t, p[0], table[0].FD)
	assert.Equal(t, uint64(9<<32|7), table[0].Data)
	assert.False(t, table[0].Ghost)
	assert.Equal(t, "EPOLLIN|EPOLLERR|EPOLLHUP|EPOLLET", DecodeEpoll(table[0].Events))

	dup, err := unix.Dup(p[0])
	require.NoError(t, err)
	defer unix.Close(dup)
	unix.Close(p[0])
	table, err = EpollTable(os.Getpid(), epfd)
	require.NoError(t, err)
	require.Len(t, table, 1)
	assert.True(t, table[0].Ghost)
}

// A number that names another file now is a ghost also where the two files share an
// inode, as all eventfds and timerfds do.
func TestEpollTableShowsGhostsOfAnonymousFiles(t *testing.T) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(epfd)
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(event)
	require.NoError(t, unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN}))
	slot := struct{ epfd, tfd, nth uint32 }{uint32(epfd), uint32(event), 0}
	pid := uintptr(os.Getpid())
	if _, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, 7, uintptr(event), uintptr(unsafe.Pointer(&slot)), 0); errno != 0 {
		t.Skipf("the kernel does not compare files for us: kcmp: %v", errno)
	}
	table, err := EpollTable(os.Getpid(), epfd)
	require.NoError(t, err)
	require.Len(t, table, 1)
	assert.False(t, table[0].Ghost)

	dup, err := unix.Dup(event)
	require.NoError(t, err)
	defer unix.Close(dup)
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(timer)
	require.NoError(t, unix.Dup3(timer, event, unix.O_CLOEXEC))
	require.NoError(t, unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: 1}))
	table, err = EpollTable(os.Getpid(), epfd)
	require.NoError(t, err)
	require.Len(t, table, 2, "the eventfd and the timerfd, under one number")
	for _, i := range table {
		assert.Equal(t, event, i.FD)
		assert.Equal(t, i.Data == 0, i.Ghost, "the eventfd's entry, and that alone, is the ghost")
	}
}

func TestEpollTableWantsAnEpollInstance(t *testing.T) {
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	_, err := EpollTable(os.Getpid(), p[0])
	assert.ErrorContains(t, err, "is no epoll instance but pipe:")
	unix.Close(p[0])
	unix.Close(p[1])
	_, err = EpollTable(os.Getpid(), p[0])
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestDecodeEpollNamesEveryBit(t *testing.T) {
	assert.Equal(t, "0", DecodeEpoll(0))
	assert.Equal(t, "EPOLLIN|EPOLLOUT|EPOLLRDHUP|EPOLLONESHOT|EPOLLEXCLUSIVE",
		DecodeEpoll(unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLONESHOT|unix.EPOLLEXCLUSIVE))
	assert.Equal(t, "EPOLLIN|0x40", DecodeEpoll(unix.EPOLLIN|unix.EPOLLRDNORM))
}

// A reader who does not read leaves unsent bytes here; a reset is seen, and not
// taken from the program that is to find it in SO_ERROR.
func TestSeesUnsentBytesAndLeavesTheError(t *testing.T) {
	client, server := pair(t)
	require.NoError(t, server.SetReadBuffer(4096))
	raw, err := client.SyscallConn()
	require.NoError(t, err)
	var s Sock
	for end := time.Now().Add(10 * time.Second); s.Unsent == 0 && time.Now().Before(end); {
		client.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // may be over before the first write
		client.Write(make([]byte, 32<<20))
		require.NoError(t, raw.Control(func(fd uintptr) {
			var err error
			s, err = Queues(int(fd))
			require.NoError(t, err)
		}))
	}
	assert.Positive(t, s.Unsent)
	assert.Equal(t, "ESTABLISHED", s.State)
	require.NoError(t, server.SetLinger(0))
	require.NoError(t, server.Close())
	require.NoError(t, raw.Control(func(fd uintptr) {
		require.Eventually(t, func() bool { s, err := Queues(int(fd)); return err == nil && s.State == "CLOSE" }, 5*time.Second, time.Millisecond)
		pending, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		require.NoError(t, err)
		assert.Equal(t, unix.ECONNRESET, unix.Errno(pending))
	}))
}

func TestQueuesOfNoSocketAndOfNothing(t *testing.T) {
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_NONBLOCK))
	s, err := Queues(p[0])
	require.NoError(t, err)
	assert.Equal(t, Sock{NonBlocking: true}, s)
	unix.Close(p[0])
	unix.Close(p[1])
	_, err = Queues(p[0])
	assert.ErrorIs(t, err, unix.EBADF)
}

// child runs this test binary as another process that holds a TCP connection to addr,
// a listener on IPv6, if there is one, a UDP and a Unix socket and an epoll instance,
// and that burns processor time until it is killed.
func child(t *testing.T, addr string) int {
	cmd := exec.Command(os.Args[0], "-test.run=^TestBeAChild$", "-test.v")
	cmd.Env = append(os.Environ(), "PROBE_CHILD="+addr)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "child is ready" {
			return cmd.Process.Pid
		}
	}
	t.Fatal("the child did not come up")
	return 0
}

func TestBeAChild(t *testing.T) {
	addr := os.Getenv("PROBE_CHILD")
	if addr == "" {
		t.Skip("this is the other process of other tests")
	}
	c, err := net.Dial("tcp4", addr)
	require.NoError(t, err)
	defer c.Close()
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		defer ln.Close()
	}
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer u.Close()
	_, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	fmt.Println("\nchild is ready")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
	}
}

func TestAnotherProcess(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	pid := child(t, ln.Addr().String())
	c, err := ln.Accept()
	require.NoError(t, err)
	defer c.Close()
	here, there := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()

	fd, ok := SocketByPeer(pid, here)
	require.True(t, ok)
	assert.Equal(t, FD{Num: fd.Num, Target: fd.Target, Kind: "tcp", Local: there, Remote: here, State: "ESTABLISHED"}, fd)
	c.Close()
	require.Eventually(t, func() bool { fd, _ := SocketByPeer(pid, here); return fd.State == "CLOSE_WAIT" }, 5*time.Second, time.Millisecond)

	fds, err := FDs(pid)
	require.NoError(t, err)
	count := map[string]int{}
	for _, fd := range fds {
		count[fd.Kind]++
		switch fd.Kind {
		case "listener":
			assert.Equal(t, "::1", fd.Local.Addr().String())
			assert.False(t, fd.Remote.IsValid())
		case "udp":
			assert.Equal(t, "127.0.0.1", fd.Local.Addr().String())
		case "epoll":
			table, err := EpollTable(pid, fd.Num)
			require.NoError(t, err)
			assert.NotEmpty(t, table, "the Go runtime watches the child's sockets")
			for _, i := range table {
				assert.False(t, i.Ghost, "%+v", i)
			}
		}
	}
	assert.Equal(t, 1, count["tcp"])
	assert.Equal(t, 1, count["udp"])
	assert.Equal(t, 2, count["unix"])
	assert.Equal(t, 1, count["epoll"])
	assert.Zero(t, count["socket"])

	require.Eventually(t, func() bool { used, err := ProcessCPU(pid); return err == nil && used > 0 }, 10*time.Second, 10*time.Millisecond)
	rss, err := RSS(pid)
	require.NoError(t, err)
	assert.Greater(t, rss, int64(1<<20))
}

func TestAProcessThatIsNotThere(t *testing.T) {
	const none = 1 << 30 // above every pid_max
	_, err := FDs(none)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = ProcessCPU(none)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = RSS(none)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = ThreadCPU(os.Getpid(), none)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = ThreadState(os.Getpid(), none)
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

// thread runs f on a thread of its own and returns the thread's id.
func thread(f func()) int {
	tid := make(chan int)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		tid <- unix.Gettid()
		f()
	}()
	return <-tid
}

func TestTellsBlockedInReadFromRunning(t *testing.T) {
	var p [2]int
	require.NoError(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	reader := thread(func() { unix.Read(p[0], make([]byte, 1)) })
	defer unix.Write(p[1], []byte{1})
	var stop atomic.Bool
	defer stop.Store(true)
	spinner := thread(func() {
		for !stop.Load() {
		}
	})
	pid := os.Getpid()

	require.Eventually(t, func() bool { s, err := ThreadState(pid, reader); return err == nil && s.State == "S" }, 5*time.Second, time.Millisecond)
	if _, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", reader)); err == nil {
		require.Eventually(t, func() bool {
			s, _ := ThreadState(pid, reader)
			return s.InSyscall && s.Syscall == unix.SYS_READ && s.Arg == uint64(p[0])
		}, 5*time.Second, time.Millisecond)
	}
	before, err := ThreadCPU(pid, reader)
	require.NoError(t, err)
	spun, err := ThreadCPU(pid, spinner)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		now, err := ThreadCPU(pid, spinner)
		return err == nil && now > spun+20*time.Millisecond
	}, 10*time.Second, time.Millisecond)
	after, err := ThreadCPU(pid, reader)
	require.NoError(t, err)
	assert.Less(t, after-before, 5*time.Millisecond)
	require.Eventually(t, func() bool { s, _ := ThreadState(pid, spinner); return s.State == "R" && !s.InSyscall && s.Wchan == "" }, 5*time.Second, time.Millisecond)
}

func TestReadsTheStatFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stat")
	require.NoError(t, os.WriteFile(path, []byte("7 (a) b (c) S 1 7 7 0 -1 4194368 3 6569 0 0 12 34 0 3 20 0\n"), 0o600))
	used, err := statCPU(path)
	require.NoError(t, err)
	assert.Equal(t, 460*time.Millisecond, used)
	require.NoError(t, os.WriteFile(path, []byte("7 (a) S 1"), 0o600))
	_, err = statCPU(path)
	assert.ErrorContains(t, err, "2 fields")
}

func TestCountFDsAgreesWithTheList(t *testing.T) {
	_, _ = pair(t)
	fds, err := FDs(os.Getpid())
	require.NoError(t, err)
	n, err := CountFDs()
	require.NoError(t, err)
	assert.Equal(t, len(fds), n)
}

// Four thousand descriptors: the search for a client's other end does not list them.
func BenchmarkSocketByPeer(b *testing.B) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(b, err)
	defer ln.Close()
	var last netip.AddrPort
	for range 2000 {
		c, err := net.Dial("tcp4", ln.Addr().String())
		require.NoError(b, err)
		defer c.Close()
		s, err := ln.Accept()
		require.NoError(b, err)
		defer s.Close()
		last = c.LocalAddr().(*net.TCPAddr).AddrPort()
	}
	for b.Loop() {
		if _, ok := SocketByPeer(os.Getpid(), last); !ok {
			b.Fatal("not found")
		}
	}
}

func TestTimesAndMemoryGrow(t *testing.T) {
	pid := os.Getpid()
	cpu, err := ProcessCPU(pid)
	require.NoError(t, err)
	assert.Positive(t, cpu)
	cpu, err = ThreadCPU(pid, pid)
	require.NoError(t, err)
	assert.Positive(t, cpu)
	rss, err := RSS(pid)
	require.NoError(t, err)
	assert.Greater(t, rss, int64(1<<20))
}
