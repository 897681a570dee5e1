//go:build unix && !linux

package doctor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func limits() []Check {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return []Check{{"descriptors", Warning, err.Error(), ""}}
	}
	c := Check{Name: "descriptors", State: OK, Value: fmt.Sprintf("soft %s, hard %d", softFiles(uint64(l.Cur)), l.Max)}
	if l.Max < 20000 {
		c.State, c.Cure = Warning, "crowds of 10,000 clients will be made smaller; see ulimit -Hn, and kern.maxfilesperproc in sysctl"
	}
	checks := []Check{c}
	for _, name := range []string{"kern.ipc.somaxconn", "kern.ipc.soacceptqueue"} {
		if n, err := unix.SysctlUint32(name); err == nil {
			c := Check{Name: "accept queue", State: OK, Value: fmt.Sprintf("%s = %d", name, n)}
			if n < 1024 {
				c.State, c.Cure = Warning, "bursts of clients may have to connect twice: sysctl "+name+"=1024"
			}
			checks = append(checks, c)
			break
		}
	}
	return checks
}
