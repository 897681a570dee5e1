//go:build unix && !linux

package doctor

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

func gather(root string) Facts {
	f := common(root)
	f.Kernel, _ = unix.Sysctl("kern.osrelease")
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil {
		f.FilesSoft, f.FilesHard = softFiles(uint64(l.Cur)), uint64(l.Max)
	}
	for _, name := range []string{"kern.maxfiles", "kern.maxfilesperproc", "kern.ipc.somaxconn", "kern.ipc.soacceptqueue",
		"net.inet.ip.portrange.first", "net.inet.ip.portrange.last", "net.inet.ip.porthifirst", "net.inet.ip.porthilast",
		"kern.ipc.maxsockbuf", "net.inet.tcp.sendspace", "net.inet.tcp.recvspace", "net.inet.tcp.msl"} {
		if n, err := unix.SysctlUint32(name); err == nil {
			f.Sysctl[name] = fmt.Sprint(n)
		}
	}
	for _, name := range []string{"hw.memsize", "hw.physmem"} {
		if n, err := unix.SysctlUint64(name); err == nil && f.Memory == 0 {
			f.Memory = int64(n)
		}
	}
	if n, err := unix.SysctlUint32("sysctl.proc_translated"); err == nil {
		f.Emulated = n == 1
	}
	if guest, err := unix.Sysctl("kern.vm_guest"); err == nil && guest != "none" {
		f.Virtual = guest
	}
	f.look("lsof", "netstat", "nc")
	f.Unicode = runtime.GOOS == "darwin" || unicodeLocale()
	return f
}
