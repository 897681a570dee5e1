//go:build unix || windows

package iocp_test

import (
	"io"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/lessons/05-iocp/iocp"
)

// behaviour is one statement about completion ports or about Winsock's overlapped sockets.
type behaviour struct {
	name string
	says string // what Microsoft's documentation of the named function says, in our words
	wine string // how Wine 8 differs, if it does; it is not tried there then
	run  func(k *kit)
}

// TestBehaviours is the suite that the emulation, Wine and Windows have in common. On
// Windows, or with `GOOS=windows go test -exec …` under Wine, it is about the real thing.
func TestBehaviours(t *testing.T) {
	tried := 0
	for _, b := range behaviours {
		t.Run(b.name, func(t *testing.T) {
			if b.wine != "" && underWine() {
				t.Skip("Wine differs: " + b.wine)
			}
			b.run(newKit(t))
		})
		tried++
	}
	assert.GreaterOrEqual(t, tried, 50)
}

var behaviours = []behaviour{
	// The port.
	{"APortIsEmptyAtFirst", "GetQueuedCompletionStatus: with a timeout of 0 it returns at once; WAIT_TIMEOUT and a NULL OVERLAPPED mean that nothing was dequeued", "",
		func(k *kit) {
			c, err, ok := k.get(0)
			assert.False(k, ok)
			assert.Equal(k, iocp.WAIT_TIMEOUT, err)
			assert.Nil(k, c.ov)
		}},
	{"ATimeoutIsWaitedFor", "GetQueuedCompletionStatus: dwMilliseconds is how long the caller is willing to wait", "",
		func(k *kit) {
			start := time.Now()
			_, err, _ := k.get(60)
			assert.Equal(k, iocp.WAIT_TIMEOUT, err)
			assert.GreaterOrEqual(k, time.Since(start), 40*time.Millisecond) // Windows counts in ticks of up to 16 ms
		}},
	{"ExTimesOutWithoutEntries", "GetQueuedCompletionStatusEx: a timeout is an error, WAIT_TIMEOUT", "",
		func(k *kit) {
			entries := make([]iocp.OverlappedEntry, 4)
			n, err := k.getEx(entries, 0)
			assert.Equal(k, iocp.WAIT_TIMEOUT, err)
			assert.Zero(k, n)
		}},
	{"PostedValuesComeOutAsTheyAre", "PostQueuedCompletionStatus: the three values are handed on, and looked at by nobody", "",
		func(k *kit) {
			o := k.op(0)
			require.NoError(k, iocp.PostQueuedCompletionStatus(k.port, 123, 456, &o.Overlapped))
			k.want(&o.Overlapped, 456, 123, nil)
		}},
	{"PostedOverlappedMayBeNull", "PostQueuedCompletionStatus: lpOverlapped may be any value", "",
		func(k *kit) {
			require.NoError(k, iocp.PostQueuedCompletionStatus(k.port, 0, 1, nil))
			c, err, _ := k.get(patience)
			assert.NoError(k, err)
			assert.Equal(k, completion{key: 1}, c)
		}},
	{"CompletionsAreFirstInFirstOut", "I/O Completion Ports: packets are queued in FIFO order", "",
		func(k *kit) {
			for i := range uintptr(20) {
				require.NoError(k, iocp.PostQueuedCompletionStatus(k.port, 0, i, nil))
			}
			for i := range uintptr(20) {
				c, _, _ := k.get(patience)
				require.Equal(k, i, c.key)
			}
		}},
	{"ExTakesSeveralAtOnce", "GetQueuedCompletionStatusEx: it removes as many entries as there are, at most ulCount", "",
		func(k *kit) {
			for i := range uintptr(5) {
				require.NoError(k, iocp.PostQueuedCompletionStatus(k.port, uint32(i), i, nil))
			}
			entries := make([]iocp.OverlappedEntry, 3)
			n, err := k.getEx(entries, patience)
			require.NoError(k, err)
			require.Equal(k, 3, n)
			for i, e := range entries {
				assert.Equal(k, iocp.OverlappedEntry{Key: uintptr(i), Bytes: uint32(i)}, e)
			}
			n, err = k.getEx(entries, patience)
			require.NoError(k, err)
			assert.Equal(k, 2, n)
		}},
	{"APostWakesAWaiter", "PostQueuedCompletionStatus: it satisfies a GetQueuedCompletionStatus that waits", "",
		func(k *kit) {
			got := make(chan completion)
			go func() { c, _, _ := k.get(iocp.INFINITE); got <- c }()
			require.NoError(k, iocp.PostQueuedCompletionStatus(k.port, 0, 5, nil))
			assert.Equal(k, uintptr(5), (<-got).key)
		}},
	{"ACompletionGoesToOneWaiter", "I/O Completion Ports: each packet is handed to one thread", "",
		func(k *kit) {
			got := make(chan completion, 2)
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() { c, _, _ := k.get(iocp.INFINITE); got <- c })
			}
			require.NoError(k, iocp.PostQueuedCompletionStatus(k.port, 0, 1, nil))
			assert.Equal(k, uintptr(1), (<-got).key)
			select {
			case c := <-got:
				k.Errorf("the other waiter got %+v", c)
			case <-time.After(silence * time.Millisecond):
			}
			require.NoError(k, iocp.PostQueuedCompletionStatus(k.port, 0, 2, nil))
			assert.Equal(k, uintptr(2), (<-got).key)
			wg.Wait()
		}},
	{"AClosedPortIsNoHandle", "CloseHandle: the handle is invalid from then on", "",
		func(k *kit) {
			port := k.newPort()
			require.NoError(k, iocp.CloseHandle(port))
			assert.Equal(k, iocp.ERROR_INVALID_HANDLE, iocp.PostQueuedCompletionStatus(port, 0, 0, nil))
			assert.Equal(k, iocp.ERROR_INVALID_HANDLE, iocp.CloseHandle(port))
		}},
	{"ClosingAPortEndsTheWait", "GetQueuedCompletionStatus: if the port is closed while it waits it fails with ERROR_ABANDONED_WAIT_0", "closing the port does not wake its waiters",
		func(k *kit) {
			port := k.newPort()
			got := make(chan error)
			go func() {
				var c completion
				got <- iocp.GetQueuedCompletionStatus(port, &c.n, &c.key, &c.ov, iocp.INFINITE)
			}()
			time.Sleep(silence * time.Millisecond) // it has to wait: before that the handle is merely invalid
			require.NoError(k, iocp.CloseHandle(port))
			assert.Equal(k, iocp.ERROR_ABANDONED_WAIT_0, <-got)
		}},
	{"ASocketHasOnePort", "CreateIoCompletionPort: a handle can be associated with one port", "",
		func(k *kit) {
			s := k.socket()
			k.associate(s, 1)
			other := k.newPort()
			_, err := iocp.CreateIoCompletionPort(s, other, 2, 0)
			assert.Equal(k, iocp.ERROR_INVALID_PARAMETER, err)
			require.NoError(k, iocp.CloseHandle(other))
		}},
	{"NoSocketCannotBeAssociated", "CreateIoCompletionPort: FileHandle must be an open handle", "",
		func(k *kit) {
			s := k.socket()
			require.NoError(k, iocp.Closesocket(s))
			_, err := iocp.CreateIoCompletionPort(s, k.port, 1, 0)
			assert.Equal(k, iocp.ERROR_INVALID_HANDLE, err)
		}},

	// Sockets.
	{"AClosedSocketIsNoSocket", "WSAENOTSOCK: the descriptor is not a socket", "",
		func(k *kit) {
			s := k.socket()
			require.NoError(k, iocp.Closesocket(s))
			assert.Equal(k, iocp.WSAENOTSOCK, iocp.Closesocket(s))
			_, err := k.recv(s, 10)
			assert.Equal(k, iocp.WSAENOTSOCK, err)
		}},
	{"BindOnce", "bind: WSAEINVAL if the socket is bound already", "",
		func(k *kit) {
			assert.Equal(k, iocp.WSAEINVAL, iocp.Bind(k.bound(), &iocp.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
		}},
	{"AForeignAddressCannotBeBound", "bind: WSAEADDRNOTAVAIL if the address is not this machine's", "",
		func(k *kit) {
			assert.Equal(k, iocp.WSAEADDRNOTAVAIL, iocp.Bind(k.socket(), &iocp.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}}))
		}},
	{"ListenNeedsBind", "listen: WSAEINVAL if the socket is not bound", "",
		func(k *kit) { assert.Equal(k, iocp.WSAEINVAL, iocp.Listen(k.socket(), 1)) }},
	{"GetsocknameNeedsBind", "getsockname: WSAEINVAL if the socket is not bound", "",
		func(k *kit) {
			_, err := iocp.Getsockname(k.socket())
			assert.Equal(k, iocp.WSAEINVAL, err)
		}},
	{"NoDelayCanBeSet", "setsockopt: TCP_NODELAY at level IPPROTO_TCP; WSAENOPROTOOPT for an option that there is not", "",
		func(k *kit) {
			s, _ := k.pair()
			assert.NoError(k, iocp.SetsockoptInt(s, iocp.IPPROTO_TCP, iocp.TCP_NODELAY, 1))
			assert.Equal(k, iocp.WSAENOPROTOOPT, iocp.SetsockoptInt(s, iocp.SOL_SOCKET, 0x7abc, 1))
		}},

	// AcceptEx.
	{"AcceptExWaitsForAClient", "AcceptEx: ERROR_IO_PENDING means that it goes on; its completion has the listener's key", "",
		func(k *kit) {
			k.listen()
			o, _, err := k.accept(0)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.wantNone()
			k.dial()
			k.want(&o.Overlapped, listenerKey, 0, nil)
		}},
	{"AcceptExTakesAClientThatWaits", "AcceptEx: a connection in the accept queue completes it", "",
		func(k *kit) {
			k.listen()
			k.dial()
			o, _, err := k.accept(0)
			k.accepted(err)
			k.want(&o.Overlapped, listenerKey, 0, nil)
		}},
	{"SeveralAcceptsMayBeInFlight", "AcceptEx: each has a socket and an OVERLAPPED of its own", "",
		func(k *kit) {
			k.listen()
			waiting := map[*iocp.Overlapped]bool{}
			for range 3 {
				o, _, err := k.accept(0)
				require.Equal(k, iocp.ERROR_IO_PENDING, err)
				waiting[&o.Overlapped] = true
			}
			for range 3 {
				k.dial()
			}
			for range 3 {
				c, err, ok := k.get(patience)
				require.True(k, ok, err)
				require.True(k, waiting[c.ov])
				delete(waiting, c.ov)
			}
		}},
	{"AcceptExGivesBothAddresses", "GetAcceptExSockaddrs: it parses the addresses that AcceptEx has put behind the data", "",
		func(k *kit) {
			k.listen()
			o, _, err := k.accept(0)
			k.accepted(err)
			peer := k.dial()
			k.want(&o.Overlapped, listenerKey, 0, nil)
			var local, remote *iocp.RawSockaddrAny
			var localLen, remoteLen int32
			iocp.GetAcceptExSockaddrs(&o.buf[0], 0, uint32(addressSize), uint32(addressSize), &local, &localLen, &remote, &remoteLen)
			sa, err := local.Sockaddr()
			require.NoError(k, err)
			assert.Equal(k, int(k.addr.Port()), sa.(*iocp.SockaddrInet4).Port)
			sa, err = remote.Sockaddr()
			require.NoError(k, err)
			assert.Equal(k, &iocp.SockaddrInet4{Port: portOf(peer), Addr: [4]byte{127, 0, 0, 1}}, sa)
		}},
	{"AcceptedSocketNeedsItsContext", "AcceptEx: until SO_UPDATE_ACCEPT_CONTEXT is set, shutdown fails with WSAENOTCONN", "shutdown works before",
		func(k *kit) {
			k.listen()
			o, s, err := k.accept(0)
			k.accepted(err)
			k.dial()
			k.want(&o.Overlapped, listenerKey, 0, nil)
			assert.Equal(k, iocp.WSAENOTCONN, iocp.Shutdown(s, iocp.SD_SEND))
			require.NoError(k, k.update(s))
			assert.NoError(k, iocp.Shutdown(s, iocp.SD_SEND))
		}},
	{"GetpeernameNeedsTheContext", "AcceptEx: until SO_UPDATE_ACCEPT_CONTEXT is set, getpeername fails with WSAENOTCONN", "getpeername works before",
		func(k *kit) {
			k.listen()
			o, s, err := k.accept(0)
			k.accepted(err)
			peer := k.dial()
			k.want(&o.Overlapped, listenerKey, 0, nil)
			_, err = iocp.Getpeername(s)
			assert.Equal(k, iocp.WSAENOTCONN, err)
			require.NoError(k, k.update(s))
			sa, err := iocp.Getpeername(s)
			require.NoError(k, err)
			assert.Equal(k, portOf(peer), sa.(*iocp.SockaddrInet4).Port)
		}},
	{"AcceptExWithDataWaitsForIt", "AcceptEx: if dwReceiveDataLength is not 0, it is not done before the first data has come", "",
		func(k *kit) {
			k.listen()
			o, _, err := k.accept(64)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			peer := k.dial()
			k.wantNone() // a client that stays silent holds it for ever
			k.write(peer, "first")
			k.want(&o.Overlapped, listenerKey, 5, nil)
			assert.Equal(k, "first", string(o.buf[:5]))
		}},
	{"ASilentClientHoldsOneAccept", "AcceptEx: the next accept takes the next connection", "",
		func(k *kit) {
			k.listen()
			_, _, err := k.accept(64)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			o, _, err := k.accept(64)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.dial()
			k.wantNone()
			k.write(k.dial(), "second")
			k.want(&o.Overlapped, listenerKey, 6, nil)
		}},
	{"AcceptExWantsAFreshSocket", "AcceptEx: sAcceptSocket must not be bound or connected; WSAEINVAL", "the call says ERROR_IO_PENDING: it looks when a client comes",
		func(k *kit) {
			k.listen()
			o := k.op(2 * addressSize)
			err := iocp.AcceptEx(k.listener, k.bound(), &o.buf[0], 0, uint32(addressSize), uint32(addressSize), &o.n, &o.Overlapped)
			assert.Equal(k, iocp.WSAEINVAL, err)
		}},
	{"AcceptExWantsAListener", "AcceptEx: WSAEINVAL if sListenSocket does not listen", "the call says ERROR_IO_PENDING: it looks when a client comes",
		func(k *kit) {
			k.listener = k.bound()
			_, _, err := k.accept(0)
			assert.Equal(k, iocp.WSAEINVAL, err)
		}},
	{"ACancelledAcceptCompletes", "CancelIoEx: a cancelled operation completes with ERROR_OPERATION_ABORTED", "",
		func(k *kit) {
			k.listen()
			o, _, err := k.accept(0)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			require.NoError(k, iocp.CancelIoEx(k.listener, &o.Overlapped))
			k.want(&o.Overlapped, listenerKey, 0, iocp.ERROR_OPERATION_ABORTED)
		}},
	{"ClosingTheListenerEndsItsAccepts", "closesocket: operations in flight are ended, and complete", "",
		func(k *kit) {
			k.listen()
			o, _, err := k.accept(0)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			require.NoError(k, iocp.Closesocket(k.listener))
			k.wantFailure(&o.Overlapped)
		}},

	// ConnectEx.
	{"ConnectExConnects", "ConnectEx: when it has completed and SO_UPDATE_CONNECT_CONTEXT is set, the socket is like any other", "",
		func(k *kit) {
			k.listen()
			s, o := k.bound(), k.op(0)
			k.associate(s, 33)
			k.accepted(k.connect(s, o, nil))
			k.want(&o.Overlapped, 33, 0, nil)
			require.NoError(k, iocp.Setsockopt(s, iocp.SOL_SOCKET, iocp.SO_UPDATE_CONNECT_CONTEXT, nil, 0))
			sa, err := iocp.Getpeername(s)
			require.NoError(k, err)
			assert.Equal(k, int(k.addr.Port()), sa.(*iocp.SockaddrInet4).Port)
		}},
	{"ConnectExNeedsBind", "ConnectEx: WSAEINVAL if the socket is not bound", "",
		func(k *kit) {
			k.listen()
			assert.Equal(k, iocp.WSAEINVAL, k.connect(k.socket(), k.op(0), nil))
		}},
	{"ConnectExSendsFirstBytes", "ConnectEx: lpSendBuffer is sent when the connection stands, and counted", "",
		func(k *kit) {
			k.listen()
			a, accepted, err := k.accept(0)
			k.accepted(err)
			s, o := k.bound(), k.op(0)
			k.associate(s, 33)
			k.accepted(k.connect(s, o, []byte("hello")))
			seen := map[*iocp.Overlapped]uint32{}
			for range 2 {
				c, err, _ := k.get(patience)
				require.NoError(k, err)
				seen[c.ov] = c.n
			}
			assert.Equal(k, map[*iocp.Overlapped]uint32{&a.Overlapped: 0, &o.Overlapped: 5}, seen)
			require.NoError(k, k.update(accepted))
			k.associate(accepted, pairKey)
			r, err := k.recv(accepted, 10)
			k.accepted(err)
			k.want(&r.Overlapped, pairKey, 5, nil)
			assert.Equal(k, "hello", string(r.buf[:5]))
		}},
	{"ARefusedConnectFails", "ConnectEx: ERROR_CONNECTION_REFUSED from the port, WSAECONNREFUSED from WSAGetOverlappedResult", "",
		func(k *kit) {
			k.listen()
			require.NoError(k, iocp.Closesocket(k.listener))
			s, o := k.bound(), k.op(0)
			k.associate(s, 33)
			if err := k.connect(s, o, nil); err != iocp.ERROR_IO_PENDING {
				assert.Equal(k, iocp.WSAECONNREFUSED, err)
				return
			}
			k.want(&o.Overlapped, 33, 0, iocp.ERROR_CONNECTION_REFUSED)
			_, err := k.result(s, o, false)
			assert.Equal(k, iocp.WSAECONNREFUSED, err)
		}},

	// WSARecv.
	{"AReceiveWaitsForData", "WSARecv: WSA_IO_PENDING means that its completion will tell", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 100)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.wantNone()
			k.write(peer, "hello")
			k.want(&o.Overlapped, pairKey, 5, nil)
			assert.Equal(k, "hello", string(o.buf[:5]))
		}},
	{"AReceiveThatIsDoneAtOnceIsQueuedToo", "WSARecv: a completion is queued also if the call returns 0", "",
		func(k *kit) {
			s, peer := k.pair()
			k.write(peer, "hello")
			k.arrive(s)
			o, err := k.recv(s, 100)
			require.NoError(k, err)
			k.want(&o.Overlapped, pairKey, 5, nil)
			k.wantNone()
		}},
	{"SkipOnSuccessSkips", "SetFileCompletionNotificationModes: with FILE_SKIP_COMPLETION_PORT_ON_SUCCESS nothing is queued for what succeeds at once", "",
		func(k *kit) {
			s, peer := k.pair()
			require.NoError(k, iocp.SetFileCompletionNotificationModes(s, iocp.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS))
			o, err := k.recv(s, 0)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.write(peer, "hello")
			k.want(&o.Overlapped, pairKey, 0, nil)
			o, err = k.recv(s, 100)
			require.NoError(k, err)
			assert.Equal(k, uint32(5), o.n)
			k.wantNone()
		}},
	{"SkipOnSuccessKeepsWhatPends", "SetFileCompletionNotificationModes: what has returned ERROR_IO_PENDING is queued as ever", "",
		func(k *kit) {
			s, peer := k.pair()
			require.NoError(k, iocp.SetFileCompletionNotificationModes(s, iocp.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS))
			o, err := k.recv(s, 100)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.write(peer, "later")
			k.want(&o.Overlapped, pairKey, 5, nil)
		}},
	{"AReceiveTakesWhatThereIs", "WSARecv: on a stream it is done when there is anything, however little", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 1<<16)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.write(peer, "x")
			k.want(&o.Overlapped, pairKey, 1, nil)
		}},
	{"WhatHasNoRoomStays", "WSARecv: what does not fit is there for the next receive", "",
		func(k *kit) {
			s, peer := k.pair()
			k.write(peer, "abcdef")
			k.arrive(s)
			for _, want := range []string{"abcd", "ef"} {
				o, err := k.recv(s, 4)
				k.accepted(err)
				k.want(&o.Overlapped, pairKey, len(want), nil)
				assert.Equal(k, want, string(o.buf[:len(want)]))
			}
		}},
	{"AReceiveScatters", "WSARecv: the buffers are filled in their order", "",
		func(k *kit) {
			s, peer := k.pair()
			k.write(peer, "abcdefgh")
			k.arrive(s)
			o := k.op(10)
			o.wsabuf = [4]iocp.WSABuf{{Len: 3, Buf: &o.buf[0]}, {Len: 1, Buf: &o.buf[5]}, {Len: 4, Buf: &o.buf[6]}}
			k.accepted(iocp.WSARecv(s, &o.wsabuf[0], 3, &o.n, &o.flags, &o.Overlapped, nil))
			k.want(&o.Overlapped, pairKey, 8, nil)
			assert.Equal(k, "abc\x00\x00defgh", string(o.buf))
		}},
	{"AReceiveOfNothingWaits", "WSARecv: a receive of 0 bytes is done when another would not have to wait, and takes nothing", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 0)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.wantNone()
			k.write(peer, "abc")
			k.want(&o.Overlapped, pairKey, 0, nil)
			o, err = k.recv(s, 10)
			k.accepted(err)
			k.want(&o.Overlapped, pairKey, 3, nil)
		}},
	{"TheEndOfDataIsZeroBytes", "WSARecv: 0 bytes received on a stream mean that the peer has closed in order", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			peer.CloseWrite()
			k.want(&o.Overlapped, pairKey, 0, nil)
			o, err = k.recv(s, 10) // and it stays so
			k.accepted(err)
			k.want(&o.Overlapped, pairKey, 0, nil)
		}},
	{"TheEndOfDataComesAfterTheData", "WSARecv: data that came before the end is received first", "",
		func(k *kit) {
			s, peer := k.pair()
			k.write(peer, "last words")
			peer.CloseWrite()
			k.arrive(s)
			o, err := k.recv(s, 100)
			k.accepted(err)
			k.want(&o.Overlapped, pairKey, 10, nil)
			o, err = k.recv(s, 100)
			k.accepted(err)
			k.want(&o.Overlapped, pairKey, 0, nil)
		}},
	{"AReceiveOfNothingSeesTheEnd", "WSARecv: the end of data, too, is something to receive", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 0)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			peer.CloseWrite()
			k.want(&o.Overlapped, pairKey, 0, nil)
		}},
	{"ReceivesAreServedInOrder", "WSARecv: several in flight are filled in the order in which they were posted", "",
		func(k *kit) {
			s, peer := k.pair()
			a, err := k.recv(s, 3)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			b, err := k.recv(s, 3)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.write(peer, "abcdef")
			k.want(&a.Overlapped, pairKey, 3, nil)
			k.want(&b.Overlapped, pairKey, 3, nil)
			assert.Equal(k, "abcdef", string(a.buf)+string(b.buf))
		}},
	{"AResetFailsTheReceive", "WSARecv: WSAECONNRESET; from the port it is ERROR_NETNAME_DELETED", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			reset(peer)
			k.want(&o.Overlapped, pairKey, 0, iocp.ERROR_NETNAME_DELETED)
			_, err = k.result(s, o, false)
			assert.Equal(k, iocp.WSAECONNRESET, err)
		}},
	{"AResetStays", "WSARecv: every receive after a reset fails", "after a reset that was reported the next receive gives 0 bytes: the error is Linux's SO_ERROR, which is told once",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			reset(peer)
			k.wantFailure(&o.Overlapped)
			for range 2 {
				if o, err = k.recv(s, 10); err == iocp.ERROR_IO_PENDING {
					err = k.wantFailure(&o.Overlapped)
				}
				assert.Error(k, err)
			}
		}},
	{"AReceiveNeedsAConnection", "WSARecv: WSAENOTCONN if the socket is not connected", "",
		func(k *kit) {
			_, err := k.recv(k.bound(), 10)
			assert.Equal(k, iocp.WSAENOTCONN, err)
		}},
	{"NoReceiveAfterShutdown", "shutdown: after SD_RECEIVE a receive fails with WSAESHUTDOWN", "",
		func(k *kit) {
			s, _ := k.pair()
			require.NoError(k, iocp.Shutdown(s, iocp.SD_RECEIVE))
			_, err := k.recv(s, 10)
			assert.Equal(k, iocp.WSAESHUTDOWN, err)
		}},
	{"TheArrayOfBuffersIsTheCallers", "WSARecv: lpBuffers itself is copied before the call returns; what it points to is not", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			o.wsabuf = [4]iocp.WSABuf{}
			k.write(peer, "abc")
			k.want(&o.Overlapped, pairKey, 3, nil)
			assert.Equal(k, "abc", string(o.buf[:3]))
		}},
	{"AnErrorAtOnceQueuesNothing", "WSARecv: any error but WSA_IO_PENDING means that the operation has not begun and no completion comes", "",
		func(k *kit) {
			s := k.bound()
			k.associate(s, 1)
			_, err := k.recv(s, 10)
			require.Error(k, err)
			k.wantNone()
		}},

	// WSASend.
	{"ASendIsQueuedToo", "WSASend: a completion is queued also if the call returns 0", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.send(s, []byte("hello"))
			k.accepted(err)
			k.want(&o.Overlapped, pairKey, 5, nil)
			assert.Equal(k, "hello", k.read(peer, 5))
		}},
	{"SkipOnSuccessSkipsSends", "SetFileCompletionNotificationModes: sends, too", "",
		func(k *kit) {
			s, peer := k.pair()
			require.NoError(k, iocp.SetFileCompletionNotificationModes(s, iocp.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS))
			o, err := k.send(s, []byte("hello"))
			require.NoError(k, err)
			assert.Equal(k, uint32(5), o.n)
			assert.Equal(k, "hello", k.read(peer, 5))
			k.wantNone()
		}},
	{"ASendGathers", "WSASend: the buffers are sent in their order", "",
		func(k *kit) {
			s, peer := k.pair()
			o := k.op(0)
			o.buf = []byte("defabc")
			o.wsabuf = [4]iocp.WSABuf{{Len: 3, Buf: &o.buf[3]}, {}, {Len: 3, Buf: &o.buf[0]}}
			k.accepted(iocp.WSASend(s, &o.wsabuf[0], 3, &o.n, 0, &o.Overlapped, nil))
			k.want(&o.Overlapped, pairKey, 6, nil)
			assert.Equal(k, "abcdef", k.read(peer, 6))
		}},
	{"ALargeSendWaitsForThePeer", "WSASend: an overlapped send is done when all of it is sent, never a part", "",
		func(k *kit) {
			s, peer := k.pair()
			data := pattern(16 << 20)
			o, err := k.send(s, data)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.wantNone()
			require.True(k, k.read(peer, len(data)) == string(data))
			k.want(&o.Overlapped, pairKey, len(data), nil)
		}},
	{"SendsGoOutInOrder", "WSASend: on a stream socket sends in flight go out in the order of the calls", "",
		func(k *kit) {
			s, peer := k.pair()
			data := pattern(12 << 20)
			var ops []*operation
			for part := range 3 {
				o, err := k.send(s, data[part*4<<20:(part+1)*4<<20])
				k.accepted(err)
				ops = append(ops, o)
			}
			require.True(k, k.read(peer, len(data)) == string(data))
			for _, o := range ops {
				k.want(&o.Overlapped, pairKey, 4<<20, nil)
			}
		}},
	{"ASendOfNothingIsDone", "WSASend: 0 bytes are allowed", "",
		func(k *kit) {
			s, _ := k.pair()
			o, err := k.send(s, nil)
			k.accepted(err)
			k.want(&o.Overlapped, pairKey, 0, nil)
		}},
	{"NoSendAfterShutdown", "shutdown: after SD_SEND a send fails with WSAESHUTDOWN", "",
		func(k *kit) {
			s, _ := k.pair()
			require.NoError(k, iocp.Shutdown(s, iocp.SD_SEND))
			_, err := k.send(s, []byte("x"))
			assert.Equal(k, iocp.WSAESHUTDOWN, err)
		}},
	{"ASendNeedsAConnection", "WSASend: WSAENOTCONN if the socket is not connected", "it says WSAECONNRESET, from Linux's EPIPE",
		func(k *kit) {
			_, err := k.send(k.bound(), []byte("x"))
			assert.Equal(k, iocp.WSAENOTCONN, err)
		}},
	{"AResetFailsTheSend", "WSASend: WSAECONNRESET or WSAECONNABORTED", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.send(s, pattern(16<<20))
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			reset(peer)
			k.wantFailure(&o.Overlapped)
			_, err = k.result(s, o, false)
			assert.Contains(k, []error{iocp.WSAECONNRESET, iocp.WSAECONNABORTED}, err)
		}},
	{"TheEndOfDataFollowsTheSends", "shutdown: SD_SEND sends the end of data after what is queued", "",
		func(k *kit) {
			s, peer := k.pair()
			data := pattern(16 << 20)
			o, err := k.send(s, data)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			require.NoError(k, iocp.Shutdown(s, iocp.SD_SEND))
			require.True(k, k.read(peer, len(data)) == string(data))
			k.want(&o.Overlapped, pairKey, len(data), nil)
			k.wantEOF(peer)
		}},
	{"BothDirectionsAreIndependent", "WSASend: a receive in flight does not hold a send", "",
		func(k *kit) {
			s, peer := k.pair()
			r, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			o, err := k.send(s, []byte("ping"))
			k.accepted(err)
			k.want(&o.Overlapped, pairKey, 4, nil)
			assert.Equal(k, "ping", k.read(peer, 4))
			k.write(peer, "pong")
			k.want(&r.Overlapped, pairKey, 4, nil)
		}},
	{"DisconnectExEndsTheOutput", "DisconnectEx: the end of data follows what was sent, and the operation completes", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.send(s, []byte("bye"))
			k.accepted(err)
			k.want(&o.Overlapped, pairKey, 3, nil)
			d := k.op(0)
			k.accepted(iocp.DisconnectEx(s, &d.Overlapped, 0, 0))
			assert.Equal(k, "bye", k.read(peer, 3))
			k.wantEOF(peer)
			peer.Close()
			k.want(&d.Overlapped, pairKey, 0, nil)
		}},

	// The end of operations.
	{"ACancelledReceiveCompletes", "CancelIoEx: a cancelled operation completes with ERROR_OPERATION_ABORTED", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			require.NoError(k, iocp.CancelIoEx(s, &o.Overlapped))
			k.want(&o.Overlapped, pairKey, 0, iocp.ERROR_OPERATION_ABORTED)
			o, err = k.recv(s, 10) // the connection is as it was
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.write(peer, "abc")
			k.want(&o.Overlapped, pairKey, 3, nil)
		}},
	{"ACancelledSendCompletes", "CancelIoEx: a cancelled operation completes with ERROR_OPERATION_ABORTED", "",
		func(k *kit) {
			s, _ := k.pair()
			o, err := k.send(s, pattern(16<<20))
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			require.NoError(k, iocp.CancelIoEx(s, &o.Overlapped))
			k.want(&o.Overlapped, pairKey, 0, iocp.ERROR_OPERATION_ABORTED)
		}},
	{"CancelNamesOneOperation", "CancelIoEx: with an OVERLAPPED it cancels that operation alone", "",
		func(k *kit) {
			s, peer := k.pair()
			a, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			b, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			require.NoError(k, iocp.CancelIoEx(s, &a.Overlapped))
			k.want(&a.Overlapped, pairKey, 0, iocp.ERROR_OPERATION_ABORTED)
			k.write(peer, "abc")
			k.want(&b.Overlapped, pairKey, 3, nil)
		}},
	{"CancelWithoutANameCancelsAll", "CancelIoEx: with NULL it cancels all operations on the handle", "",
		func(k *kit) {
			s, _ := k.pair()
			waiting := map[*iocp.Overlapped]bool{}
			for range 3 {
				o, err := k.recv(s, 10)
				require.Equal(k, iocp.ERROR_IO_PENDING, err)
				waiting[&o.Overlapped] = true
			}
			require.NoError(k, iocp.CancelIoEx(s, nil))
			for range 3 {
				c, err, _ := k.get(patience)
				assert.Equal(k, iocp.ERROR_OPERATION_ABORTED, err)
				assert.True(k, waiting[c.ov])
				delete(waiting, c.ov)
			}
		}},
	{"NothingToCancel", "CancelIoEx: ERROR_NOT_FOUND if there is no such operation", "",
		func(k *kit) {
			s, _ := k.pair()
			assert.Equal(k, iocp.ERROR_NOT_FOUND, iocp.CancelIoEx(s, &k.op(0).Overlapped))
		}},
	{"NothingAtAllToCancel", "CancelIoEx: ERROR_NOT_FOUND if there is none on the handle", "it succeeds",
		func(k *kit) {
			s, _ := k.pair()
			assert.Equal(k, iocp.ERROR_NOT_FOUND, iocp.CancelIoEx(s, nil))
		}},
	{"WhatIsDoneCannotBeCancelled", "CancelIoEx: an operation may have completed before; its completion says how", "",
		func(k *kit) {
			s, peer := k.pair()
			k.write(peer, "abc")
			k.arrive(s)
			o, err := k.recv(s, 10)
			require.NoError(k, err)
			assert.Equal(k, iocp.ERROR_NOT_FOUND, iocp.CancelIoEx(s, &o.Overlapped))
			k.want(&o.Overlapped, pairKey, 3, nil)
		}},
	{"ClosingASocketEndsItsOperations", "closesocket: overlapped operations in flight are ended, and complete with an error", "",
		func(k *kit) {
			s, _ := k.pair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			require.NoError(k, iocp.Closesocket(s))
			k.wantFailure(&o.Overlapped)
		}},
	{"CancelAndCloseCompletesOnce", "CancelIoEx, closesocket: an operation completes once", "",
		func(k *kit) {
			s, _ := k.pair()
			r, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			w, err := k.send(s, pattern(16<<20))
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			require.NoError(k, iocp.CancelIoEx(s, nil))
			require.NoError(k, iocp.Closesocket(s))
			times := map[*iocp.Overlapped]int{}
			for range 2 {
				c, err, ok := k.get(patience)
				require.True(k, ok, err)
				times[c.ov]++
			}
			assert.Equal(k, map[*iocp.Overlapped]int{&r.Overlapped: 1, &w.Overlapped: 1}, times)
			k.wantNone()
		}},
	{"AQueuedCompletionOutlivesItsSocket", "closesocket: completions that are queued stay queued", "",
		func(k *kit) {
			s, peer := k.pair()
			k.write(peer, "abc")
			k.arrive(s)
			o, err := k.recv(s, 10)
			require.NoError(k, err)
			require.NoError(k, iocp.Closesocket(s))
			k.want(&o.Overlapped, pairKey, 3, nil)
			assert.Equal(k, "abc", string(o.buf[:3]))
		}},

	// What an OVERLAPPED says.
	{"AnOverlappedShowsItsState", "OVERLAPPED: Internal is the status, STATUS_PENDING (0x103) while it is in flight", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			assert.Equal(k, uintptr(0x103), o.Internal)
			_, err = k.result(s, o, false) // for the race detector: what was read was read before what comes
			assert.Equal(k, iocp.ERROR_IO_INCOMPLETE, err)
			k.write(peer, "abc")
			k.want(&o.Overlapped, pairKey, 3, nil)
			assert.Zero(k, o.Internal)
			assert.Equal(k, uintptr(3), o.InternalHigh)
		}},
	{"AResultThatIsNotThere", "WSAGetOverlappedResult: WSA_IO_INCOMPLETE while the operation is in flight", "",
		func(k *kit) {
			s, _ := k.pair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			_, err = k.result(s, o, false)
			assert.Equal(k, iocp.ERROR_IO_INCOMPLETE, err)
		}},
	{"AResultTellsTheBytes", "WSAGetOverlappedResult: lpcbTransfer is the number of bytes", "",
		func(k *kit) {
			s, peer := k.pair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.write(peer, "abc")
			k.want(&o.Overlapped, pairKey, 3, nil)
			n, err := k.result(s, o, false)
			require.NoError(k, err)
			assert.Equal(k, 3, n)
		}},
	{"ExGivesFailuresAsStatus", "GetQueuedCompletionStatusEx: it succeeds also for operations that failed; the status is in the entry", "",
		func(k *kit) {
			s, _ := k.pair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			require.NoError(k, iocp.CancelIoEx(s, &o.Overlapped))
			entries := make([]iocp.OverlappedEntry, 4)
			n, err := k.getEx(entries, patience)
			require.NoError(k, err)
			require.Equal(k, 1, n)
			assert.Equal(k, iocp.OverlappedEntry{Key: pairKey, Overlapped: &o.Overlapped, Internal: 0xC0000120}, entries[0])
			_, err = k.result(s, o, false)
			assert.Equal(k, iocp.ERROR_OPERATION_ABORTED, err)
		}},
	{"WithoutAPortNothingIsQueued", "WSARecv: without a port the OVERLAPPED alone tells", "",
		func(k *kit) {
			s, peer := k.loosePair()
			o, err := k.recv(s, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.write(peer, "abc")
			for start := time.Now(); ; time.Sleep(time.Millisecond) {
				n, err := k.result(s, o, false)
				if err != iocp.ERROR_IO_INCOMPLETE {
					require.NoError(k, err)
					assert.Equal(k, 3, n)
					break
				}
				require.Less(k, time.Since(start), patience*time.Millisecond)
			}
			k.wantNone()
		}},
	{"KeysTellSocketsApart", "CreateIoCompletionPort: CompletionKey comes with every completion of that handle", "",
		func(k *kit) {
			a, peerA := k.loosePair()
			b, peerB := k.loosePair()
			k.associate(a, 100)
			k.associate(b, 200)
			oa, err := k.recv(a, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			ob, err := k.recv(b, 10)
			require.Equal(k, iocp.ERROR_IO_PENDING, err)
			k.write(peerB, "b")
			k.want(&ob.Overlapped, 200, 1, nil)
			k.write(peerA, "aa")
			k.want(&oa.Overlapped, 100, 2, nil)
		}},
	{"AnOverlappedMayBeUsedAgain", "OVERLAPPED: when its completion is dequeued it may be used for the next operation", "",
		func(k *kit) {
			s, peer := k.pair()
			o := k.op(10)
			for range 10 {
				o.Overlapped = iocp.Overlapped{}
				o.wsabuf[0] = iocp.WSABuf{Len: 10, Buf: &o.buf[0]}
				k.accepted(iocp.WSARecv(s, &o.wsabuf[0], 1, &o.n, &o.flags, &o.Overlapped, nil))
				k.write(peer, "again")
				k.want(&o.Overlapped, pairKey, 5, nil)
			}
		}},
	{"ClosingResetsWhatIsNotRead", "closesocket: with data that was not received the peer sees a reset", "the peer, which is Wine's too, is sometimes told of the end of data instead",
		func(k *kit) {
			s, peer := k.pair()
			k.write(peer, "nobody reads this")
			k.arrive(s)
			require.NoError(k, iocp.Closesocket(s))
			peer.SetReadDeadline(time.Now().Add(patience * time.Millisecond))
			_, err := peer.Read(make([]byte, 1))
			require.Error(k, err)
			assert.NotEqual(k, io.EOF, err)
		}},
}

// getEx is GetQueuedCompletionStatusEx.
func (k *kit) getEx(entries []iocp.OverlappedEntry, msec uint32) (int, error) {
	o := k.op(0)
	err := iocp.GetQueuedCompletionStatusEx(k.port, &entries[0], uint32(len(entries)), &o.n, msec, false)
	return int(o.n), err
}

// connect posts a ConnectEx to the kit's listener.
func (k *kit) connect(s iocp.Handle, o *operation, data []byte) error {
	o.buf = data
	return iocp.ConnectEx(s, &iocp.SockaddrInet4{Port: int(k.addr.Port()), Addr: [4]byte{127, 0, 0, 1}},
		unsafe.SliceData(o.buf), uint32(len(o.buf)), &o.n, &o.Overlapped)
}
