//go:build linux

package solutions_test

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iolab/checker/conformance"
	"iolab/checker/labtest"
	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
	epollet "iolab/solutions/03-epoll-et"
	uringloop "iolab/solutions/06-io_uring"
)

// Where io_uring is said to win, each beside lesson 03. The clients' part of the work is
// left out where that can be done: loop-ns is the processor time of the loop's thread,
// all-ns that of the whole process, clients and kernel threads included.

func uring(o uringloop.Options) conformance.Engine {
	return conformance.Of(func(cfg engine.Config, h engine.Handler) (*uringloop.Engine, error) {
		return uringloop.NewWith(cfg, h, o)
	})
}

var contenders = []struct {
	name string
	new  conformance.Engine
}{
	{"epoll-et", conformance.Of(epollet.New)},
	{"io_uring", uring(uringloop.Options{})},
	{"io_uring,direct", uring(uringloop.Options{Direct: true})},
	{"io_uring,sqpoll", uring(uringloop.Options{SQPoll: true})},
}

// crowdOf keeps the connections, for a broadcast.
type crowdOf struct {
	engine.Echo
	conns []engine.Conn
}

func (h *crowdOf) OnOpen(c engine.Conn) { h.conns = append(h.conns, c) }

// clock is what a thread (or the process) has used of a processor.
func clock(id int32) time.Duration {
	var t unix.Timespec
	unix.ClockGettime(id, &t)
	return time.Duration(t.Nano())
}

// rounds runs b.N rounds of before, turns until done says so, and after. A round is n
// operations.
func rounds(b *testing.B, l *labtest.Lab, n int, before func(e engine.Engine), done func(e engine.Engine) bool, after func(e engine.Engine)) {
	l.Pause()
	start := l.Stats()
	var loop time.Duration
	all := clock(unix.CLOCK_PROCESS_CPUTIME_ID)
	b.ResetTimer()
	for range b.N {
		l.Do(func(e engine.Engine) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			before(e)
			t := clock(unix.CLOCK_THREAD_CPUTIME_ID)
			for !done(e) {
				if err := e.Poll(time.Second); err != nil {
					b.Fatal(err)
				}
			}
			loop += clock(unix.CLOCK_THREAD_CPUTIME_ID) - t
			after(e)
		})
	}
	b.StopTimer()
	all = clock(unix.CLOCK_PROCESS_CPUTIME_ID) - all
	ops := float64(b.N * n)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(loop)/ops, "loop-ns")
	b.ReportMetric(float64(all)/ops, "all-ns")
	end := l.Stats()
	b.ReportMetric(float64(end.Total()-start.Total())/ops, "syscalls")
	l.Resume()
}

// BenchmarkWins: the figures are for one message, one message of a broadcast, and one
// client that comes, is answered and goes.
func BenchmarkWins(b *testing.B) {
	for _, writes := range []int{1, 16} {
		for _, c := range contenders {
			b.Run(fmt.Sprintf("messages-of-1000,together=%d/%s", writes, c.name), func(b *testing.B) { answers(b, c.new, 1000, writes) })
		}
	}
	for _, c := range contenders {
		b.Run("broadcast-to-1000/"+c.name, func(b *testing.B) { broadcasts(b, c.new, 1000) })
	}
	for _, c := range contenders {
		b.Run("coming-and-going/"+c.name, func(b *testing.B) { visits(b, c.new, 100) })
	}
}

// answers: each of n clients writes writes times, and all are answered.
func answers(b *testing.B, newEngine conformance.Engine, n, writes int) {
	l := labtest.Start(b, newEngine)
	clients := l.DialMany(n)
	l.WantCount(n)
	peers := make([]*labtest.Raw, n)
	for i, c := range clients {
		peers[i] = c.Raw()
		defer peers[i].Close()
	}
	b.ReportAllocs()
	var want uint64
	rounds(b, l, n*writes, func(e engine.Engine) {
		for _, p := range peers {
			for range writes {
				p.Write1()
			}
		}
		want = e.Stats().BytesOut + uint64(n*writes)
	}, func(e engine.Engine) bool { return e.Stats().BytesOut >= want }, func(engine.Engine) {
		for _, p := range peers {
			for range writes {
				p.Read1()
			}
		}
	})
}

// broadcasts: one byte to each of n clients, sent between two turns.
func broadcasts(b *testing.B, newEngine conformance.Engine, n int) {
	h := &crowdOf{}
	l := labtest.Start(b, newEngine, labtest.WithHandler(h))
	clients := l.DialMany(n)
	l.WantCount(n)
	peers := make([]*labtest.Raw, n)
	for i, c := range clients {
		peers[i] = c.Raw()
		defer peers[i].Close()
	}
	message, sent, want := []byte{'!'}, false, uint64(0)
	rounds(b, l, n, func(e engine.Engine) {
		sent, want = false, e.Stats().BytesOut+uint64(n)
	}, func(e engine.Engine) bool {
		if !sent { // a part of what is measured
			sent = true
			for _, c := range h.conns {
				c.Send(message)
			}
		}
		return e.Stats().BytesOut >= want
	}, func(engine.Engine) {
		for _, p := range peers {
			p.Read1()
		}
	})
}

// visits: n clients come, send a byte, are answered, and reset.
func visits(b *testing.B, newEngine conformance.Engine, n int) {
	l := labtest.Start(b, newEngine)
	resets := make([]func(), n)
	var want uint64
	served := false
	rounds(b, l, n, func(e engine.Engine) {
		for i := range resets {
			resets[i] = labtest.Visit(e.Addr())
		}
		served, want = false, e.Stats().BytesOut+uint64(n)
	}, func(e engine.Engine) bool {
		if !served && e.Stats().BytesOut >= want {
			served = true
			for _, reset := range resets {
				reset()
			}
		}
		return served && e.ConnectionCount() == 0
	}, func(engine.Engine) {})
}

// BenchmarkIdleHeap is what a silent connection holds on Go's heap. Nothing else does in
// this process: the clients are bare sockets.
func BenchmarkIdleHeap(b *testing.B) {
	for _, c := range contenders[:3] {
		b.Run(c.name, func(b *testing.B) {
			const clients = 5000
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			e, err := c.new(engine.Config{Backlog: clients}, engine.Echo{})
			if err != nil {
				b.Skip(err)
			}
			defer e.Close()
			e.Poll(0)
			fds := make([]int, clients)
			defer func() {
				for _, fd := range fds {
					unix.Close(fd)
				}
			}()
			family, to := sock.Sockaddr(e.Addr())
			before := heap()
			for i := range fds {
				if fds[i], err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
					err = unix.Connect(fds[i], to)
				}
				if err != nil {
					b.Skip(err)
				}
				for i%100 == 99 && e.ConnectionCount() <= i {
					if err := e.Poll(time.Second); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(int64(heap()-before))/clients, "B/connection")
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkLarge sends large blocks from mapped memory to a reader on loopback, by
// IORING_OP_SEND and by IORING_OP_SEND_ZC, one after the other. An operation is a block;
// cpu-us/MB is the whole process's time, reader included. copied tells how many of the
// blocks sent without a copy the kernel copied all the same, as it says itself.
func BenchmarkLarge(b *testing.B) {
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
		for _, zc := range []bool{false, true} {
			name := "send"
			if zc {
				name = "zero-copy"
			}
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, name), func(b *testing.B) { large(b, size, zc) })
		}
	}
}

func large(b *testing.B, size int, zc bool) {
	const sendZCReportUsage, notifUsageCopied = 1 << 3, 1 << 31
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // Go's default, and without zero-copy sends
	listener, err := plain.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	peer, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	f, err := conn.(*net.TCPConn).File()
	if err != nil {
		b.Fatal(err)
	}
	conn.Close()
	unix.SetNonblock(int(f.Fd()), false)
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 1<<20)
		for {
			if _, err := peer.Read(buf); err != nil {
				return
			}
		}
	}()
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Munmap(mem)
	for i := range mem {
		mem[i] = byte(i)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := uringloop.Setup(8, uringloop.Options{})
	if err == nil {
		err = ring.Enable()
	}
	if err != nil {
		b.Skip(err)
	}
	defer ring.Close()
	copied := 0
	cpu := clock(unix.CLOCK_PROCESS_CPUTIME_ID)
	b.SetBytes(int64(size))
	b.ResetTimer()
	for range b.N {
		sqe := ring.SQE()
		sqe.Opcode, sqe.Fd, sqe.OpFlags = abi.IORING_OP_SEND, int32(f.Fd()), unix.MSG_WAITALL
		if zc {
			sqe.Opcode, sqe.Ioprio = abi.IORING_OP_SEND_ZC, sendZCReportUsage
		}
		// SAFETY: mem is mapped until the last completion has come.
		sqe.Addr, sqe.Len = uint64(uintptr(unsafe.Pointer(&mem[0]))), uint32(size)
		for ring.InFlight() > 0 {
			if err := ring.Enter(1, -1); err != nil {
				b.Fatal(err)
			}
			for range ring.Ready() {
				cqe := ring.Next()
				if cqe.Flags&abi.IORING_CQE_F_NOTIF != 0 {
					if uint32(cqe.Res)&notifUsageCopied != 0 {
						copied++
					}
				} else if cqe.Res != int32(size) {
					b.Fatal(os.NewSyscallError("send", unix.Errno(-cqe.Res)))
				}
			}
		}
	}
	b.StopTimer()
	cpu = clock(unix.CLOCK_PROCESS_CPUTIME_ID) - cpu
	b.ReportMetric(float64(cpu.Microseconds())/(float64(b.N)*float64(size)/(1<<20)), "cpu-us/MB")
	if zc {
		b.ReportMetric(float64(copied)/float64(b.N), "copied")
	}
	f.Close()
	<-read
	peer.Close()
}
