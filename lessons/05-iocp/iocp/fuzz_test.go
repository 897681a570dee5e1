//go:build unix

package iocp_test

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"iolab/lessons/05-iocp/iocp"
)

// waiters is the number of goroutines of the emulation.
func waiters() int {
	buf := make([]byte, 1<<20)
	return bytes.Count(buf[:runtime.Stack(buf, true)], []byte("iocp.(*socket).wait"))
}

func descriptors(t *testing.T) int {
	links, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("descriptors cannot be counted here")
	}
	return len(links)
}

// FuzzOperations posts, cancels, closes and talks at random, byte by byte as the input
// says. Whatever it does, each operation that is in flight completes exactly once, receives
// get the bytes in order, and nothing is left.
func FuzzOperations(f *testing.F) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 40 {
		script := make([]byte, 20+random.IntN(200))
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 400 {
			script = script[:400]
		}
		warm, err := net.Listen("tcp", "127.0.0.1:0") // so that the Go runtime's own descriptors are there
		require.NoError(t, err)
		warm.Close()
		before := descriptors(t)
		k := newKit(t)
		fuzz(k, script)
		require.Eventually(t, func() bool { return descriptors(t) == before && waiters() == 0 }, patience*time.Millisecond, time.Millisecond)
		wantNothingLeft(t)
	})
}

// end is one connection of the fuzzer.
type end struct {
	s      iocp.Handle
	peer   *net.TCPConn
	closed bool
	skips  bool
	wrote  int // bytes that the peer has sent
	got    int // bytes that receives have got, in order
	order  []*operation
}

func fuzz(k *kit, script []byte) {
	data := pattern(1 << 20)
	waiting := map[*iocp.Overlapped]*end{} // in flight; nil for those of no connection
	receives := map[*iocp.Overlapped]*operation{}
	forget := func(e *end, r *operation) {
		for i, o := range e.order {
			if o == r {
				e.order = append(e.order[:i:i], e.order[i+1:]...)
			}
		}
	}
	take := func(c completion, err error) {
		e, ok := waiting[c.ov]
		require.True(k, ok, "a completion came that nobody waits for")
		delete(waiting, c.ov)
		r := receives[c.ov]
		switch {
		case e == nil || r == nil:
			return
		case err != nil:
			forget(e, r)
			return
		}
		require.Same(k, e.order[0], r, "receives complete in the order in which they were posted")
		e.order = e.order[1:]
		n := int(c.n)
		require.Equal(k, string(data[e.got:e.got+n]), string(r.buf[:n]))
		e.got += n
	}
	k.listen()
	var ends []*end
	var peers []*net.TCPConn
	dial := func(skip bool) {
		o, s, err := k.accept(0)
		k.accepted(err)
		waiting[&o.Overlapped] = nil
		peer := k.dial()
		peers = append(peers, peer)
		for {
			if _, still := waiting[&o.Overlapped]; !still {
				break
			}
			c, err, ok := k.get(patience)
			require.True(k, ok, err)
			take(c, err)
		}
		require.NoError(k, k.update(s))
		k.associate(s, pairKey)
		if skip {
			require.NoError(k, iocp.SetFileCompletionNotificationModes(s, iocp.FILE_SKIP_COMPLETION_PORT_ON_SUCCESS))
		}
		ends = append(ends, &end{s: s, peer: peer, skips: skip})
	}
	drain := func(msec uint32) bool {
		c, err, ok := k.get(msec)
		if !ok {
			return false
		}
		take(c, err)
		return true
	}
	for i := 0; i+1 < len(script); i += 2 {
		what, arg := script[i]%12, int(script[i+1])
		if len(ends) == 0 {
			what = 0
		}
		var e *end
		if len(ends) > 0 {
			e = ends[arg%len(ends)]
		}
		switch what {
		case 0:
			if len(ends) < 6 {
				dial(arg&1 != 0)
			}
		case 1, 2: // a receive
			size := arg
			o, err := k.recv(e.s, size)
			switch {
			case err == iocp.ERROR_IO_PENDING, err == nil && !e.skips:
				waiting[&o.Overlapped] = e
				if size > 0 {
					receives[&o.Overlapped] = o
					e.order = append(e.order, o)
				}
			case err == nil && size > 0:
				// It did not overtake those before it: they are done, and queued.
				for len(e.order) > 0 {
					require.True(k, drain(0), "a receive overtook another")
				}
				require.Equal(k, string(data[e.got:e.got+int(o.n)]), string(o.buf[:o.n]))
				e.got += int(o.n)
			}
		case 3: // a send, now and then one that has to wait
			o, err := k.send(e.s, data[:1+arg*arg*16])
			if err == iocp.ERROR_IO_PENDING || err == nil && !e.skips {
				waiting[&o.Overlapped] = e
			}
		case 4, 5: // the peer talks
			if n := min(arg, len(data)-e.wrote); !e.closed && n > 0 {
				if m, err := e.peer.Write(data[e.wrote : e.wrote+n]); err == nil {
					e.wrote += m
				}
			}
		case 6: // the peer leaves
			if arg > 128 {
				reset(e.peer)
			} else {
				e.peer.CloseWrite()
			}
		case 7:
			_ = iocp.CancelIoEx(e.s, nil)
		case 8:
			for ov, of := range waiting {
				if of == e {
					_ = iocp.CancelIoEx(e.s, ov)
					break
				}
			}
		case 9:
			if arg > 200 {
				require.NoError(k, iocp.Closesocket(e.s))
				e.closed = true
				for j := range ends {
					if ends[j] == e {
						ends = append(ends[:j], ends[j+1:]...)
						break
					}
				}
				for j := range k.sockets {
					if k.sockets[j] == e.s {
						k.sockets = append(k.sockets[:j], k.sockets[j+1:]...)
						break
					}
				}
			}
		case 10:
			drain(0)
		case 11:
			_ = iocp.Shutdown(e.s, iocp.SD_SEND)
		}
	}
	// All that is in flight ends, each with one completion.
	for _, s := range k.sockets {
		_ = iocp.CancelIoEx(s, nil)
		_ = iocp.Closesocket(s)
	}
	k.sockets = nil
	for len(waiting) > 0 {
		require.True(k, drain(patience), "%d operations never completed", len(waiting))
	}
	require.False(k, drain(0), "a completion too many")
	for _, peer := range peers {
		peer.Close()
	}
	require.NoError(k, iocp.CloseHandle(k.port))
	require.NoError(k, iocp.WSACleanup())
	require.NoError(k, iocp.WSAStartup(0x202, &iocp.WSAData{})) // for the kit's own end
}
