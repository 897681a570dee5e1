package doctor

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"iolab/checker/wine"
)

func gather(root string) Facts {
	f := common(root)
	m := machine("/")
	m.kernel(&f)
	m.house(&f, os.Getenv)
	m.limits(&f)
	m.hardware(&f)
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil {
		f.FilesSoft, f.FilesHard = softFiles(l.Cur), l.Max
	}
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l) == nil {
		f.MemLock = l.Cur
	}
	if f.Wine = wine.Find(); f.Wine != "" {
		ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		out, _ := exec.CommandContext(ctx, f.Wine, "--version").Output()
		f.WineVersion = strings.TrimSpace(string(out))
	}
	f.look("ss", "strace", "perf", "nc")
	f.Unicode = unicodeLocale()
	return f
}

// machine is the folder in which /proc and /sys are: "/", or a test's.
type machine string

func (m machine) read(path string) string {
	text, _ := os.ReadFile(filepath.Join(string(m), path))
	return strings.TrimSpace(string(text))
}

func (m machine) exists(path string) bool {
	_, err := os.Stat(filepath.Join(string(m), path))
	return err == nil
}

// settings are those that are looked at.
var settings = []string{
	"fs.nr_open", "fs.file-max", "net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.ip_local_port_range",
	"net.ipv4.tcp_mem", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.core.rmem_max", "net.core.wmem_max",
	"fs.inotify.max_user_watches", "fs.inotify.max_user_instances", "fs.epoll.max_user_watches",
	"kernel.io_uring_disabled", "kernel.yama.ptrace_scope", "kernel.perf_event_paranoid", "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_count",
}

func (m machine) kernel(f *Facts) {
	f.Kernel = m.read("proc/sys/kernel/osrelease")
	for _, name := range settings {
		if text := m.read("proc/sys/" + strings.ReplaceAll(name, ".", "/")); text != "" {
			f.Sysctl[name] = strings.Join(strings.Fields(text), " ")
		}
	}
	for line := range strings.Lines(m.read("proc/self/status")) {
		if mode, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			f.Seccomp = strings.TrimSpace(mode) == "2"
		}
	}
}

// house finds out what the lab runs in: a container or WSL often explains the rest.
func (m machine) house(f *Facts, env func(string) string) {
	release, groups := strings.ToLower(f.Kernel), m.read("proc/1/cgroup")
	switch {
	case strings.Contains(release, "microsoft") && strings.Contains(release, "wsl2"):
		f.House = "wsl2"
	case strings.Contains(release, "microsoft"):
		f.House = "wsl1"
	case strings.Contains(release, "gvisor"), strings.Contains(m.read("proc/version"), "gVisor"):
		f.House = "gvisor"
	case strings.Contains(groups, "kubepods"), env("KUBERNETES_SERVICE_HOST") != "":
		f.House = "kubernetes"
	case m.exists(".dockerenv"), strings.Contains(groups, "/docker"):
		f.House = "docker"
	case m.exists("run/.containerenv"), strings.Contains(groups, "libpod"):
		f.House = "podman"
	case strings.Contains(groups, "/lxc"), env("container") == "lxc":
		f.House = "lxc"
	case env("container") != "":
		f.House = env("container")
	}
	f.Virtual = strings.TrimSpace(m.read("sys/class/dmi/id/sys_vendor") + " " + m.read("sys/class/dmi/id/product_name"))
	virtual := strings.Contains(m.read("proc/cpuinfo"), " hypervisor")
	if known := hypervisor(f.Virtual); known != "" {
		f.Virtual = known
	} else if f.Virtual = ""; virtual {
		f.Virtual = "a hypervisor"
	}
}

// hypervisor knows the names that virtual machines give themselves.
func hypervisor(dmi string) string {
	for _, v := range [][2]string{{"QEMU", "QEMU/KVM"}, {"KVM", "KVM"}, {"VMware", "VMware"}, {"VirtualBox", "VirtualBox"}, {"Microsoft Corporation Virtual", "Hyper-V"},
		{"Xen", "Xen"}, {"Amazon EC2", "Amazon EC2"}, {"Google Compute", "Google Compute Engine"}, {"Parallels", "Parallels"}, {"Apple Virtualization", "Apple Virtualization"}} {
		if strings.Contains(dmi, v[0]) {
			return v[1]
		}
	}
	return ""
}

// limits finds the lowest of this process's cgroup and those above it, version 2 or 1. In
// a container the root of /sys/fs/cgroup is the container's own.
func (m machine) limits(f *Facts) {
	dirs := []string{"sys/fs/cgroup", "sys/fs/cgroup/cpu", "sys/fs/cgroup/memory", "sys/fs/cgroup/unified"}
	add := func(root, group string) {
		for ; group != "/" && group != "."; group = path.Dir(group) {
			dirs = append(dirs, root+group)
		}
	}
	for line := range strings.Lines(m.read("proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		switch {
		case parts[0] == "0":
			add("sys/fs/cgroup", parts[2])
			add("sys/fs/cgroup/unified", parts[2])
		default:
			for _, controller := range strings.Split(parts[1], ",") {
				add("sys/fs/cgroup/"+controller, parts[2])
			}
		}
	}
	for _, dir := range dirs {
		if quota, period, ok := strings.Cut(m.read(dir+"/cpu.max"), " "); ok && quota != "max" {
			f.cpuLimit(quota, period)
		}
		f.cpuLimit(m.read(dir+"/cpu.cfs_quota_us"), m.read(dir+"/cpu.cfs_period_us"))
		for _, name := range []string{"/memory.max", "/memory.limit_in_bytes"} {
			n, err := strconv.ParseInt(m.read(dir+name), 10, 64)
			if err == nil && n < 1<<60 && (f.MemoryLimit == 0 || n < f.MemoryLimit) {
				f.MemoryLimit = n
			}
		}
	}
}

func (f *Facts) cpuLimit(quota, period string) {
	q, err1 := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err1 == nil && err2 == nil && q > 0 && p > 0 && (f.CPULimit == 0 || q/p < f.CPULimit) {
		f.CPULimit = q / p
	}
}

func (m machine) hardware(f *Facts) {
	for line := range strings.Lines(m.read("proc/meminfo")) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			f.Memory = kib << 10
		}
	}
	f.Governor = m.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
	f.Clock = m.read("sys/devices/system/clocksource/clocksource0/current_clocksource")
}
