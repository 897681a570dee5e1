//go:build !linux

package inspect

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// Inspect is Linux's alone.
func Inspect(_ context.Context, pid int, _ time.Duration) (Report, error) {
	instead := map[string]string{
		"darwin":  "lsof -nP -p %[1]d shows its descriptors, netstat -anv -p tcp the queues (Recv-Q, Send-Q), netstat -Lan the accept queues, sample %[1]d what its threads do",
		"windows": "netstat -ano | findstr %[1]d shows its connections, Get-NetTCPConnection -OwningProcess %[1]d in PowerShell likewise, Resource Monitor (resmon) the rest",
		"freebsd": "procstat -f %[1]d shows its descriptors, sockstat -s the states, netstat -an the queues (Recv-Q, Send-Q), netstat -Lan the accept queues, procstat -kk %[1]d what its threads do",
	}
	text, ok := instead[runtime.GOOS]
	if !ok {
		text = "fstat -p %[1]d shows its descriptors, netstat -an the queues (Recv-Q, Send-Q)"
	}
	return Report{}, fmt.Errorf("inspect reads /proc, which is Linux's. Here: "+text, pid)
}
