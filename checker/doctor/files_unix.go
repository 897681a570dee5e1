//go:build unix

package doctor

import (
	"fmt"
	"os/exec"
	"strings"
)

// softFiles is the soft limit on descriptors that a program begins with. The Go
// runtime has raised this process's own to the hard one, and gives its children the
// old one back.
func softFiles(mine uint64) string {
	if out, err := exec.Command("sh", "-c", "ulimit -Sn").Output(); err == nil {
		return strings.TrimSpace(string(out))
	}
	return fmt.Sprint(mine)
}
