package engine

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQueueKeepsOrderAndStaysSmall(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var q Queue
	var want []byte
	for range 10_000 {
		if random.IntN(2) == 0 {
			p := make([]byte, random.IntN(500))
			for i := range p {
				p[i] = byte(random.Int())
			}
			q.Append(p)
			want = append(want, p...)
		} else {
			n := random.IntN(len(want) + 1)
			q.Discard(n)
			want = want[n:]
		}
		require.Equal(t, len(want), q.Len())
		require.True(t, bytes.Equal(want, q.Bytes()))
	}
	q.Discard(q.Len())
	assert.Nil(t, q.buf, "an empty queue keeps no memory")
}

func TestQueueCopiesWhatItIsGiven(t *testing.T) {
	var q Queue
	p := []byte("abc")
	q.Append(p)
	p[0] = 'x'
	assert.Equal(t, "abc", string(q.Bytes()))
}

func TestQueueDoesNotGrowWhileItIsUsedUp(t *testing.T) {
	var q Queue
	chunk := make([]byte, 1000)
	q.Append(chunk)
	for range 10_000 { // 10 MB pass through, never more than 2000 bytes at a time
		q.Append(chunk)
		q.Discard(len(chunk))
	}
	assert.Less(t, cap(q.buf), 16*len(chunk))
}

func TestZeroConfigGetsDefaults(t *testing.T) {
	cfg := Config{HighWater: 1000, IdleTimeout: time.Second}.WithDefaults()
	assert.Equal(t, "127.0.0.1:0", cfg.Addr)
	assert.Equal(t, 1000, cfg.HighWater)
	assert.Equal(t, 250, cfg.LowWater)
	assert.Equal(t, 16_000, cfg.HardLimit)
	assert.Equal(t, time.Second, cfg.IdleTimeout)
	assert.Positive(t, cfg.Backlog)
	assert.Positive(t, cfg.ReadBudget)
	assert.Zero(t, cfg.MaxConnections, "no limit is a limit of 0")
}

func TestListenAddrSaysWhatItWants(t *testing.T) {
	_, err := Config{Addr: "localhost:7000"}.ListenAddr()
	assert.ErrorContains(t, err, `listen on "localhost:7000": want a numeric host`)
	_, err = Config{Addr: "[fe80::1%eth0]:7000"}.ListenAddr()
	assert.ErrorContains(t, err, "no zones (%eth0): listen on [::]")
}

func TestEveryCallHasAName(t *testing.T) {
	for c := range NumCalls {
		assert.NotEmpty(t, c.String())
	}
}

func TestTotalAddsUp(t *testing.T) {
	var s Stats
	s.Calls[CallRead], s.Calls[CallEpollWait] = 3, 4
	assert.Equal(t, uint64(7), s.Total())
}

// fakeConn counts what the echo service does with it.
type fakeConn struct {
	Identity
	sent   []byte
	err    error
	closed int
}

func (c *fakeConn) Send(p []byte) error { c.sent = append(c.sent, p...); return c.err }
func (c *fakeConn) Queued() int         { return 0 }
func (c *fakeConn) CloseWrite() error   { return nil }
func (c *fakeConn) Close() error        { c.closed++; return nil }

func TestEchoClosesWhatItCannotEchoWhole(t *testing.T) {
	c := &fakeConn{Identity: NewIdentity(1, netip.AddrPort{})}
	Echo{}.OnData(c, []byte("abc"))
	assert.Equal(t, "abc", string(c.sent))
	assert.Zero(t, c.closed)
	c.err = errors.Join(ErrBackpressure)
	Echo{}.OnData(c, []byte("d"))
	assert.Equal(t, 1, c.closed)
}

func TestTimedNamesTheSlowCallback(t *testing.T) {
	c := &fakeConn{Identity: NewIdentity(7, netip.AddrPort{})}
	var slow []string
	report := func(callback string, c Conn, took time.Duration) {
		assert.Equal(t, uint64(7), c.ID())
		assert.Positive(t, took)
		slow = append(slow, callback)
	}
	h := &Timed{Handler: Echo{}, Budget: -1, Report: report} // everything takes longer than this
	h.OnData(c, []byte("x"))
	assert.Empty(t, slow, "it is off")
	h.On.Store(true)
	h.OnOpen(c)
	h.OnData(c, []byte("x"))
	h.OnClose(c, nil)
	assert.Equal(t, []string{"OnOpen", "OnData", "OnClose"}, slow)
	h.Budget, slow = time.Hour, nil
	h.OnData(c, []byte("x"))
	assert.Empty(t, slow)
	assert.Equal(t, "xxx", string(c.sent))
}
