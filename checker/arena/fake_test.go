package arena

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
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
