package gameclient

import (
	"fmt"
	"maps"
)

// View is what a client knows of the world. The zero value knows nothing.
type View struct {
	Tick    uint32
	Players map[uint32]Player // by ID

	kept [History]struct { // the states that a delta may be against
		tick    uint32
		players map[uint32]Player
	}
}

// Apply brings the view up to a snapshot. An error says that the server has sent what
// cannot be: the view stays what it was.
func (v *View) Apply(body []byte) (SnapshotHead, error) {
	h, err := ParseSnapshot(body)
	if err != nil {
		return h, err
	}
	if h.Tick <= v.Tick {
		return h, fmt.Errorf("a snapshot of tick %d after that of tick %d", h.Tick, v.Tick)
	}
	players := map[uint32]Player{}
	if h.Base != 0 {
		base := v.kept[h.Base%History]
		if base.tick != h.Base {
			return h, &BaseError{h.Tick, h.Base}
		}
		players = maps.Clone(base.players)
	}
	for i := range h.Gone {
		id := gone(body, h, i)
		if _, ok := players[id]; !ok {
			return h, &GoneError{h.Tick, h.Base, id}
		}
		delete(players, id)
	}
	for i := range h.Changed {
		p := player(body, i)
		players[p.ID] = p
	}
	v.Tick, v.Players = h.Tick, players
	v.kept[h.Tick%History].tick, v.kept[h.Tick%History].players = h.Tick, players
	return h, nil
}

// BaseError is a snapshot against a base that the client does not have.
type BaseError struct{ Tick, Base uint32 }

func (e *BaseError) Error() string {
	return fmt.Sprintf("the snapshot of tick %d is against that of tick %d, which this client does not have", e.Tick, e.Base)
}

// GoneError is a snapshot that takes away a player whom the client does not have.
type GoneError struct{ Tick, Base, ID uint32 }

func (e *GoneError) Error() string {
	return fmt.Sprintf("the snapshot of tick %d takes player %d away, whom its base (tick %d) does not have", e.Tick, e.ID, e.Base)
}

// Walls is the map that follows from a welcome: by row and column, true where there is
// a wall.
func Walls(w WelcomeBody) [][]bool {
	walls := make([][]bool, w.Height)
	for y := range walls {
		walls[y] = make([]bool, w.Width)
		for x := range walls[y] {
			border := x == 0 || y == 0 || x == w.Width-1 || y == w.Height-1
			walls[y][x] = border || scramble(w.Seed+uint64(y*w.Width+x))%16 == 0
		}
	}
	return walls
}

// scramble is splitmix64.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
