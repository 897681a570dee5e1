package bench

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAWindowsProgramIsMeasuredUnderWine(t *testing.T) {
	s, ok := WineSubject()
	if !ok {
		t.Skip("no Wine is installed")
	}
	b := newBench(t)
	r, err := b.Run(context.Background(), Plan{Subjects: []Subject{s}, Rounds: 1, Window: 500 * time.Millisecond,
		Scenarios: []Scenario{{Connections: 3, Depth: 1, Size: 32}}})
	require.NoError(t, err)
	row := r.Rows[0]
	require.Empty(t, row.Problem)
	assert.Equal(t, "Wine", row.Runs)
	assert.Positive(t, row.Median().Rate)
	assert.Empty(t, row.Median().Calls, "it cannot be asked to end")
}
