package arena

import (
	"context"
	"encoding/json"
	"math"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the tests wait for takes milliseconds on a quiet machine.
const (
	waitFor = time.Minute
	poll    = 20 * time.Millisecond
)

// fake is an arena without a server: some hundred players on their ways, and a list of
// what was asked of it.
type fake struct {
	*hub
	mu    sync.Mutex
	asked []string // "bots n=500"
}

func newFake() *fake {
	f := &fake{hub: newHub()}
	m := Map{Run: 1, Width: 128, Height: 128, Cell: 8, Walls: make([]byte, 128*128)}
	for i := range m.Walls {
		m.Walls[i] = byte(i * 7919 % 97 / 96)
	}
	text, _ := json.Marshal(m)
	f.setMap(text)
	return f
}

func (f *fake) Do(_ context.Context, control string, form url.Values) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, control+" "+form.Encode())
	if form.Get("n") == "13" {
		return "", askf("13 bots are too many")
	}
	return control + " done", nil
}

func (f *fake) wasAsked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

// view is the fake's world after n twentieths of a second.
func (f *fake) view(n int) View {
	v := View{Run: 1, Engine: "epoll-et", How: "native", MaxBots: 19000, Wanted: 400, Budget: 1000.0 / 60,
		Engines: []Engines{{"yours", []string{"select", "epoll-et"}}, {"solutions", []string{"solutions/select"}}},
		Say:     "400 players at 60 ticks a second.", Topic: "steady", Tick: uint64(3 * n), Players: 400,
		Frozen: []uint32{17}, Client: 17, Sample: uint64(n / 2)}
	v.Stats = Stats{Tick: 1, TickP99: 2 + math.Sin(float64(n)/7), Late: .2, Rate: 60, BytesOut: 3e6, CPU: 40, Calls: 9000, Overruns: uint64(n / 100)}
	for id := range uint32(400) {
		a := float64(n)/40 + float64(id)
		r := .05 + .45*float64(id)/400
		v.Where = appendPlayer(v.Where, id+1, uint16(65535*(.5+r*math.Cos(a))), uint16(65535*(.5+r*math.Sin(a))))
	}
	return v
}

// run publishes until the test is over.
func (f *fake) run(t *testing.T) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped })
	go func() {
		defer close(stopped)
		for n := 1; ; n++ {
			text, err := json.Marshal(f.view(n))
			if err != nil {
				panic(err)
			}
			f.publish(text)
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
}

// serve serves src as the arena does, until the test is over.
func serve(t *testing.T, src source) *web {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := newWeb(l.Addr(), src)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serveWeb(ctx, l, w) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return w
}
