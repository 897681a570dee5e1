//go:build linux

package loops_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"iolab/checker/conformance"
	"iolab/checker/labtest"
	"iolab/checker/probe"
	"iolab/lessons/engine"
	"iolab/lessons/engine/loops"
	uringloop "iolab/solutions/06-io_uring"
)

// What lesson 03 asks of its own loops holds for these too; lesson 06's engine is one that
// runs on them.
var two = conformance.Of(func(cfg engine.Config, h engine.Handler) (*loops.Loops, error) {
	if _, err := probe.IOUring(); err != nil {
		return nil, err
	}
	return uringloop.NewLoops(2, cfg, h, uringloop.Options{})
})

func TestTheyServe(t *testing.T) { conformance.SeveralLoopsServe(t, two) }

func TestTheyShareTheWork(t *testing.T) { conformance.SeveralLoopsShareTheWork(t, two) }

func TestEachKeepsItsThread(t *testing.T) { conformance.SeveralLoopsKeepTheirThreads(t, two) }

func TestStatsFromAnywhere(t *testing.T) { conformance.StatsFromAnywhere(t, two) }

func TestWakeMakesPollReturn(t *testing.T) {
	conformance.WakeMakesPollReturn(t, two, labtest.SeveralLoops())
}

func TestShutdownSendsWhatIsQueued(t *testing.T) {
	conformance.ShutdownSendsWhatIsQueued(t, two, labtest.SeveralLoops())
}

func TestShutdownKeepsItsDeadline(t *testing.T) {
	conformance.ShutdownKeepsItsDeadline(t, two, labtest.SeveralLoops())
}

func TestCloseEndsEverything(t *testing.T) {
	conformance.CloseEndsEverything(t, two, labtest.SeveralLoops())
}

// closer is an engine of which only the end is of interest.
type closer struct {
	engine.Engine
	closed int
}

func (c *closer) Close() error { c.closed++; return nil }

func TestWhenOneCannotBeMadeTheOthersAreClosed(t *testing.T) {
	cannot := errors.New("no more")
	first := &closer{}
	_, err := loops.New(3, engine.Config{}, func(engine.Config, *loops.Port) (engine.Engine, error) {
		if first.Engine != nil {
			return nil, cannot
		}
		e, err := uringloop.New(engine.Config{}, engine.Echo{})
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { e.Close() })
		first.Engine = e
		return first, nil
	})
	assert.ErrorIs(t, err, cannot)
	assert.Equal(t, 1, first.closed)
}
