//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"iolab/checker/probe"
	epolllt "iolab/lessons/02-epoll-lt"
	"iolab/lessons/engine"
)

// quiet is how long nothing may move before a scene is over.
const quiet = time.Second

// play plays the scenes with the server of lesson 02 that this command was built with,
// and says what came of them.
func play(title string) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(engine.ErrNotImplemented); ok {
				os.Exit(notWritten)
			}
			panic(v)
		}
	}()
	fmt.Println(title)
	manyBytes()
	manyClients()
	fmt.Println()
}

func start(cfg engine.Config) *epolllt.Engine {
	e, err := epolllt.New(cfg, engine.Echo{})
	check(err)
	return e
}

func dial(e *epolllt.Engine) *net.TCPConn {
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(e.Addr()))
	check(err)
	return c
}

// pollUntil makes turns until done, or until moved has not changed for a while.
func pollUntil(e *epolllt.Engine, done func() bool, moved func() int64) {
	last, since := moved(), time.Now()
	for !done() && time.Since(since) < quiet {
		check(e.Poll(10 * time.Millisecond))
		if now := moved(); now != last {
			last, since = now, time.Now()
		}
	}
}

// manyBytes: a client sends much and reads it back.
func manyBytes() {
	const size, budget = 1_000_000, 16 << 10 // a packet on loopback has up to 64 KiB
	e := start(engine.Config{ReadBudget: budget})
	defer e.Close()
	c := dial(e)
	defer c.Close()
	var back atomic.Int64
	go c.Write(make([]byte, size))
	go io.Copy(counter{&back}, c)
	fmt.Printf("  a client sends %d bytes and reads them back; the read budget is %d\n", size, budget)
	pollUntil(e, func() bool { return back.Load() == size }, back.Load)
	fmt.Printf("    %d come back", back.Load())
	if back.Load() == size {
		fmt.Println()
		return
	}
	fmt.Printf(", then nothing for a second; %d wait in the server's receive queue\n", unread(c.LocalAddr().(*net.TCPAddr).AddrPort()))
}

// unread is what waits in the receive queue of the server's socket to the client at peer.
func unread(peer netip.AddrPort) int {
	fd, ok := probe.SocketByPeer(os.Getpid(), peer)
	if !ok {
		return 0
	}
	queues, err := probe.Queues(fd.Num)
	check(err)
	return queues.Unread
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

// manyClients: many clients connect before the first turn.
func manyClients() {
	const many = 500
	e := start(engine.Config{})
	defer e.Close()
	for range many {
		defer dial(e).Close()
	}
	count := func() int64 { return int64(e.ConnectionCount()) }
	fmt.Printf("  %d clients connect before the first turn\n", many)
	pollUntil(e, func() bool { return count() == many }, count)
	fmt.Printf("    %d are accepted", count())
	if count() == many {
		fmt.Println()
		return
	}
	fmt.Printf(", then nobody for a second\n")
	before := count()
	defer dial(e).Close()
	pollUntil(e, func() bool { return false }, count)
	fmt.Printf("    one more client connects: %d more are accepted\n", count()-before)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "oneflag:", err)
		os.Exit(1)
	}
}
