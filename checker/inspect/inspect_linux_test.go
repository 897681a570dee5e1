package inspect

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"iolab/checker/probe"
)

func TestMain(m *testing.M) {
	if mistake, ok := os.LookupEnv("INSPECT_MISTAKE"); ok {
		fmt.Println(broken(mistake))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// broken is an echo server on epoll with one mistake in it, or none. It prints its
// address, and ends with an error.
func broken(mistake string) error {
	runtime.LockOSThread()
	if mistake == "descriptors-leak" {
		unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64})
		for {
			if _, err := unix.Dup(0); err != nil {
				break
			}
		}
	}
	if mistake == "deleted-file" {
		f, err := os.CreateTemp("", "inspect-")
		if err != nil {
			return err
		}
		f.Truncate(large) // sparse: takes no room
		os.Remove(f.Name())
		defer f.Close()
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if mistake == "descriptors-leak" {
		unix.Close(10)
		listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return err
	}
	unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	backlog := 128
	if mistake == "nobody-accepts" {
		backlog = 2
	}
	if err := unix.Listen(listener, backlog); err != nil {
		return err
	}
	bound, _ := unix.Getsockname(listener)
	fmt.Println(bound.(*unix.SockaddrInet4).Port)
	if mistake == "nobody-accepts" || mistake == "descriptors-leak" {
		select {}
	}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	add := func(fd int, events uint32) { // an error shows in what the test finds
		unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	}
	add(listener, unix.EPOLLIN)
	if mistake == "wake-not-read" {
		wake, _ := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		add(wake, unix.EPOLLIN)
	}
	if mistake == "listener-edge" {
		unix.EpollCtl(epfd, unix.EPOLL_CTL_MOD, listener, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(listener)})
	}
	events, buf := make([]unix.EpollEvent, 64), make([]byte, 4096)
	for {
		n, err := unix.EpollWait(epfd, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			fd := int(e.Fd)
			if fd != listener {
				serve(mistake, epfd, fd, buf)
				continue
			}
			if mistake == "listener-edge" {
				time.Sleep(200 * time.Millisecond) // a burst has come
			}
			c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch {
			case err != nil || mistake == "unwatched":
			case mistake == "write-interest-left-armed":
				add(c, unix.EPOLLIN|unix.EPOLLOUT)
			case mistake == "edge-lost":
				add(c, unix.EPOLLIN|unix.EPOLLET)
			case mistake == "one-shot-not-armed-again":
				add(c, unix.EPOLLIN|unix.EPOLLONESHOT)
			default:
				add(c, unix.EPOLLIN|unix.EPOLLRDHUP)
			}
		}
	}
}

func serve(mistake string, epfd, fd int, buf []byte) {
	if mistake == "readable-not-read" || mistake == "wake-not-read" {
		return
	}
	if mistake == "edge-lost" {
		buf = buf[:2]
	}
	n, err := unix.Read(fd, buf)
	switch {
	case err != nil || n < 0:
		if err != unix.EAGAIN && mistake != "reset-not-closed" {
			unix.Close(fd)
		}
	case n == 0:
		switch mistake {
		case "close-wait":
			unix.EpollCtl(epfd, unix.EPOLL_CTL_DEL, fd, nil)
		case "end-reported-forever", "reset-not-closed":
		case "registration-outlives-close":
			unix.Dup(fd)
			unix.Close(fd)
		default:
			unix.Close(fd)
		}
	case mistake == "loop-held-up":
		select {}
	case mistake == "loop-computes":
		for n := 0; n >= 0; n ^= 1 { // for ever
		}
	case mistake == "reading-paused":
		unix.EpollCtl(epfd, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: unix.EPOLLRDHUP, Fd: int32(fd)})
	default:
		unix.Write(fd, buf[:n])
	}
}

// run starts the server and returns its process id and address.
func run(t *testing.T, mistake string) (pid int, addr string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "INSPECT_MISTAKE="+mistake)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	started := make(chan error)
	go func() { // Pdeathsig is the thread's: it must outlive the child
		runtime.LockOSThread()
		started <- cmd.Start()
		<-started
		cmd.Process.Kill()
		cmd.Wait()
		started <- nil
	}()
	require.NoError(t, <-started)
	t.Cleanup(func() { started <- nil; <-started })
	port, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd.Process.Pid, "127.0.0.1:" + strings.TrimSpace(port)
}

func dial(t *testing.T, addr string) *net.TCPConn {
	c, err := net.DialTimeout("tcp4", addr, 10*time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func ids(r Report) []string {
	list := []string{}
	for _, f := range r.Findings {
		list = append(list, f.ID)
	}
	return list
}

// find inspects until the finding is there, since the server needs time to get to where
// its mistake shows, and on a busy machine time to show it.
func find(t *testing.T, pid int, id string) Finding {
	var seen []string
	for begun, look := time.Now(), 500*time.Millisecond; time.Since(begun) < time.Minute; look = min(2*look, 4*time.Second) {
		r, err := Inspect(t.Context(), pid, look)
		require.NoError(t, err)
		seen = ids(r)
		if i := slices.Index(seen, id); i >= 0 {
			return r.Findings[i]
		}
	}
	require.Failf(t, "not found", "%s should be among the findings, which are %v", id, seen)
	return Finding{}
}

// What the clients do to each server, and what must be found then, and nothing else.
func TestFindsTheMistake(t *testing.T) {
	for _, tc := range []struct {
		mistake string
		clients func(t *testing.T, addr string)
		want    []string
		text    string
	}{
		{"write-interest-left-armed", echo, []string{"write-interest-left-armed"}, "It spins"},
		{"edge-lost", send("hello", ""), []string{"edge-lost"}, "EPOLLET"},
		{"unwatched", send("hello", ""), []string{"unwatched"}, "in no interest list"},
		{"readable-not-read", send("hello", ""), []string{"readable-not-read"}, "So it spins"},
		{"reading-paused", send("hello", "again"), []string{"reading-paused"}, "without EPOLLIN"},
		{"one-shot-not-armed-again", send("hello", "again"), []string{"one-shot-not-armed-again"}, "a worker has it"},
		{"loop-held-up", send("hello", "again"), []string{"loop-held-up"}, "no thread was seen to wait"},
		{"loop-computes", send("hello", "again"), []string{"loop-held-up"}, "It computes"},
		{"nobody-accepts", crowd(20), []string{"nobody-accepts"}, "The queue is full"},
		{"listener-edge", crowd(10), []string{"nobody-accepts"}, "a burst of clients is one event"},
		{"descriptors-leak", crowd(1), []string{"descriptors", "nobody-accepts"}, "may have 64"},
		{"close-wait", leave, []string{"close-wait"}, "stay in CLOSE_WAIT"},
		{"end-reported-forever", leave, []string{"end-reported-forever"}, "reports at every wait"},
		{"registration-outlives-close", leave, []string{"registration-outlives-close", "close-wait"}, "It spins, it seems"},
		{"reset-not-closed", reset, []string{"reset-not-closed"}, "EPOLLHUP is reported at every wait"},
		{"wake-not-read", func(*testing.T, string) {}, []string{"wake-not-read"}, "the eventfd fd"},
		{"deleted-file", echo, []string{"deleted-file"}, "deleted and still open"},
		{"none", slowReader, []string{"peer-does-not-read"}, "do not read"},
	} {
		t.Run(tc.mistake, func(t *testing.T) {
			t.Parallel()
			pid, addr := run(t, tc.mistake)
			tc.clients(t, addr)
			assert.Contains(t, find(t, pid, tc.want[0]).Text, tc.text)
			if tc.mistake == "loop-computes" {
				return // on a busy machine it gets too little of the processor to be told from a loop that spins
			}
			// And nothing else. A machine that leaves a busy server no processor for a
			// second hides that it is busy: so it may take more than one try.
			var r Report
			for range 10 {
				var err error
				r, err = Inspect(t.Context(), pid, 500*time.Millisecond)
				require.NoError(t, err)
				if len(ids(r)) == len(tc.want) && r.Findings[0].ID == tc.want[0] {
					break
				}
			}
			assert.ElementsMatch(t, tc.want, ids(r), "%s", Text(r, Options{}))
		})
	}
}

// send sends first once and then, if there is one, again and again: what is read together
// with first does not show the mistake.
func send(first, then string) func(*testing.T, string) {
	return func(t *testing.T, addr string) {
		c := dial(t, addr)
		c.Write([]byte(first))
		if then == "" {
			return
		}
		go func() {
			for t.Context().Err() == nil {
				time.Sleep(200 * time.Millisecond)
				if _, err := c.Write([]byte(then)); err != nil {
					return
				}
			}
		}()
	}
}

func echo(t *testing.T, addr string) {
	c := dial(t, addr)
	c.SetDeadline(time.Now().Add(10 * time.Second))
	c.Write([]byte("hello"))
	_, err := io.ReadFull(c, make([]byte, 5))
	require.NoError(t, err)
}

func leave(t *testing.T, addr string) {
	for range 3 {
		echo(t, addr)
	}
	c := dial(t, addr)
	c.Write([]byte("hello"))
	io.ReadFull(c, make([]byte, 5))
	c.Close()
}

func reset(t *testing.T, addr string) {
	c := dial(t, addr)
	c.Write([]byte("hello"))
	io.ReadFull(c, make([]byte, 5))
	c.SetLinger(0)
	c.Close()
}

// crowd connects without waiting for it to succeed.
func crowd(n int) func(*testing.T, string) {
	return func(t *testing.T, addr string) {
		to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
		fmt.Sscanf(addr, "127.0.0.1:%d", &to.Port)
		for range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			t.Cleanup(func() { unix.Close(fd) })
			unix.Connect(fd, to)
		}
	}
}

func slowReader(t *testing.T, addr string) {
	c := dial(t, addr)
	c.SetReadBuffer(4096)
	c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	c.Write(make([]byte, 16<<20))
}

// A server without a mistake has nothing found on it: idle, answering, streaming,
// with clients that come and go, and with one that has shut its side.
func TestFindsNothingOnARightServer(t *testing.T) {
	t.Parallel()
	pid, addr := run(t, "none")
	quiet := func(when string) {
		r, err := Inspect(t.Context(), pid, 500*time.Millisecond)
		require.NoError(t, err)
		assert.Empty(t, ids(r), "%s: %s", when, Text(r, Options{}))
	}
	quiet("idle, no client")
	for range 20 {
		echo(t, addr)
	}
	quiet("idle, 20 clients")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for ctx.Err() == nil {
				c, err := net.Dial("tcp4", addr)
				if err != nil {
					continue
				}
				for range 50 {
					c.Write([]byte("hello"))
					io.ReadFull(c, make([]byte, 5))
				}
				c.Close()
			}
		}()
	}
	quiet("answering")
	quiet("answering")
	stop()
	for range 8 {
		<-done
	}
	quiet("after")
}

func TestWhatItSees(t *testing.T) {
	t.Parallel()
	pid, addr := run(t, "none")
	for range 3 {
		echo(t, addr)
	}
	r, err := Inspect(t.Context(), pid, 200*time.Millisecond)
	require.NoError(t, err)
	require.Len(t, r.Listeners, 1)
	assert.Equal(t, addr, r.Listeners[0].Local)
	assert.Equal(t, 128, r.Listeners[0].Backlog)
	assert.Len(t, r.Sockets, 3)
	for _, s := range r.Sockets {
		assert.Equal(t, "ESTABLISHED", s.State)
		assert.Equal(t, addr, s.Local)
		require.Len(t, s.Watched, 1)
		assert.Contains(t, s.Watched[0].Events, "EPOLLIN|EPOLLRDHUP")
	}
	require.Len(t, r.Epolls, 1)
	assert.Len(t, r.Epolls[0].Entries, 4)
	assert.Equal(t, 1, r.Doing[fmt.Sprintf("asleep in epoll_wait(%d)", r.Epolls[0].FD)]+r.Doing[fmt.Sprintf("asleep in epoll_pwait(%d)", r.Epolls[0].FD)], "%v", r.Doing)
	assert.Positive(t, r.Memory)
	assert.Equal(t, r.Threads, sum(r.Doing))
	text := Text(r, Options{All: true})
	assert.Contains(t, text, "nothing wrong is to be seen")
	assert.Contains(t, text, "EPOLLIN|EPOLLRDHUP, 0x")
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

func TestProcessesThatCannotBeInspected(t *testing.T) {
	inspect := func(pid int) error {
		_, err := Inspect(t.Context(), pid, 200*time.Millisecond)
		return err
	}
	assert.ErrorContains(t, inspect(1<<30), "there is no process 1073741824")
	if comm, _ := os.ReadFile("/proc/2/comm"); string(comm) == "kthreadd\n" {
		assert.ErrorContains(t, inspect(2), "2 (kthreadd) is a thread of the kernel's own")
	}

	zombie := exec.Command("true")
	require.NoError(t, zombie.Start())
	require.Eventually(t, func() bool {
		err := inspect(zombie.Process.Pid)
		return err != nil && strings.Contains(err.Error(), "has ended; it is kept (a zombie)")
	}, 10*time.Second, time.Millisecond)
	zombie.Wait()

	short := exec.Command("sleep", "0.3")
	require.NoError(t, short.Start())
	defer short.Wait()
	_, err := Inspect(t.Context(), short.Process.Pid, 3*time.Second)
	assert.ErrorContains(t, err, fmt.Sprintf("%d (", short.Process.Pid))
	assert.ErrorContains(t, err, "ended")
}

func TestAThreadIsTakenForItsProcess(t *testing.T) {
	tid := make(chan int)
	go func() {
		runtime.LockOSThread()
		tid <- unix.Gettid()
		<-tid
	}()
	id := <-tid
	defer close(tid)
	if id == os.Getpid() {
		t.Skip("the goroutine is on the main thread")
	}
	r, err := Inspect(t.Context(), id, 200*time.Millisecond)
	require.NoError(t, err)
	assert.Equal(t, os.Getpid(), r.PID)
	require.NotEmpty(t, r.Notes)
	assert.Contains(t, r.Notes[0], fmt.Sprintf("%d is a thread of process %d", id, os.Getpid()))
}

// Another user's process: only root can make one here.
func TestAnotherUsersProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		_, err := Inspect(t.Context(), 1, 200*time.Millisecond)
		assert.ErrorContains(t, err, "belongs to root: only root may look") // PID 1 is root's, if it is not ours
		return
	}
	other := exec.Command("sleep", "60")
	require.NoError(t, other.Start())
	defer func() { other.Process.Kill(); other.Wait() }()
	self, err := os.Executable()
	require.NoError(t, err)
	copied := filepath.Join(t.TempDir(), "test")
	text, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(copied, text, 0o755))
	for dir := filepath.Dir(copied); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	cmd := exec.Command(copied, "-test.run=TestLooksAtAnother$", "-test.v")
	cmd.Dir = filepath.Dir(copied)
	cmd.Env = append(os.Environ(), fmt.Sprintf("INSPECT_OTHER=%d", other.Process.Pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "belongs to root: only root may look at its descriptors, so use sudo")
}

// The part of the test above that runs as another user.
func TestLooksAtAnother(t *testing.T) {
	text, ok := os.LookupEnv("INSPECT_OTHER")
	if !ok {
		t.Skip("runs in a process of TestAnotherUsersProcess")
	}
	var pid int
	fmt.Sscan(text, &pid)
	_, err := Inspect(t.Context(), pid, 200*time.Millisecond)
	require.Error(t, err)
	fmt.Println(err)
}

// A server in a network namespace of its own: its sockets are found all the same.
func TestAnotherNetworkNamespace(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "INSPECT_MISTAKE=none")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	if err := cmd.Start(); err != nil {
		t.Skipf("no namespace for us: %v", err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	port, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	r, err := Inspect(t.Context(), cmd.Process.Pid, 200*time.Millisecond)
	require.NoError(t, err)
	require.Len(t, r.Listeners, 1)
	assert.Equal(t, "127.0.0.1:"+strings.TrimSpace(port), r.Listeners[0].Local)
	assert.Equal(t, -1, r.Listeners[0].Backlog)
	require.NotEmpty(t, r.Notes)
	assert.Contains(t, r.Notes[0], "another network namespace")
	assert.Empty(t, ids(r))
}

// A file stands for an epoll instance whose list the kernel does not tell.
func TestAListThatCannotBeReadIsToldFromOneThatIsClosed(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer f.Close()
	fd := probe.FD{Num: int(f.Fd()), Kind: "epoll", Target: f.Name()}
	p := &process{pid: os.Getpid()}
	l := Look{FDs: []probe.FD{fd}}
	p.lists(&l)
	assert.True(t, l.Blind)
	assert.ErrorContains(t, p.unread, "is no epoll instance")

	fd.Target = "anon_inode:[eventpoll]" // it was listed as one
	l = Look{FDs: []probe.FD{fd, {Num: 1 << 20, Kind: "epoll", Target: "anon_inode:[eventpoll]"}}}
	p.lists(&l)
	assert.False(t, l.Blind)
}
