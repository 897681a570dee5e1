package probe

import (
	"net"
	"os"
	"testing"

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

func TestAnotherProcessLooksTheSame(t *testing.T) {
	client, _ := pair(t)
	local := client.LocalAddr().(*net.TCPAddr).AddrPort()
	own, ok := SocketByPeer(os.Getpid(), local)
	require.True(t, ok)
	table, err := readSocketTables(os.Getpid())
	require.NoError(t, err)
	inode := own.Target[len("socket:[") : len(own.Target)-1]
	assert.Equal(t, socketInfo{kind: "tcp", local: own.Local, remote: own.Remote, state: "ESTABLISHED"}, table[inode])
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
