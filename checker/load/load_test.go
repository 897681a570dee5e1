package load

import (
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/checker/probe"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// listen is a server that calls serve for each connection, on a goroutine of its own, and
// then closes it.
func listen(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// echo is a server for the tests. serve, if it is not nil, is called with what has come
// before it is sent back, and may change it.
func echo(t *testing.T, serve func([]byte) []byte) netip.AddrPort {
	t.Helper()
	return listen(t, func(c net.Conn) {
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			p := buf[:n]
			if serve != nil {
				if p = serve(p); p == nil {
					return
				}
			}
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	})
}

// both runs a test with the process's own loop and with package net.
func both(t *testing.T, test func(t *testing.T, portable bool)) {
	t.Run("own", func(t *testing.T) { test(t, false) })
	t.Run("net", func(t *testing.T) { test(t, true) })
}

// measure runs s in a process of its own.
func measure(t *testing.T, s Spec) Result {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	p, n, err := Start(exe, s, nil)
	require.NoError(t, err)
	defer p.Close()
	require.Equal(t, s.total(), n)
	r, err := p.Run(nil)
	require.NoError(t, err)
	return r
}

func TestClosedLoopMeasuresWhatComesBack(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		var bytes atomic.Int64
		addr := echo(t, func(p []byte) []byte { bytes.Add(int64(len(p))); return p })
		r := measure(t, Spec{Addr: addr, Connections: 10, Idle: 5, Depth: 3, Size: 100, Portable: portable,
			WarmUp: 20 * time.Millisecond, Window: 300 * time.Millisecond, Server: os.Getpid()})
		assert.Positive(t, r.Messages)
		assert.GreaterOrEqual(t, r.Latency.TotalCount(), r.Messages)
		assert.LessOrEqual(t, r.Latency.TotalCount(), r.Messages+30, "those and what was under way at the end")
		assert.Greater(t, r.All, r.Messages)
		assert.GreaterOrEqual(t, bytes.Load(), 100*r.All)
		assert.Greater(t, r.Seconds, 0.05)
		assert.Positive(t, r.Latency.Quantile(0.5))
		assert.LessOrEqual(t, r.Latency.Quantile(0.5), r.Latency.Quantile(0.999))
		assert.Positive(t, r.Load.Total())
		assert.Positive(t, r.Ceiling())
	})
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		r := measure(t, Spec{Addr: echo(t, nil), Connections: 7, Rate: 2000, Portable: portable,
			WarmUp: 50 * time.Millisecond, Window: 500 * time.Millisecond})
		assert.InDelta(t, 1000, r.Due, 2, "every message that was due is accounted for")
		assert.Equal(t, r.Due, r.Latency.TotalCount())
		assert.Positive(t, r.Messages)
		assert.LessOrEqual(t, r.Answered, r.Sent)
		assert.LessOrEqual(t, r.Sent, r.Due)
		assert.Zero(t, r.Lost)
		assert.Positive(t, r.Late.TotalCount())
	})
}

// More than the clients can send is due: answers are read all the same, and it is said.
func TestMoreThanTheClientsCanSendIsDue(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there the portable generator is the only one")
	}
	r := measure(t, Spec{Addr: echo(t, nil), Connections: 4, Rate: 5e6, Window: 200 * time.Millisecond})
	assert.InDelta(t, 1e6, r.Due, 1e3)
	assert.Equal(t, r.Due, r.Latency.TotalCount(), "every message that was due is accounted for")
	assert.Less(t, r.Sent, r.Due)
	assert.Positive(t, r.Messages, "answers are read in the window")
}

// stalling is a server that stands still for 200 ms in every 500.
func stalling(t *testing.T) netip.AddrPort {
	begin := time.Now()
	return echo(t, func(p []byte) []byte {
		if into := time.Since(begin) % (500 * time.Millisecond); into < 200*time.Millisecond {
			time.Sleep(200*time.Millisecond - into)
		}
		return p
	})
}

// A server that stands still for two fifths of the time makes two fifths of the messages
// late, though few of them were ever under way during a pause: one for each connection.
func TestAStalledServerShowsInTheOpenLoop(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := Spec{Addr: stalling(t), Connections: 2, Portable: portable, WarmUp: 100 * time.Millisecond, Window: time.Second}
		s.Rate = 1000
		open := measure(t, s)
		assert.Greater(t, open.Latency.Quantile(0.75), 50*time.Millisecond)
		assert.Greater(t, open.Latency.Quantile(0.99), 150*time.Millisecond)
		if portable {
			return
		}
		s.Rate = 0
		closed := measure(t, s)
		assert.Less(t, closed.Latency.Quantile(0.75), open.Latency.Quantile(0.75), "the closed loop does not ask, and so does not see")
	})
}

// With the clock in the test's hands: message k is due at 10 + k ms on connection k%2. The
// server answers at once but for the time from 20 to 30 ms.
func TestAccountOfAPause(t *testing.T) {
	const ms = time.Millisecond
	a := account{schedule: schedule{start: 10 * ms, rate: 1000, conns: 2}, from: 12 * ms, to: 40 * ms,
		latency: NewHistogram(), late: NewHistogram()}
	assert.Equal(t, 15*ms, a.due(5))
	assert.Equal(t, 1, a.on(5))
	assert.Equal(t, a.due(5), a.dueOn(1, 2))
	for k := range int64(30) {
		now := a.due(k)
		if now >= 20*ms && now < 30*ms {
			now = 30 * ms
		}
		a.enter(now >= a.from && now < 39*ms)
		a.sent(k, now) // the generator stood still with it
		a.back(a.on(k), k/2, now)
	}
	assert.EqualValues(t, 27, a.sentIn, "those due from 12 to 40, but for the last, which came late")
	assert.EqualValues(t, 27, a.backIn)
	assert.EqualValues(t, 28, a.latency.TotalCount())
	within := func(want, got time.Duration) { t.Helper(); assert.InDelta(t, want, got, float64(want)/500) }
	assert.Zero(t, a.latency.Quantile(0.5))
	within(10*ms, a.latency.Quantile(1))
	within(10*ms, a.late.Quantile(1))
	late := int64(0)
	for _, bar := range a.latency.Distribution() {
		if bar.From > 0 {
			late += bar.Count
		}
	}
	assert.EqualValues(t, 10, late, "all that were due in the pause are late, not one alone")

	a.missing(0, 12, 15, 50*ms) // due at 34, 36, 38
	assert.EqualValues(t, 3, a.lost)
	within(16*ms, a.latency.Quantile(1))
	a.missing(1, 15, 20, 50*ms) // due at 41 and later: none of the window's
	assert.EqualValues(t, 3, a.lost)
}

func TestChurnConnectsAgain(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		r := measure(t, Spec{Addr: echo(t, nil), Connections: 4, Depth: 2, Churn: 3, Portable: portable, Window: 500 * time.Millisecond})
		assert.Positive(t, r.Connects)
		assert.InDelta(t, 4*r.Connects, r.Messages, 4*8+4)
		assert.Positive(t, r.Connect.TotalCount())
	})
}

func TestSlowReadersDoNotCount(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		r := measure(t, Spec{Addr: echo(t, nil), Connections: 2, Slow: 2, Portable: portable, Window: time.Second})
		assert.Positive(t, r.Messages)
		assert.GreaterOrEqual(t, r.Latency.TotalCount(), r.Messages)
		assert.LessOrEqual(t, r.Latency.TotalCount(), r.Messages+2)
	})
}

func TestWhatTheServerDoesWrongIsSaid(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		exe, err := os.Executable()
		require.NoError(t, err)
		for want, serve := range map[string]func() func([]byte) []byte{
			"not what was sent": func() func([]byte) []byte {
				return func(p []byte) []byte { p[len(p)-1]++; return p }
			},
			"the server ended": func() func([]byte) []byte {
				return func(p []byte) []byte { return nil }
			},
		} {
			p, n, err := Start(exe, Spec{Addr: echo(t, serve()), Connections: 3, Window: time.Second, Portable: portable}, nil)
			assert.ErrorContains(t, err, want)
			assert.Zero(t, n)
			p.Close()
		}
		var count atomic.Int64
		p, _, err := Start(exe, Spec{Addr: echo(t, func(p []byte) []byte {
			if count.Add(1) > 200 {
				return nil
			}
			return p
		}), Connections: 3, Window: 10 * time.Second, Portable: portable}, nil)
		require.NoError(t, err)
		_, err = p.Run(nil)
		assert.ErrorContains(t, err, "the server ended the connection")
		p.Close()
	})
}

func TestHeldConnectionsEchoOnDemand(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		exe, err := os.Executable()
		require.NoError(t, err)
		p, n, err := Start(exe, Spec{Addr: echo(t, nil), Idle: 500, Source: 3, Portable: portable}, nil)
		require.NoError(t, err)
		assert.Equal(t, 500, n)
		for range 3 {
			require.NoError(t, p.Echo())
		}
		p.Close()
	})
}

func TestNobodyListens(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l.Close()
		exe, err := os.Executable()
		require.NoError(t, err)
		p, n, err := Start(exe, Spec{Addr: l.Addr().(*net.TCPAddr).AddrPort(), Connections: 1, Portable: portable}, nil)
		assert.ErrorContains(t, err, "connection refused")
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.Zero(t, n)
		p.Close()
	})
}

func TestBadSpecs(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:7000")
	for _, s := range []Spec{
		{}, {Addr: addr}, {Addr: addr, Connections: -1}, {Addr: addr, Connections: 1, Size: -1},
		{Addr: addr, Connections: 1, Depth: 2000}, {Addr: addr, Connections: 1, Rate: -1},
		{Addr: addr, Connections: 1, Rate: 5, Churn: 5}, {Addr: addr, Idle: 1, Window: 1}, {Addr: addr, Connections: 1, Churn: -1},
	} {
		assert.Error(t, s.Check(), "%+v", s)
	}
	assert.NoError(t, Spec{Addr: addr, Connections: 1}.Check())
}

func TestHistogramsMergeAndTravel(t *testing.T) {
	a, b := NewHistogram(), NewHistogram()
	for i := range 1000 {
		a.Add(time.Duration(i) * time.Microsecond)
		b.Add(time.Duration(1000+i) * time.Microsecond)
	}
	b.Add(time.Hour)
	text, err := json.Marshal(Result{Latency: b})
	require.NoError(t, err)
	var r Result
	require.NoError(t, json.Unmarshal(text, &r))
	assert.True(t, b.Equals(r.Latency.Histogram))
	a.Merge(r.Latency)
	a.Merge(nil)
	assert.EqualValues(t, 2001, a.TotalCount())
	assert.InDelta(t, time.Millisecond, a.Quantile(0.5), float64(2*time.Microsecond))
	assert.InDelta(t, time.Minute, a.Quantile(1), float64(time.Second), "longer than the longest counts as that")
}

func TestSourcesBeyondOnesPorts(t *testing.T) {
	assert.Equal(t, "127.0.0.1", source(0, 0).String())
	assert.Equal(t, "127.0.0.1", source(0, PerSource-1).String())
	assert.Equal(t, "127.0.0.2", source(0, PerSource).String())
	assert.Equal(t, "127.0.1.4", source(258, PerSource).String())
}

// The generator ends when the process that started it is gone: its input ends then.
func TestTheGeneratorEndsWithItsInput(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	p, err := launch(exe, nil)
	require.NoError(t, err)
	require.NoError(t, p.orders.Encode(order{Spec: &Spec{Addr: echo(t, nil), Connections: 1, Window: time.Minute}}))
	var w word
	require.NoError(t, p.words.Decode(&w))
	require.NoError(t, p.orders.Encode(order{Verb: "run"}))
	p.in.Close()
	for err = nil; err == nil; {
		err = p.words.Decode(&w)
		assert.Nil(t, w.Result)
	}
	assert.ErrorIs(t, err, io.EOF)
	assert.NoError(t, p.cmd.Wait())
}

// messages is a server that reads a message of 64 bytes at a time and sends back what answer
// says of the nth on its connection, from 0.
func messages(t *testing.T, answer func(n int, p []byte) []byte) netip.AddrPort {
	t.Helper()
	return listen(t, func(c net.Conn) {
		p := make([]byte, 64)
		for n := 0; ; n++ {
			if _, err := io.ReadFull(c, p); err != nil {
				return
			}
			if _, err := c.Write(answer(n, p)); err != nil {
				return
			}
		}
	})
}

// A server that can do 100 messages a second and is asked for 250 answers all of them, in
// the end. Only those of the window count, beside the processor time of the window.
func TestWhatComesBackAfterTheWindowDoesNotCount(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		t.Parallel()
		addr := messages(t, func(n int, p []byte) []byte {
			time.Sleep(10 * time.Millisecond)
			return p
		})
		r := measure(t, Spec{Addr: addr, Connections: 1, Rate: 250, Window: 200 * time.Millisecond, Portable: portable})
		assert.InDelta(t, 50, r.Due, 1)
		assert.LessOrEqual(t, float64(r.Messages), r.Seconds*100+2)
		assert.LessOrEqual(t, r.Answered, r.Messages)
		if r.Seconds < 0.3 { // the clients were not held up themselves
			assert.Less(t, r.Answered, r.Due*2/3)
		}
		assert.Zero(t, r.Lost, "they came in the end")
		assert.Equal(t, r.Due, r.Latency.TotalCount(), "and are known to be late")
	})
}

// fails is the error of a load that cannot go well.
func fails(t *testing.T, s Spec) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	p, _, err := Start(exe, s, nil)
	require.NoError(t, err)
	defer p.Close()
	_, err = p.Run(nil)
	require.Error(t, err)
	return err.Error()
}

func TestAServerThatStopsAnsweringIsSaid(t *testing.T) {
	for name, s := range map[string]Spec{
		"closed": {Connections: 3, Depth: 2}, "closed, net": {Connections: 3, Depth: 2, Portable: true},
		"open": {Connections: 3, Rate: 1000}, "open, net": {Connections: 3, Rate: 1000, Portable: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.Window, s.Server = time.Second, os.Getpid()
			s.Addr = messages(t, func(n int, p []byte) []byte {
				if n > 1 {
					return nil
				}
				return p
			})
			text := fails(t, s)
			if s.Rate == 0 {
				assert.Contains(t, text, "the server does not answer: 6 messages on 3 connections are not back, the oldest after ")
			}
			assert.Contains(t, text, "messages on 3 connections are not back, the oldest after ")
			assert.Contains(t, text, "the last answer on any connection came ")
			if runtime.GOOS == "linux" {
				assert.Contains(t, text, "s of that the server used ")
			}
			s.Addr = messages(t, func(n int, p []byte) []byte {
				if n > 0 {
					return nil
				}
				return p
			})
			assert.Contains(t, fails(t, s), "nothing has come back since the load began")
		})
	}
}

// One client that is forgotten, while the others are served, is not lost in the crowd.
func TestAForgottenClientIsSaid(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		t.Parallel()
		var first atomic.Bool
		addr := echo(t, nil)
		forget := messages(t, func(n int, p []byte) []byte {
			if n == 2 && first.CompareAndSwap(false, true) {
				return nil
			}
			return p
		})
		text := fails(t, Spec{Addr: forget, Connections: 20, Window: time.Second, Portable: portable})
		assert.Contains(t, text, "1 message on 1 connection is not back")
		assert.Positive(t, measure(t, Spec{Addr: addr, Connections: 20, Window: 300 * time.Millisecond, Portable: portable}).Messages)
	})
}

func TestAServerThatNeverAnswersIsSaid(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		t.Parallel()
		exe, err := os.Executable()
		require.NoError(t, err)
		addr := messages(t, func(int, []byte) []byte { return nil })
		p, n, err := Start(exe, Spec{Addr: addr, Connections: 3, Patience: time.Second, Portable: portable}, nil)
		assert.ErrorContains(t, err, "its first message has not come back within 1s")
		assert.Zero(t, n)
		p.Close()
	})
}

func TestWhatASilentServerDoes(t *testing.T) {
	assert.Contains(t, verdict(4*time.Second, 3*time.Second, 0), "used 3.00 s of processor: it runs all the time")
	assert.Contains(t, verdict(4*time.Second, time.Second, 3*time.Second), "waited 3.0 s for one: the machine is busy")
	assert.Contains(t, verdict(4*time.Second, time.Millisecond, 0), "it sleeps")
	assert.Equal(t, "used 1.00 s of processor", verdict(4*time.Second, time.Second, 0))

	s := silence{server: os.Getpid()}
	s.begin(7, time.Second)
	assert.Empty(t, s.doing(5*time.Second), "it has not been looked at")
	assert.Equal(t, time.Second, s.heard(7, 2*time.Second))
	if runtime.GOOS == "linux" {
		assert.Contains(t, s.doing(5*time.Second), "in 3.0 s of that the server used ")
	}
	assert.Zero(t, s.heard(8, 3*time.Second))
	assert.Empty(t, s.doing(5*time.Second))
}

func TestTheWindowIsMarked(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		exe, err := os.Executable()
		require.NoError(t, err)
		p, _, err := Start(exe, Spec{Addr: echo(t, nil), Connections: 1, Window: 50 * time.Millisecond, Portable: portable}, nil)
		require.NoError(t, err)
		defer p.Close()
		var marks []bool
		_, err = p.Run(func(begins bool) { marks = append(marks, begins) })
		require.NoError(t, err)
		assert.Equal(t, []bool{true, false}, marks)
	})
}

// Messages that are longer than the sockets have room for, several on each connection: who
// writes must not wait for what nobody reads.
func TestLargeMessages(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		r := measure(t, Spec{Addr: echo(t, nil), Connections: 3, Depth: 8, Size: MaxSize, Portable: portable, Window: 400 * time.Millisecond})
		assert.Positive(t, r.All)
	})
}

// What a connection costs the clients is bounded, also with package net.
func TestTheClientsMemoryIsSmall(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the memory of another process is not known here")
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	const most = 150 << 20 // the race detector has the larger part of it
	both(t, func(t *testing.T, portable bool) {
		for _, s := range []Spec{{Depth: 1}, {Rate: 1000}, {Depth: 8, Size: 64 << 10}} {
			s.Addr, s.Connections, s.Window, s.Portable = echo(t, nil), 400, 200*time.Millisecond, portable
			s.Patience = time.Minute
			p, _, err := Start(exe, s, nil)
			require.NoError(t, err)
			_, err = p.Run(nil)
			require.NoError(t, err)
			size, err := probe.RSS(p.PID())
			require.NoError(t, err)
			assert.Less(t, size, int64(most), "%d connections, %+v", s.Connections, s)
			p.Close()
		}
	})
}
