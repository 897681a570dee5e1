//go:build unix || windows

package iocp_test

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"iolab/lessons/05-iocp/iocp"
)

// patience is how long a completion that must come is waited for, and silence how long
// one that must not.
const (
	patience = 5000 // milliseconds
	silence  = 50
)

// kit makes what a behaviour needs, and takes it away again.
type kit struct {
	*testing.T
	port     iocp.Handle
	listener iocp.Handle
	addr     netip.AddrPort
	sockets  []iocp.Handle
	closed   bool
	ops      []*operation // all of them: the kernel's memory stays reachable
}

const addressSize = 16 + int(unsafe.Sizeof(iocp.RawSockaddrAny{}))

// operation is an OVERLAPPED and all that goes with it, on the heap.
type operation struct {
	iocp.Overlapped
	buf      []byte
	wsabuf   [4]iocp.WSABuf
	n, flags uint32
}

func newKit(t *testing.T) *kit {
	k := &kit{T: t, listener: iocp.InvalidHandle}
	require.NoError(t, iocp.WSAStartup(0x202, &iocp.WSAData{}))
	k.port = k.newPort()
	t.Cleanup(k.close)
	return k
}

// close ends what is in flight and waits for it: all that is left must come back.
func (k *kit) close() {
	if k.closed {
		return
	}
	k.closed = true
	for _, s := range k.sockets {
		_ = iocp.CancelIoEx(s, nil)
	}
	for _, s := range k.sockets {
		_ = iocp.Closesocket(s)
	}
	for {
		if _, err, ok := k.get(silence); !ok && err != nil {
			break
		}
	}
	_ = iocp.CloseHandle(k.port)
	_ = iocp.WSACleanup()
}

func (k *kit) newPort() iocp.Handle {
	port, err := iocp.CreateIoCompletionPort(iocp.InvalidHandle, 0, 0, 0)
	require.NoError(k, err)
	return port
}

func (k *kit) socket() iocp.Handle {
	s, err := iocp.WSASocket(iocp.AF_INET, iocp.SOCK_STREAM, iocp.IPPROTO_TCP, nil, 0, iocp.WSA_FLAG_OVERLAPPED|iocp.WSA_FLAG_NO_HANDLE_INHERIT)
	require.NoError(k, err)
	k.sockets = append(k.sockets, s)
	return s
}

func (k *kit) bound() iocp.Handle {
	s := k.socket()
	require.NoError(k, iocp.Bind(s, &iocp.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	return s
}

func (k *kit) associate(s iocp.Handle, key uintptr) {
	_, err := iocp.CreateIoCompletionPort(s, k.port, key, 0)
	require.NoError(k, err)
}

const listenerKey = 11

// listen opens the kit's listener, whose completions have listenerKey.
func (k *kit) listen() {
	k.listener = k.bound()
	require.NoError(k, iocp.Listen(k.listener, 16))
	sa, err := iocp.Getsockname(k.listener)
	require.NoError(k, err)
	k.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*iocp.SockaddrInet4).Port))
	k.associate(k.listener, listenerKey)
}

func (k *kit) op(size int) *operation {
	o := &operation{buf: make([]byte, size)}
	k.ops = append(k.ops, o)
	return o
}

// accept posts an AcceptEx for data bytes.
func (k *kit) accept(data int) (*operation, iocp.Handle, error) {
	o, s := k.op(data+2*addressSize), k.socket()
	return o, s, iocp.AcceptEx(k.listener, s, &o.buf[0], uint32(data), uint32(addressSize), uint32(addressSize), &o.n, &o.Overlapped)
}

// accepted wants err to be that of an AcceptEx that goes on or is done.
func (k *kit) accepted(err error) {
	if err != iocp.ERROR_IO_PENDING {
		require.NoError(k, err)
	}
}

func (k *kit) update(s iocp.Handle) error {
	return iocp.Setsockopt(s, iocp.SOL_SOCKET, iocp.SO_UPDATE_ACCEPT_CONTEXT, (*byte)(unsafe.Pointer(&k.listener)), int32(unsafe.Sizeof(k.listener)))
}

func (k *kit) dial() *net.TCPConn {
	c, err := net.DialTimeout("tcp", k.addr.String(), patience*time.Millisecond)
	require.NoError(k, err)
	k.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

const pairKey = 22

// pair is a connection: a socket that is ready for everything, with pairKey, and its peer.
func (k *kit) pair() (iocp.Handle, *net.TCPConn) {
	s, peer := k.loosePair()
	k.associate(s, pairKey)
	return s, peer
}

// loosePair is a pair whose socket has no port.
func (k *kit) loosePair() (iocp.Handle, *net.TCPConn) {
	if k.listener == iocp.InvalidHandle {
		k.listen()
	}
	o, s, err := k.accept(0)
	k.accepted(err)
	peer := k.dial()
	k.want(&o.Overlapped, listenerKey, 0, nil)
	require.NoError(k, k.update(s))
	return s, peer
}

// recv posts a receive of size bytes.
func (k *kit) recv(s iocp.Handle, size int) (*operation, error) {
	o := k.op(size)
	o.wsabuf[0] = iocp.WSABuf{Len: uint32(size), Buf: unsafe.SliceData(o.buf)}
	return o, iocp.WSARecv(s, &o.wsabuf[0], 1, &o.n, &o.flags, &o.Overlapped, nil)
}

// send posts a send of data.
func (k *kit) send(s iocp.Handle, data []byte) (*operation, error) {
	o := k.op(0)
	o.buf = data
	o.wsabuf[0] = iocp.WSABuf{Len: uint32(len(data)), Buf: unsafe.SliceData(data)}
	return o, iocp.WSASend(s, &o.wsabuf[0], 1, &o.n, 0, &o.Overlapped, nil)
}

// completion is what comes out of the port.
type completion struct {
	ov  *iocp.Overlapped
	key uintptr
	n   uint32
}

// get takes a completion; ok is false if none came, err is the operation's or the call's.
func (k *kit) get(msec uint32) (c completion, err error, ok bool) {
	c.key = ^uintptr(0)
	err = iocp.GetQueuedCompletionStatus(k.port, &c.n, &c.key, &c.ov, msec)
	return c, err, err == nil || c.ov != nil
}

// want takes the next completion and compares it.
func (k *kit) want(ov *iocp.Overlapped, key uintptr, n int, failure error) {
	k.Helper()
	c, err, ok := k.get(patience)
	require.True(k, ok, "a completion should come, but: %v", err)
	require.Same(k, ov, c.ov, "another operation's completion came")
	require.Equal(k, key, c.key)
	if failure == nil {
		require.NoError(k, err)
		require.Equal(k, n, int(c.n))
	} else {
		require.Equal(k, failure, err)
	}
}

// wantFailure takes the next completion, which has to be a failed one.
func (k *kit) wantFailure(ov *iocp.Overlapped) error {
	k.Helper()
	c, err, ok := k.get(patience)
	require.True(k, ok, "a completion should come, but: %v", err)
	require.Same(k, ov, c.ov)
	require.Error(k, err)
	return err
}

// wantNone wants no completion.
func (k *kit) wantNone() {
	k.Helper()
	c, err, ok := k.get(silence)
	require.False(k, ok, "no completion should come, but %+v did", c)
	require.Equal(k, iocp.WAIT_TIMEOUT, err)
}

// result is what WSAGetOverlappedResult says.
func (k *kit) result(s iocp.Handle, o *operation, wait bool) (int, error) {
	err := iocp.WSAGetOverlappedResult(s, &o.Overlapped, &o.n, wait, &o.flags)
	return int(o.n), err
}

func (k *kit) write(c *net.TCPConn, data string) {
	k.Helper()
	_, err := c.Write([]byte(data))
	require.NoError(k, err)
}

func (k *kit) read(c *net.TCPConn, n int) string {
	k.Helper()
	b := make([]byte, n)
	c.SetReadDeadline(time.Now().Add(patience * time.Millisecond))
	m, err := io.ReadFull(c, b)
	require.NoError(k, err, "after %d of %d bytes", m, n)
	return string(b)
}

func (k *kit) wantEOF(c *net.TCPConn) {
	k.Helper()
	c.SetReadDeadline(time.Now().Add(patience * time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	require.Equal(k, io.EOF, err)
}

// arrive waits until a receive of no bytes says that there is something to receive.
func (k *kit) arrive(s iocp.Handle) {
	k.Helper()
	o, err := k.recv(s, 0)
	k.accepted(err)
	k.want(&o.Overlapped, pairKey, 0, nil)
}

func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

func portOf(c *net.TCPConn) int { return c.LocalAddr().(*net.TCPAddr).Port }

// pattern is n bytes that tell where they belong.
func pattern(n int) []byte {
	p := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x >> 32)
	}
	return p
}
