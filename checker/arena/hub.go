package arena

import (
	"context"
	"sync"
)

// hub hands the newest view to whoever waits for one, and has the map of the run. Both
// are encoded once, however many windows watch.
type hub struct {
	mu      sync.Mutex
	world   []byte
	view    []byte
	number  uint64
	changed chan struct{} // closed when there is a newer one
}

func newHub() *hub { return &hub{changed: make(chan struct{}), world: []byte("null")} }

// setMap is for a new run.
func (h *hub) setMap(m []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.world = m
}

// Map implements source.
func (h *hub) Map() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.world
}

// publish makes view, which must not be changed any more, the newest.
func (h *hub) publish(view []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.view = view
	h.number++
	close(h.changed)
	h.changed = make(chan struct{})
}

// Next waits until there is a view other than that with the number seen.
func (h *hub) Next(ctx context.Context, seen uint64) ([]byte, uint64, error) {
	for {
		h.mu.Lock()
		view, number, changed := h.view, h.number, h.changed
		h.mu.Unlock()
		if number != seen {
			return view, number, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}
