package gameloop

import "slices"

// The world is a grid of tiles, some of them walls, on which players move and collide.
// It is deterministic: all numbers are integers, nothing asks for the time or for
// chance, and nothing depends on the order of a map. The same calls lead to the same
// [World.Hash], on every machine.

// Distances are in the world's unit, of which a tile has 256.
const (
	Tile     = 256
	Radius   = 96 // half the side of a player, who is a square
	MaxSpeed = 64 // the longest step of a tick: less than Radius, so that nobody jumps through a wall

	cellTiles = 8 // side of a cell of the spatial grid
	cellSize  = cellTiles * Tile
)

// MaxPlayers is the most a world can hold: a snapshot counts in 16 bits.
const MaxPlayers = 1<<16 - 1

// Player is the state of one player, and all of it: what a snapshot says of it. ID 0
// is nobody.
type Player struct {
	ID       uint32 // never used again
	X, Y     int32  // the centre
	Sequence uint32 // of the last input that was applied
}

// World is the state of the simulation.
type World struct {
	Width, Height int32    // in tiles
	Players       []Player // by slot; a slot is used again, an ID never

	seed   uint64
	walls  []bool // by tile; never changes, so copies of the world share it
	free   []int32
	lastID uint32

	// The spatial grid: for each cell a list of the players in it, linked through
	// next and prev.
	columns, rows int32
	head          []int32 // by cell: the first slot, -1 if there is none
	next, prev    []int32 // by slot
}

// NewWorld returns an empty world of width by height tiles with room for so many
// players. The walls follow from the seed.
func NewWorld(width, height int, seed uint64, players int) *World {
	w := &World{
		Width: int32(width), Height: int32(height),
		Players: make([]Player, players),
		seed:    seed,
		walls:   make([]bool, width*height),
		free:    make([]int32, players),
		columns: int32(width+cellTiles-1) / cellTiles, rows: int32(height+cellTiles-1) / cellTiles,
		next: make([]int32, players), prev: make([]int32, players),
	}
	w.head = make([]int32, w.columns*w.rows)
	for i := range w.head {
		w.head[i] = -1
	}
	for i := range w.free {
		w.free[i] = int32(players - 1 - i) // the lowest slot is taken first
	}
	for i := range w.walls {
		x, y := i%width, i/width
		border := x == 0 || y == 0 || x == width-1 || y == height-1
		w.walls[i] = border || mix(seed+uint64(i))%16 == 0
	}
	return w
}

// mix is splitmix64: a fixed scramble, not chance.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// IsWall says whether the tile at column x, row y is a wall; all outside is.
func (w *World) IsWall(x, y int32) bool {
	return x < 0 || y < 0 || x >= w.Width || y >= w.Height || w.walls[y*w.Width+x]
}

// Spawn puts a new player on a free tile and returns its slot, or false if there is no
// room. The place follows from the player's number.
func (w *World) Spawn() (slot int32, ok bool) {
	if len(w.free) == 0 {
		return 0, false
	}
	slot = w.free[len(w.free)-1]
	tiles := uint64(len(w.walls))
	first := mix(w.seed ^ uint64(w.lastID+1)<<32)
	for i := range tiles {
		at := int32((first + i) % tiles)
		x, y := at%w.Width*Tile+Tile/2, at/w.Width*Tile+Tile/2
		if w.blocked(slot, x, y) {
			continue
		}
		w.free = w.free[:len(w.free)-1]
		w.lastID++
		w.Players[slot] = Player{ID: w.lastID, X: x, Y: y}
		w.link(slot)
		return slot, true
	}
	return 0, false
}

// Remove takes the player of slot out of the world.
func (w *World) Remove(slot int32) {
	w.unlink(slot)
	w.Players[slot] = Player{}
	w.free = append(w.free, slot)
}

// Apply makes the step that in asks for, as far as walls and players let it go.
func (w *World) Apply(slot int32, in Input) {
	p := &w.Players[slot]
	before := w.cellAt(p.X, p.Y)
	// One axis after the other: who runs into a wall at an angle slides along it.
	dx, dy := int32(in.DX), int32(in.DY)
	for dx != 0 && w.blocked(slot, p.X+dx, p.Y) {
		dx /= 2
	}
	for dy != 0 && w.blocked(slot, p.X+dx, p.Y+dy) {
		dy /= 2
	}
	if w.cellAt(p.X+dx, p.Y+dy) != before {
		w.unlink(slot)
		defer w.link(slot)
	}
	p.X, p.Y, p.Sequence = p.X+dx, p.Y+dy, in.Sequence
}

// blocked says whether the player of slot cannot be at x, y: a wall or another player
// is there.
func (w *World) blocked(slot, x, y int32) bool {
	for ty := (y - Radius) / Tile; ty <= (y+Radius-1)/Tile; ty++ {
		for tx := (x - Radius) / Tile; tx <= (x+Radius-1)/Tile; tx++ {
			if w.IsWall(tx, ty) {
				return true
			}
		}
	}
	const reach = 2 * Radius // two players touch at this distance
	for cy := max(y-reach, 0) / cellSize; cy <= min((y+reach)/cellSize, w.rows-1); cy++ {
		for cx := max(x-reach, 0) / cellSize; cx <= min((x+reach)/cellSize, w.columns-1); cx++ {
			for s := w.head[cy*w.columns+cx]; s >= 0; s = w.next[s] {
				if p := &w.Players[s]; s != slot && abs(p.X-x) < reach && abs(p.Y-y) < reach {
					return true
				}
			}
		}
	}
	return false
}

func abs(x int32) int32 { return max(x, -x) }

// Cell is the cell of the spatial grid that the player of slot is in.
func (w *World) Cell(slot int32) int32 { return w.cellAt(w.Players[slot].X, w.Players[slot].Y) }

func (w *World) cellAt(x, y int32) int32 { return y/cellSize*w.columns + x/cellSize }

// Near appends to dst the slots of the players in cell and in the eight around it, or
// of all players if cell is -1.
func (w *World) Near(dst []int32, cell int32) []int32 {
	if cell < 0 {
		for slot := range w.Players {
			if w.Players[slot].ID != 0 {
				dst = append(dst, int32(slot))
			}
		}
		return dst
	}
	cx, cy := cell%w.columns, cell/w.columns
	for y := max(cy-1, 0); y <= min(cy+1, w.rows-1); y++ {
		for x := max(cx-1, 0); x <= min(cx+1, w.columns-1); x++ {
			for s := w.head[y*w.columns+x]; s >= 0; s = w.next[s] {
				dst = append(dst, s)
			}
		}
	}
	return dst
}

// isNear says whether Near(nil, cell) has slot.
func (w *World) isNear(slot, cell int32) bool {
	if w.Players[slot].ID == 0 {
		return false
	}
	if cell < 0 {
		return true
	}
	at := w.Cell(slot)
	return abs(at%w.columns-cell%w.columns) <= 1 && abs(at/w.columns-cell/w.columns) <= 1
}

func (w *World) link(slot int32) {
	head := &w.head[w.Cell(slot)]
	w.next[slot], w.prev[slot] = *head, -1
	if *head >= 0 {
		w.prev[*head] = slot
	}
	*head = slot
}

func (w *World) unlink(slot int32) {
	if next := w.next[slot]; next >= 0 {
		w.prev[next] = w.prev[slot]
	}
	if prev := w.prev[slot]; prev >= 0 {
		w.next[prev] = w.next[slot]
	} else {
		w.head[w.Cell(slot)] = w.next[slot]
	}
}

// copy returns a world of the same size, with the same walls, to copy w into: see CopyFrom.
func (w *World) copy() *World {
	return &World{
		Width: w.Width, Height: w.Height,
		Players: slices.Clone(w.Players),
		seed:    w.seed,
		walls:   w.walls,
		columns: w.columns, rows: w.rows,
		head: slices.Clone(w.head), next: slices.Clone(w.next),
	}
}

// CopyFrom makes w, which is of the same size, equal to src, as far as a snapshot needs
// it: players and grid. It allocates nothing.
func (w *World) CopyFrom(src *World) {
	copy(w.Players, src.Players)
	copy(w.head, src.head)
	copy(w.next, src.next)
}

// Hash is a fingerprint of the state (FNV-1a): two runs that agree in it at every tick
// are the same run.
func (w *World) Hash() uint64 {
	h := uint64(14695981039346656037)
	add := func(v uint32) {
		for range 4 {
			h = (h ^ uint64(v&0xff)) * 1099511628211
			v >>= 8
		}
	}
	for slot, p := range w.Players {
		if p.ID == 0 {
			continue
		}
		add(uint32(slot))
		add(p.ID)
		add(uint32(p.X))
		add(uint32(p.Y))
		add(p.Sequence)
	}
	return h
}
