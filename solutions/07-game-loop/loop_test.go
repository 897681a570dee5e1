package gameloop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"iolab/lessons/engine"
)

type still struct{ engine.Engine }

func (still) Poll(time.Duration) error { return nil }

type nothing struct{}

func (nothing) Step()      {}
func (nothing) Broadcast() {}
func (nothing) Shutdown()  {}

func TestTicksAreCountedForYears(t *testing.T) {
	for _, rate := range []int{60, 144, 1000} {
		begin := time.Unix(1, 0)
		now := begin
		l := NewLoop(still{}, nothing{}, LoopConfig{Rate: rate, Now: func() time.Time { return now }})
		const year = 365 * 24 * time.Hour
		now = begin.Add(20*year - 1)
		assert.NoError(t, l.Poll(0))
		want := uint64(20*year/time.Second)*uint64(rate) - 1
		assert.Equal(t, want, l.LoopStats().Ticks+l.LoopStats().Dropped, "a nanosecond before 20 years at %d Hz", rate)
		assert.Equal(t, now.Add(1), l.deadline(l.next))
		now = now.Add(1)
		assert.NoError(t, l.Poll(0))
		assert.Equal(t, want+1, l.LoopStats().Ticks+l.LoopStats().Dropped, "at 20 years")
	}
}
