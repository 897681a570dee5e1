package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChangesAreSeen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "server.go")
	require.NoError(t, os.WriteFile(file, []byte("a"), 0o644))
	changes := Changes(t.Context(), []string{dir})

	time.Sleep(50 * time.Millisecond)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("b"), 0o644))
	select {
	case <-changes:
		assert.Fail(t, "a file that is not Go's should not count")
	case <-time.After(400 * time.Millisecond):
	}

	// As editors do: write another file, and put it in the place.
	begin := time.Now()
	require.NoError(t, os.WriteFile(file+"~", []byte("bb"), 0o644))
	require.NoError(t, os.Rename(file+"~", file))
	select {
	case <-changes:
		t.Logf("seen after %v", time.Since(begin))
	case <-time.After(5 * time.Second):
		assert.Fail(t, "the save should be seen")
	}
}

func BenchmarkSnapshot(b *testing.B) {
	for b.Loop() {
		snapshot([]string{"../../lessons/01-select", "../../lessons/engine"})
	}
}
