package gameserver

import "encoding/json"

// Stats is a line of the server's statistics (-json-stats): counters since its start,
// durations in microseconds.
type Stats struct {
	Engine   string    `json:"engine"`
	How      string    `json:"how"`     // "native" or "emulated"
	Timer    string    `json:"timer"`   // what a wait is rounded up to
	Seconds  float64   `json:"seconds"` // since the start
	Rate     int       `json:"rate"`
	Ticks    uint64    `json:"ticks"`
	Dropped  uint64    `json:"dropped"`
	Overruns uint64    `json:"overruns"`
	Late     Quantiles `json:"late_us"` // of the last second
	Busy     Quantiles `json:"busy_us"`
	SysCalls uint64    `json:"syscalls"`

	Server struct{ BytesIn, BytesOut uint64 } `json:"server"`

	Game struct {
		Tick         uint32
		Players      int
		Slow         uint64 // clients dropped because they did not take what they were sent
		Refused      uint64
		Replaced     uint64 // snapshots not sent to a slow client
		Snapshots    uint64
		InputsQueued int
	} `json:"game"`
}

// Quantiles are of durations, in microseconds.
type Quantiles struct{ P50, P99, Max float64 }

func parseStats(line string) (s Stats, ok bool) {
	return s, json.Unmarshal([]byte(line), &s) == nil && s.Rate > 0
}
