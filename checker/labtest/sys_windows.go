package labtest

import (
	"syscall"

	"golang.org/x/sys/windows"
)

var resetErrors = []error{syscall.ECONNRESET, windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.ERROR_NETNAME_DELETED}

func setReceiveBuffer(fd uintptr, n int) {
	_ = windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_RCVBUF, n)
}

// SetSendBuffer does nothing: the server's socket cannot be found here.
func SetSendBuffer(fd, n int) {}

func gettid() int { return int(windows.GetCurrentThreadId()) }

// fileLimit is how many handles this process may have open.
func fileLimit() uint64 { return 1 << 24 }

// readable: descriptors are not looked at on Windows.
func readable(int) bool { return false }

// Starve: Windows has no limit of handles that a test could lower.
func (l *Lab) Starve(int) (release func()) {
	l.t.Helper()
	l.Unavailable("Windows limits handles by memory, not by number: there is no EMFILE to try here")
	return nil
}

// Raise: Winsock's fd_set counts sockets and does not care how high their handles are.
func (l *Lab) Raise(int) (release func()) {
	l.t.Helper()
	l.Unavailable("Winsock's fd_set holds handles of any value: there is no descriptor too high for it")
	return nil
}

// PlugBelow does nothing: Windows does not promise which handle comes next.
func PlugBelow(int) (unplug func()) { return func() {} }

// Steal does nothing: the server's socket cannot be found here.
func Steal(int) bool { return false }

// ShutDown does nothing: the server's socket cannot be found here.
func ShutDown(int) bool { return false }

// Stuff does nothing: the server's socket cannot be found here.
func Stuff(int) int { return 0 }

// Interrupt does nothing: Windows has no signals that interrupt a wait.
func (l *Lab) Interrupt(int) (sent <-chan struct{}) {
	none := make(chan struct{})
	close(none)
	return none
}

// Raw is the client's socket, for benchmarks.
func (c *Client) Raw() *Raw { return &Raw{c: c} }

// Raw is a socket that waits for what it reads.
type Raw struct {
	c *Client
	b [1]byte
}

// Write1 sends one byte.
func (r *Raw) Write1() { r.c.conn.Write(r.b[:]) }

// Read1 waits for one byte.
func (r *Raw) Read1() { r.c.conn.Read(r.b[:]) }

// Close does nothing: the client closes its socket.
func (r *Raw) Close() {}

// SendUrgent: urgent data is part of no lesson that runs on Windows.
func (c *Client) SendUrgent(byte) {
	c.l.t.Helper()
	c.l.Unavailable("urgent data is tried on unix only")
}

// UnderWine tells whether this Windows is Wine.
func UnderWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// Waits is -1: the kernel does not count it.
func Waits() int64 { return -1 }

// Heirs do nothing: Windows does not promise which handle comes next.
type Heirs struct{}

// Open does nothing.
func (*Heirs) Open(*Lab) {}

// Take does nothing.
func (*Heirs) Take() {}

// Harm is empty.
func (*Heirs) Harm() string { return "" }
