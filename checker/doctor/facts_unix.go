//go:build unix

package doctor

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// softFiles is the soft limit on descriptors that a program begins with. The Go
// runtime has raised this process's own to the hard one, and gives its children the
// old one back.
func softFiles(mine uint64) uint64 {
	if out, err := exec.Command("sh", "-c", "ulimit -Sn").Output(); err == nil {
		text := strings.TrimSpace(string(out))
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n
		}
	}
	return mine
}

// unicodeLocale tells whether the locale's characters are Unicode.
func unicodeLocale() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(os.Getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
