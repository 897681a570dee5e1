package serve

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"iolab/lessons/engine"
)

// start runs a server as its main does, with an echo on the engine of newEngine.
func start(args []string, logTo io.Writer, newEngine func(engine.Config, engine.Handler) (engine.Engine, error)) int {
	return run(args, strings.NewReader(""), io.Discard, logTo, Service{
		New: func(cfg engine.Config, timed func(engine.Handler) engine.Handler) (engine.Engine, error) {
			return newEngine(cfg, timed(engine.Echo{}))
		},
	})
}

func TestBadFlagsAreSaidAndExitWith2(t *testing.T) {
	for _, args := range [][]string{
		{"-nonsense"},
		{"127.0.0.1:7000"},
		{"-addr", "localhost:7000"},
		{"-low-water", "10", "-high-water", "5"},
		{"-read-budget", "0"},
		{"-idle-timeout", "soon"},
	} {
		var out bytes.Buffer
		assert.Equal(t, 2, start(args, &out, nil), args)
		assert.NotEmpty(t, out.String(), args)
	}
}

func TestHelpExitsWith0(t *testing.T) {
	assert.Equal(t, 0, start([]string{"-help"}, io.Discard, nil))
}

func TestAnEngineThatDoesNotStartIsSaid(t *testing.T) {
	var out bytes.Buffer
	code := start(nil, &out, func(engine.Config, engine.Handler) (engine.Engine, error) {
		return nil, errors.New("no luck")
	})
	assert.Equal(t, 1, code)
	assert.Contains(t, out.String(), "no luck")
}

func TestAStepThatIsNotWrittenIsSaid(t *testing.T) {
	var out bytes.Buffer
	code := start(nil, &out, func(engine.Config, engine.Handler) (engine.Engine, error) {
		panic(engine.NotImplemented("01.1", "Engine.listen"))
	})
	assert.Equal(t, 3, code)
	assert.Contains(t, out.String(), "step 01.1 is not written yet: Engine.listen")
}

func TestTheLimitThatRefusesIsNamed(t *testing.T) {
	s := engine.Stats{Connections: 3}
	assert.Contains(t, whyRefused(s, engine.Config{MaxConnections: 3}), "-max-connections allows, 3")
	s.Calls[engine.CallSelect] = 1
	assert.Contains(t, whyRefused(s, engine.Config{}), "FD_SETSIZE")
}

func TestOtherPanicsGoOn(t *testing.T) {
	assert.PanicsWithValue(t, "a bug", func() {
		start(nil, io.Discard, func(engine.Config, engine.Handler) (engine.Engine, error) { panic("a bug") })
	})
}
