package catalogue

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/lessons/engine"
	"iolab/lessons/engine/engines"
)

// The table of engines by name and the table of lessons say the same.
func TestEveryLessonThatRunsHereHasItsEngine(t *testing.T) {
	byLesson := map[int][]engines.Engine{}
	for _, e := range engines.All() {
		byLesson[e.Lesson] = append(byLesson[e.Lesson], e)
	}
	for _, l := range All()[:6] {
		run := l.Runs(runtime.GOOS)
		if !run.OK() {
			assert.Empty(t, byLesson[l.Number], "%s does not run here", l.Folder)
			continue
		}
		require.Len(t, byLesson[l.Number], 2, "%s: the reader's engine and the solution's", l.Folder)
		for _, e := range byLesson[l.Number] {
			assert.Equal(t, l.Folder[3:], strings.TrimPrefix(e.Name, engines.Solutions))
			assert.Equal(t, run.How, e.How, e.Name)
			assert.NotEmpty(t, e.Timer, e.Name)
		}
		assert.NotEqual(t, byLesson[l.Number][0].Solution(), byLesson[l.Number][1].Solution())
	}
}

func TestEnginesAreFoundByName(t *testing.T) {
	for _, e := range engines.All() {
		found, err := engines.Find(e.Name, "")
		require.NoError(t, err)
		assert.Equal(t, e.Name, found.Name)
		if e.Solution() {
			server, err := e.New(engine.Config{}, engine.Echo{})
			if assert.NoError(t, err, e.Name) {
				assert.True(t, server.Addr().IsValid())
				assert.NoError(t, server.Close())
			}
		}
	}
	found, err := engines.Find(engines.Default, engines.Solutions)
	require.NoError(t, err)
	assert.True(t, found.Solution())
	found, err = engines.Find("lessons/"+engines.Default, engines.Solutions)
	require.NoError(t, err)
	assert.False(t, found.Solution())
	_, err = engines.Find("epoll", "")
	assert.ErrorContains(t, err, `there is no engine "epoll": choose select`)
	_, err = engines.Find("solutions/nonsense", "")
	assert.ErrorContains(t, err, "no engine")
}
