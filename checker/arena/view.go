package arena

// View is the arena at one moment, as the page is sent it, twenty times a second.
// Fields are only ever added.
type View struct {
	Run     int       `json:"run"`    // which server this is, counted from 1
	Engine  string    `json:"engine"` // such as "epoll-et" or "solutions/epoll-et"
	How     string    `json:"how"`    // "native", "emulated"
	Timer   string    `json:"timer"`  // what the engine's wait is rounded up to
	Engines []Engines `json:"engines"`
	MaxBots int       `json:"maxBots"`
	Wanted  int       `json:"wanted"` // bots asked for
	Client  uint32    `json:"client"` // a player that can be frozen
	Budget  float64   `json:"budget"` // of a tick, in milliseconds

	Say   string `json:"say"`   // what is being seen, in a sentence
	Topic string `json:"topic"` // changes when the sentence is about something else
	Mood  string `json:"mood"`  // "", "look" or "bad"

	Tick    uint64   `json:"tick"`
	Players int      `json:"players"`
	Frozen  []uint32 `json:"frozen"` // players whose client does not read
	Where   []byte   `json:"where"`  // the players are: 8 bytes each, see appendPlayer

	Sample uint64 `json:"sample"` // the number of the statistics line below
	Stats  Stats  `json:"stats"`
}

// Engines are those that the server can be restarted with.
type Engines struct {
	Whose string   `json:"whose"` // "yours", "solutions"
	Names []string `json:"names"`
}

// Map is the world without its players. It is the same for a whole run.
type Map struct {
	Run    int    `json:"run"`
	Width  int    `json:"width"` // in tiles
	Height int    `json:"height"`
	Cell   int    `json:"cell"`  // tiles to a cell of the spatial grid, in each direction
	Walls  []byte `json:"walls"` // a byte a tile, row by row: 1 is a wall
}

// appendPlayer appends a player: the number, then x and y as parts of the world's
// size in 65535ths, little-endian, 4 + 2 + 2 bytes.
func appendPlayer(b []byte, id uint32, x, y uint16) []byte {
	return append(b, byte(id), byte(id>>8), byte(id>>16), byte(id>>24), byte(x), byte(x>>8), byte(y), byte(y>>8))
}

// Stats are what the server says. Times are in milliseconds and, like the rates, of
// the last second; the others count from its start.
type Stats struct {
	Tick     float64 `json:"tick"` // how long the ticks of a turn and their broadcast took: the median
	TickP99  float64 `json:"tickP99"`
	Late     float64 `json:"late"`     // after its time a tick began: the 99th percentile
	Latest   float64 `json:"latest"`   // and the greatest
	Rate     float64 `json:"rate"`     // ticks a second
	BytesOut float64 `json:"bytesOut"` // a second
	Calls    float64 `json:"calls"`    // system calls a second
	CPU      float64 `json:"cpu"`      // percent of one processor; -1: cannot be seen here
	Behind   float64 `json:"behind"`   // clients that were sent nothing, at the average tick
	Inputs   float64 `json:"inputs"`   // that wait for their tick
	Overruns uint64  `json:"overruns"` // turns that took longer than a tick has
	Dropped  uint64  `json:"dropped"`  // ticks
	Replaced uint64  `json:"replaced"` // snapshots that a newer one took the place of
	Kicked   uint64  `json:"kicked"`   // clients that were dropped for not reading
}
