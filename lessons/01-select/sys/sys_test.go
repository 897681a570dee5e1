package sys

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The calls, from socket to close, in the order in which a server makes them.
func TestAConnectionFromSocketToClose(t *testing.T) {
	family, sa := Sockaddr(netip.MustParseAddrPort("127.0.0.1:0"))
	ln, err := Socket(family)
	require.NoError(t, err)
	defer Close(ln)
	require.NoError(t, SetNonblock(ln, true))
	require.NoError(t, SetsockoptInt(ln, SOL_SOCKET, SO_REUSEADDR, 1))
	require.NoError(t, Bind(ln, sa))
	require.NoError(t, Listen(ln, 16))
	addr, err := Getsockname(ln)
	require.NoError(t, err)
	require.NotZero(t, addr.Port())
	_, _, err = Accept(ln)
	require.Equal(t, EAGAIN, err)

	client, err := net.Dial("tcp4", addr.String())
	require.NoError(t, err)
	defer client.Close()
	ready(t, ln, true, false)
	conn, peer, err := Accept(ln)
	require.NoError(t, err)
	assert.Equal(t, client.LocalAddr().String(), peer.String())
	require.NoError(t, SetsockoptInt(conn, IPPROTO_TCP, TCP_NODELAY, 1))

	buf := make([]byte, 16)
	_, err = Read(conn, buf)
	require.Equal(t, EAGAIN, err)
	client.Write([]byte("hello"))
	ready(t, conn, true, true)
	n, err := Read(conn, buf)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(buf[:n]))
	n, err = Write(conn, []byte("hi"))
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	require.NoError(t, Shutdown(conn, SHUT_WR))
	n, _ = client.Read(buf)
	assert.Equal(t, "hi", string(buf[:n]))
	client.Close()
	ready(t, conn, true, false)
	n, err = Read(conn, buf)
	require.NoError(t, err)
	assert.Zero(t, n)
	require.NoError(t, Close(conn))
}

// ready waits until fd is readable, writable or both, at most for ten seconds.
func ready(t *testing.T, fd int, read, write bool) {
	t.Helper()
	var r, w FdSet
	if read {
		r.Set(fd)
	}
	if write {
		w.Set(fd)
	}
	timeout := NsecToTimeval(10e9)
	n, err := Select(fd+1, &r, &w, nil, &timeout)
	for err == EINTR {
		n, err = Select(fd+1, &r, &w, nil, &timeout)
	}
	require.NoError(t, err)
	require.Positive(t, n)
}

func TestSelectWaitsForItsTimeout(t *testing.T) {
	r, w, err := WakePair()
	require.NoError(t, err)
	defer Close(r)
	defer Close(w)
	var set FdSet
	set.Set(r)
	timeout := NsecToTimeval(1e6)
	n, err := Select(r+1, &set, nil, nil, &timeout)
	if err != EINTR {
		require.NoError(t, err)
		assert.Zero(t, n)
		assert.False(t, set.IsSet(r))
	}
}

func TestWakePairWakes(t *testing.T) {
	r, w, err := WakePair()
	require.NoError(t, err)
	defer Close(r)
	defer Close(w)
	buf := make([]byte, 8)
	_, err = Read(r, buf)
	require.Equal(t, EAGAIN, err)
	_, err = Write(w, []byte{1})
	require.NoError(t, err)
	ready(t, r, true, false)
	n, err := Read(r, buf)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
}

func TestFdSetHoldsWhatItIsGiven(t *testing.T) {
	var set FdSet
	for _, fd := range []int{0, 5, 5, 63, 64, 1023} {
		set.Set(fd)
	}
	set.Clear(63)
	set.Clear(62)
	for fd, want := range map[int]bool{0: true, 5: true, 63: false, 64: true, 1023: true, 1: false} {
		assert.Equal(t, want, set.IsSet(fd), "descriptor %d", fd)
	}
	set.Zero()
	assert.False(t, set.IsSet(5))
}
