package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"iolab/checker/gameclient"
)

// receipt is what the players know of one tick's snapshot.
type receipt struct {
	Tick    uint32
	Players int   // who have it
	Last    int64 // when the last of them got it, in unix nanoseconds
}

// kept is the number of ticks of which the receipts are kept: twenty minutes at 60 Hz.
const kept = 1 << 16

// ledger is the receipts while they are written.
type ledger [kept]struct {
	players atomic.Int32
	last    atomic.Int64
}

// note is called when a player has tick's snapshot. It is called by many goroutines, in
// an order that is nearly that of time.
func (l *ledger) note(tick uint32, now int64) {
	r := &l[tick%kept]
	r.players.Add(1)
	for {
		last := r.last.Load()
		if now <= last || r.last.CompareAndSwap(last, now) {
			return
		}
	}
}

// crowd plays the players until in ends, and writes the receipts.
func crowd(o options, in io.Reader, out io.Writer) error {
	var seen ledger
	clients := make([]*gameclient.Client, o.players)
	errs := make(chan error, o.players)
	var joining sync.WaitGroup
	turn := make(chan struct{}, 64)
	for i := range clients {
		joining.Add(1)
		turn <- struct{}{}
		go func() {
			defer func() { <-turn; joining.Done() }()
			c, err := gameclient.Dial(o.crowd, gameclient.Options{Timeout: time.Minute})
			if err != nil {
				errs <- fmt.Errorf("player %d: %w", i+1, err)
				return
			}
			clients[i] = c
			go play(c, i, o.answer, &seen) // at once: who does not answer is dropped
		}()
	}
	joining.Wait()
	if len(errs) > 0 {
		return <-errs
	}
	fmt.Fprintln(out, "ready")
	io.Copy(io.Discard, in)
	for _, c := range clients {
		c.Conn.(*net.TCPConn).SetLinger(0)
		c.Conn.Close()
	}
	var all []receipt
	for tick := range uint32(kept) {
		if r := &seen[tick]; r.players.Load() > 0 {
			all = append(all, receipt{tick, int(r.players.Load()), r.last.Load()})
		}
	}
	return json.NewEncoder(out).Encode(all)
}

// play is one player: it walks in a direction for a while, then in another.
func play(c *gameclient.Client, number, answer int, seen *ledger) {
	directions := [8][2]int16{{45, 0}, {30, 30}, {0, 45}, {-30, 30}, {-45, 0}, {-30, -30}, {0, -45}, {30, -30}}
	var buf []byte
	sequence := uint32(0)
	for {
		t, body, err := c.Reader.Next()
		if err != nil {
			return
		}
		if t != gameclient.Snapshot {
			continue
		}
		now := time.Now().UnixNano()
		h, err := gameclient.ParseSnapshot(body)
		if err != nil {
			return
		}
		seen.note(h.Tick, now)
		if (int(h.Tick)+number)%answer != 0 {
			continue
		}
		sequence++
		d := directions[(number+int(h.Tick)/(60+number%64))%8]
		buf = gameclient.AppendAck(buf[:0], h.Tick)
		buf = gameclient.AppendInput(buf, sequence, d[0], d[1])
		if _, err := c.Conn.Write(buf); err != nil {
			return
		}
	}
}
