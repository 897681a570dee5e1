//go:build unix

package iocp_test

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/lessons/05-iocp/iocp"
)

// violation is what f panics with, "" if it does not. f waits for completions until one
// comes or the panic does.
func violation(t *testing.T, f func()) (rule string) {
	t.Helper()
	defer func() {
		switch v := recover().(type) {
		case nil:
		case *iocp.Violation:
			rule = v.Violated()
			t.Log(v)
			assert.Contains(t, v.Error(), "iocp: ")
		default:
			panic(v)
		}
	}()
	f()
	return ""
}

func (k *kit) takes() func() {
	return func() { k.get(patience) }
}

func TestAnOverlappedUsedTwiceIsNamed(t *testing.T) {
	k := newKit(t)
	s, _ := k.pair()
	o, err := k.recv(s, 10)
	require.Equal(t, iocp.ERROR_IO_PENDING, err)
	assert.Equal(t, "overlapped-in-use", violation(t, func() {
		iocp.WSASend(s, &o.wsabuf[0], 1, &o.n, 0, &o.Overlapped, nil)
	}))
}

func TestAnOverlappedUsedBeforeItsCompletionIsDequeuedIsNamed(t *testing.T) {
	k := newKit(t)
	s, peer := k.pair()
	k.write(peer, "abc")
	k.arrive(s)
	o, err := k.recv(s, 10)
	require.NoError(t, err) // it is done, and its completion waits in the port
	assert.Equal(t, "overlapped-in-use", violation(t, func() {
		iocp.WSARecv(s, &o.wsabuf[0], 1, &o.n, &o.flags, &o.Overlapped, nil)
	}))
}

func TestAChangedReceiveBufferIsNamed(t *testing.T) {
	k := newKit(t)
	s, peer := k.pair()
	o, err := k.recv(s, 100_000)
	require.Equal(t, iocp.ERROR_IO_PENDING, err)
	o.buf[99_999] = 1
	k.write(peer, "abc")
	assert.Equal(t, "buffer-changed", violation(t, k.takes()))
}

func TestAChangedSendBufferIsNamed(t *testing.T) {
	k := newKit(t)
	s, peer := k.pair()
	o, err := k.send(s, pattern(16<<20))
	require.Equal(t, iocp.ERROR_IO_PENDING, err)
	o.buf[len(o.buf)-1]++
	go func() {
		for b := make([]byte, 1<<16); ; {
			if _, err := peer.Read(b); err != nil {
				return
			}
		}
	}()
	assert.Equal(t, "buffer-changed", violation(t, k.takes()))
}

func TestASharedReceiveBufferIsNamed(t *testing.T) {
	k := newKit(t)
	a, _ := k.pair()
	b, _ := k.pair()
	o, err := k.recv(a, 10)
	require.Equal(t, iocp.ERROR_IO_PENDING, err)
	p := k.op(0)
	assert.Equal(t, "buffer-shared", violation(t, func() {
		iocp.WSARecv(b, &o.wsabuf[0], 1, &p.n, &p.flags, &p.Overlapped, nil)
	}))
}

// collect runs the garbage collector until it has taken everything that is unreachable.
func collect() {
	for range 3 {
		runtime.GC()
	}
}

func TestAReleasedOverlappedIsNamed(t *testing.T) {
	k := newKit(t)
	s, peer := k.pair()
	func() {
		o := &operation{buf: make([]byte, 10)} // nobody but the kernel has it when this returns
		o.wsabuf[0] = iocp.WSABuf{Len: 10, Buf: &o.buf[0]}
		require.Equal(t, iocp.ERROR_IO_PENDING, iocp.WSARecv(s, &o.wsabuf[0], 1, &o.n, &o.flags, &o.Overlapped, nil))
	}()
	collect()
	k.write(peer, "abc")
	assert.Contains(t, []string{"overlapped-released", "buffer-released"}, violation(t, k.takes()))
}

func TestAReleasedBufferIsNamed(t *testing.T) {
	k := newKit(t)
	s, peer := k.pair()
	o := k.op(0)
	func() {
		wsabuf := iocp.WSABuf{Len: 1000, Buf: unsafe.SliceData(make([]byte, 1000))}
		require.Equal(t, iocp.ERROR_IO_PENDING, iocp.WSARecv(s, &wsabuf, 1, &o.n, &o.flags, &o.Overlapped, nil))
	}()
	collect()
	k.write(peer, "abc")
	assert.Equal(t, "buffer-released", violation(t, k.takes()))
}

func TestAPinnedOverlappedIsKept(t *testing.T) {
	k := newKit(t)
	s, peer := k.pair()
	var pin runtime.Pinner
	func() {
		o := &operation{buf: make([]byte, 10)}
		o.wsabuf[0] = iocp.WSABuf{Len: 10, Buf: &o.buf[0]}
		pin.Pin(o)
		pin.Pin(&o.buf[0])
		require.Equal(t, iocp.ERROR_IO_PENDING, iocp.WSARecv(s, &o.wsabuf[0], 1, &o.n, &o.flags, &o.Overlapped, nil))
	}()
	collect()
	k.write(peer, "abc")
	assert.Empty(t, violation(t, k.takes()))
	pin.Unpin()
}

func TestAPortClosedTooEarlyIsNamed(t *testing.T) {
	k := newKit(t)
	s, _ := k.pair()
	_, err := k.recv(s, 10)
	require.Equal(t, iocp.ERROR_IO_PENDING, err)
	assert.Equal(t, "port-closed", violation(t, func() { iocp.CloseHandle(k.port) }))
}

func TestWinsockHasToBeStarted(t *testing.T) {
	_, err := iocp.WSASocket(iocp.AF_INET, iocp.SOCK_STREAM, 0, nil, 0, 0)
	assert.Error(t, err)
}

// TestNothingIsLeft: after all that the other tests have done there is no handle, no
// operation, and no goroutine that waits for a descriptor.
func TestNothingIsLeft(t *testing.T) {
	for range 3 {
		k := newKit(t)
		s, _ := k.pair()
		k.recv(s, 10)
		k.send(s, pattern(16<<20))
		k.accept(0)
		k.close()
	}
	wantNothingLeft(t)
}

func wantNothingLeft(t *testing.T) {
	t.Helper()
	assert.Zero(t, iocp.InFlight())
	assert.Zero(t, iocp.Sockets())
	assert.Zero(t, iocp.Ports())
	assert.Eventually(t, func() bool { return waiters() == 0 }, 5*time.Second, time.Millisecond)
}
