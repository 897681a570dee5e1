package gameloop

import (
	"slices"

	"iolab/lessons/engine"
)

//lint:file-ignore U1000 most of it waits for its step

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
//
// TODO step 3: one axis, then the other, each as far as nothing is in the way. Keep the grid up to date if
// the cell changes, and the sequence number.
func (w *World) Apply(slot int32, in Input) {
	panic(engine.NotImplemented("07.3", "World.Apply"))
}

// blocked says whether the player of slot cannot be at x, y: a wall or another player
// is there.
//
// TODO step 3: is a wall under the square around x, y, or another player less than 2*Radius away in both
// directions? Look in all cells of the grid that such a player can be in.
func (w *World) blocked(slot, x, y int32) bool {
	panic(engine.NotImplemented("07.3", "World.blocked"))
}

func abs(x int32) int32 { return max(x, -x) }

// Cell is the cell of the spatial grid that the player of slot is in.
func (w *World) Cell(slot int32) int32 { return w.cellAt(w.Players[slot].X, w.Players[slot].Y) }

func (w *World) cellAt(x, y int32) int32 { return y/cellSize*w.columns + x/cellSize }

// Near appends to dst the slots of the players in cell and in the eight around it, or
// of all players if cell is -1.
//
// TODO step 3: walk the lists of the cell and of its neighbours, as far as the world goes; -1 is everybody,
// in the order of the slots.
func (w *World) Near(dst []int32, cell int32) []int32 {
	panic(engine.NotImplemented("07.3", "World.Near"))
}

// isNear says whether Near(nil, cell) has slot.
//
// TODO step 9: is the player's cell this one, or next to it?
func (w *World) isNear(slot, cell int32) bool {
	if cell >= 0 {
		panic(engine.NotImplemented("07.9", "World.isNear"))
	}
	return w.Players[slot].ID != 0
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
//
// TODO step 3: mix every field of every player that is there into one number.
func (w *World) Hash() uint64 {
	panic(engine.NotImplemented("07.3", "World.Hash"))
}
