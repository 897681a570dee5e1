package runner

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The test's binary is a checker that runs a careful program, too.
func TestMain(m *testing.M) {
	if os.Getenv("IOLAB_FAKE") == "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("sh", "-c", `trap 'echo put back; kill $!; exit' TERM; sleep 60 >/dev/null & echo ready; wait`)
	cmd.Stdout = os.Stdout
	Careful(context.Background(), cmd)
}

func TestACarefulProgramCanPutBackWhatItChangedWhenTheCheckerIsKilled(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "IOLAB_FAKE=careful")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	cmd.Process.Kill()
	rest, err := io.ReadAll(said)
	require.NoError(t, err)
	assert.Contains(t, string(rest), "put back") // the kernel may send it for each thread of the parent
	cmd.Wait()
}
