package probe

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// socketOf is the kernel's own of c, from sock_diag or, much slower on a machine with many
// connections, from the table.
func socketOf(t *testing.T, c *net.TCPConn, list func(own map[uint64]bool) ([]Socket, error)) Socket {
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	all, err := list(ownInodes(t))
	require.NoError(t, err)
	for _, s := range all {
		if s.Local == local && s.Inode != 0 && s.State != "LISTEN" {
			return s
		}
	}
	require.Fail(t, "not found", "%v is not among %d sockets", local, len(all))
	return Socket{}
}

func byDiag(own map[uint64]bool) ([]Socket, error)  { return diagnosed(own, true) }
func byTable(own map[uint64]bool) ([]Socket, error) { return tabled(os.Getpid(), own) }

func ownInodes(t *testing.T) map[uint64]bool {
	fds, err := OpenFiles(os.Getpid())
	require.NoError(t, err)
	own := map[uint64]bool{}
	for _, fd := range fds {
		var inode uint64
		if n, _ := fmt.Sscanf(fd.Target, "socket:[%d]", &inode); n == 1 {
			own[inode] = true
		}
	}
	return own
}

// The kernel lets pass what has the listeners' ports: 1, 2, 3 and 90 of them.
func TestAsksForThePortsOfTheListeners(t *testing.T) {
	for _, n := range []int{1, 2, 3, 90, 120} {
		var all []io.Closer
		ports := map[uint16]bool{}
		for range n {
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			require.NoError(t, err)
			c, err := net.Dial("tcp4", ln.Addr().String())
			require.NoError(t, err)
			s, err := ln.Accept()
			require.NoError(t, err)
			waits, err := net.Dial("tcp4", ln.Addr().String())
			require.NoError(t, err)
			all = append(all, ln, c, s, waits)
			ports[uint16(ln.Addr().(*net.TCPAddr).Port)] = true
		}
		list, err := diagnosed(ownInodes(t), false)
		require.NoError(t, err)
		count := map[string]int{}
		for _, s := range list {
			switch {
			case !ports[s.Local.Port()]:
				count["other"]++
			case s.Inode == 0:
				count["waits"]++
			default:
				count[s.State]++
			}
		}
		assert.Equal(t, n, count["LISTEN"])
		assert.Equal(t, n, count["ESTABLISHED"])
		assert.Equal(t, n, count["waits"])
		if n <= 100 {
			assert.Zero(t, count["other"], "the clients' ends have other ports")
		}
		for _, c := range all {
			c.Close()
		}
	}
	list, err := diagnosed(map[uint64]bool{}, false)
	require.NoError(t, err)
	assert.Empty(t, list)
}

func TestSocketsAreTheSameInBothSources(t *testing.T) {
	client, server := pair(t)
	fd, ok := SocketByPeer(os.Getpid(), client.LocalAddr().(*net.TCPAddr).AddrPort())
	require.True(t, ok)
	until := func(what string, f func(s Sock) bool) {
		require.Eventually(t, func() bool { s, err := Queues(fd.Num); return err == nil && f(s) }, 10*time.Second, time.Millisecond, what)
	}
	client.Write([]byte("hello"))
	until("hello", func(s Sock) bool { return s.Unread == 5 })
	s := socketOf(t, server, byDiag)
	assert.True(t, s.Counted)
	assert.Equal(t, 5, s.Unread)
	assert.Zero(t, s.Read)
	assert.Equal(t, "ESTABLISHED", s.State)

	server.Read(make([]byte, 3))
	client.CloseWrite()
	until("the end", func(s Sock) bool { return s.State == "CLOSE_WAIT" })
	diag, table := socketOf(t, server, byDiag), socketOf(t, server, byTable)
	assert.Equal(t, uint64(3), diag.Read)
	assert.Equal(t, diag.Inode, table.Inode)
	assert.Equal(t, diag.Remote, table.Remote)
	for _, s := range []Socket{diag, table} {
		assert.Equal(t, "CLOSE_WAIT", s.State)
		assert.Equal(t, 2, s.Unread)
		assert.True(t, s.EndUnread)
	}
	server.Read(make([]byte, 3))
	server.Read(make([]byte, 3)) // the end
	s = socketOf(t, server, byDiag)
	assert.False(t, s.EndUnread)
	assert.Zero(t, s.Unread)

	server.Write([]byte("answer"))
	until("the answer is acknowledged", func(s Sock) bool { return s.Unsent == 0 })
	assert.Equal(t, uint64(6), socketOf(t, server, byDiag).Acked)
}

func TestListenersBacklog(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 7))
	name, _ := unix.Getsockname(fd)
	c, err := net.DialTCP("tcp4", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port})
	require.NoError(t, err)
	defer c.Close()
	all, err := diagnosed(ownInodes(t), false)
	require.NoError(t, err)
	waiting := 0
	for _, s := range all {
		if int(s.Local.Port()) != name.(*unix.SockaddrInet4).Port {
			continue
		}
		switch {
		case s.State == "LISTEN":
			assert.Equal(t, 1, s.AcceptQueue)
			assert.Equal(t, 7, s.Backlog)
			assert.Zero(t, s.Drops)
		case s.Inode == 0:
			waiting++
		}
	}
	assert.Equal(t, 1, waiting)
	assert.Equal(t, "TCP", Protocol(os.Getpid(), fd))
}

func TestLooksAtItself(t *testing.T) {
	p, err := Look(os.Getpid())
	require.NoError(t, err)
	assert.Equal(t, os.Getpid(), p.Group)
	assert.Equal(t, os.Geteuid(), p.User)
	assert.False(t, p.Kernel)
	assert.Equal(t, os.Args[0], p.Command[0])
	assert.True(t, SameNetwork(os.Getpid()))
	var l unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
	soft, hard, err := FileLimits(os.Getpid())
	require.NoError(t, err)
	assert.Equal(t, l.Cur, soft)
	assert.Equal(t, l.Max, hard)
	tids, err := Threads(os.Getpid())
	require.NoError(t, err)
	assert.Contains(t, tids, os.Getpid())
	used, _, err := ThreadDemand(os.Getpid(), os.Getpid())
	require.NoError(t, err)
	assert.Positive(t, used)
	_, _, err = ListenCounters(os.Getpid())
	assert.NoError(t, err)

	event, err := unix.Eventfd(0x1f, unix.EFD_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(event)
	assert.Equal(t, uint64(0x1f), Pending(os.Getpid(), event))
	assert.Equal(t, "epoll_pwait", SyscallName(unix.SYS_EPOLL_PWAIT))
	assert.Equal(t, "system call 9999", SyscallName(9999))
}

func TestReadsARing(t *testing.T) {
	r := parseRing("SqMask:\t0x3ff\nSqHead:\t3\nSqTail:\t5\nCqMask:\t0xfff\nCqHead:\t1\nCqTail:\t4\nSqThread:\t-1\nUserFiles:\t12\nUserBufs:\t2\n" +
		"PollList:\n  op=13, task_works=0\n  op=27, task_works=0\n  op=27, task_works=1\n  op=99, task_works=0\nCqOverflowList:\n  user_data=1, res=2, flags=0\n  user_data=2, res=2, flags=0\nNAPI:\tdisabled\n")
	assert.Equal(t, Ring{SqHead: 3, SqTail: 5, SqEntries: 1024, CqHead: 1, CqTail: 4, CqEntries: 4096, Overflow: 0, SqThread: -1, Files: 12, Buffers: 2,
		Waiting: map[string]int{"accept": 1, "recv": 2, "operation 99": 1}}, Ring{SqHead: r.SqHead, SqTail: r.SqTail, SqEntries: r.SqEntries, CqHead: r.CqHead, CqTail: r.CqTail,
		CqEntries: r.CqEntries, SqThread: r.SqThread, Files: r.Files, Buffers: r.Buffers, Waiting: r.Waiting})
	assert.Equal(t, 2, r.Overflow)
	assert.Equal(t, -1, parseRing("").SqThread)
}

// A ring of the kernel's own with more completions than have room.
func TestSeesARingOverflow(t *testing.T) {
	// struct io_uring_params is 120 bytes; the kernel uses it until the call returns.
	var params [30]uint32
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		t.Skipf("no io_uring here: %v", errno)
	}
	defer unix.Close(int(fd))
	// sq_off: head, tail, ring_mask, ring_entries, flags, dropped, array from word 10 on.
	ring, err := unix.Mmap(int(fd), 0, int(params[16]+4*params[0]), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	require.NoError(t, err)
	defer unix.Munmap(ring)
	sqes, err := unix.Mmap(int(fd), 0x10000000, int(64*params[0]), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE) // IORING_OFF_SQES
	require.NoError(t, err)
	defer unix.Munmap(sqes)
	clear(sqes)   // IORING_OP_NOP
	for range 3 { // 12 completions, of which 8 have room
		tail := (*atomic.Uint32)(unsafe.Pointer(&ring[params[11]]))
		for i := range params[0] {
			binary.NativeEndian.PutUint32(ring[params[16]+4*i:], i)
		}
		tail.Add(params[0])
		n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, fd, uintptr(params[0]), 0, 0, 0, 0)
		require.Zero(t, errno)
		require.Equal(t, uintptr(params[0]), n)
	}
	rings, err := Rings(os.Getpid())
	require.NoError(t, err)
	for _, r := range rings {
		if r.FD == int(fd) {
			assert.Equal(t, uint32(8), r.CqTail-r.CqHead)
			assert.Equal(t, uint32(8), r.CqEntries)
			assert.Equal(t, uint32(4), r.SqEntries)
			assert.Equal(t, 4, r.Overflow)
			return
		}
	}
	t.Fatal("the ring is not among those of this process")
}

func TestReadsLimitsAndCounters(t *testing.T) {
	soft, hard, ok := parseFileLimits("Limit  Soft\nMax open files            1024                 unlimited            files\n")
	assert.True(t, ok)
	assert.Equal(t, uint64(1024), soft)
	assert.Equal(t, Unlimited, hard)
	overflows, drops := listenCounters("TcpExt: A ListenOverflows ListenDrops\nTcpExt: 1 22 33\nIpExt: ListenDrops\nIpExt: 9\n")
	assert.Equal(t, uint64(22), overflows)
	assert.Equal(t, uint64(33), drops)
	assert.Equal(t, uint64(3), parsePending("clockid: 1\nticks: 3\n"))
}

// FuzzProc feeds what reads /proc with anything: whatever a kernel writes there, and
// whatever a file holds that changes while it is read, nothing may panic.
func FuzzProc(f *testing.F) {
	for _, path := range []string{"status", "limits", "net/netstat", "net/tcp", "net/tcp6"} {
		text, _ := os.ReadFile("/proc/self/" + path)
		f.Add(string(text[:min(len(text), 2000)]))
	}
	f.Add("tfd:        8 events:     2001 data: 100000008  pos:0 ino:1234 sdev:8\n")
	f.Add("SqMask:\t0x3ff\nSqThread:\t-1\nCqOverflowList:\n  user_data=1, res=2, flags=0\n")
	f.Add("eventfd-count:               1f\nticks: 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		parseStatus(text)
		parseFileLimits(text)
		listenCounters(text)
		parsePending(text)
		parseRing(text)
		if table, err := parseEpoll(text); err == nil {
			assert.LessOrEqual(t, len(table), strings.Count(text, "tfd:"))
		}
		for line := range strings.Lines(text) {
			if s, ok := tcpRow(strings.Fields(line)); ok {
				assert.NotEmpty(t, s.State)
				assert.GreaterOrEqual(t, s.Unread, 0)
			}
			socketRow("tcp", strings.Fields(line))
			socketRow("unix", strings.Fields(line))
		}
	})
}

// FuzzDiag does so with what sock_diag answers.
func FuzzDiag(f *testing.F) {
	message := make([]byte, diagMessage)
	message[0], message[1] = unix.AF_INET, 8
	binary.NativeEndian.PutUint32(message[56:], 6)
	f.Add(message)
	f.Add(append(message, 8, 0, diagInfo, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := diagSocket(b); ok {
			assert.NotEmpty(t, s.State)
		}
	})
}
