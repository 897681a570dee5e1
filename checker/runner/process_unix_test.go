//go:build unix

package runner

import (
	"context"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWhatASignalEndsHasNotPassed(t *testing.T) {
	for _, run := range []func(context.Context, *exec.Cmd) (int, error){Foreground, OnTerminal} {
		for signal, name := range map[string]string{"KILL": "killed", "ABRT": "aborted"} {
			_, err := run(t.Context(), exec.Command("sh", "-c", "kill -"+signal+" $$"))
			assert.ErrorContains(t, err, "before it was done: "+name)
		}
		status, err := run(t.Context(), exec.Command("sh", "-c", "exit 3"))
		assert.NoError(t, err)
		assert.Equal(t, 3, status)
	}
}
