package doctor

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"iolab/checker/probe"
)

// Judge says of each fact whether it is well, what it means for the lab, and what would
// help.
func Judge(f Facts) []Check {
	checks := []Check{f.system(), f.goVersion(), f.modules(), f.progress(), f.kernel(), f.house()}
	checks = append(checks, f.processors()...)
	checks = append(checks, f.memory())
	switch f.OS {
	case "linux":
		checks = append(checks, f.clock(), f.files(), f.acceptQueue(), f.ports(), f.socketMemory(), f.conntrack(), f.ioUring(), f.wine(), f.watches(), f.inspect(), f.tools())
	case "windows":
		checks = append(checks, f.handles(), f.windowsPorts(), f.lessons())
	default:
		checks = append(checks, f.files(), f.acceptQueue(), f.ports(), f.lessons(), f.tools())
	}
	checks = append(checks, f.terminal())
	return slices.DeleteFunc(checks, func(c Check) bool { return c.Name == "" })
}

func (f Facts) system() Check {
	c := Check{Name: "system", State: Info, Value: f.OS + "/" + f.Arch}
	if f.Emulated {
		c.State, c.Value = Warning, c.Value+", translated (Rosetta)"
		c.Means, c.Cure = "everything is slower than the machine", "install Go for arm64 from https://go.dev/dl/"
	}
	return c
}

var goVersion = regexp.MustCompile(`go(\d+)\.(\d+)`)

func (f Facts) goVersion() Check {
	c := Check{Name: "go", State: OK}
	if f.Go == "" {
		c.State, c.Value = Problem, "no go command that works"
		c.Cure = "install Go from https://go.dev/dl/ and add its bin folder to PATH"
		return c
	}
	c.Value = f.Go + " (the lab needs " + f.GoWant + ")"
	if f.Tool != "" && f.Tool != "auto" {
		c.Value += ", GOTOOLCHAIN=" + f.Tool
	}
	if older(f.Go, f.GoWant) {
		c.State, c.Cure = Problem, "install "+f.GoWant+" or newer, or let the go command fetch it: GOTOOLCHAIN=auto"
	}
	return c
}

// older compares major and minor version.
func older(have, want string) bool {
	h, w := goVersion.FindStringSubmatch(have), goVersion.FindStringSubmatch(want)
	if h == nil || w == nil {
		return false
	}
	for i := 1; i <= 2; i++ {
		a, _ := strconv.Atoi(h[i])
		b, _ := strconv.Atoi(w[i])
		if a != b {
			return a < b
		}
	}
	return false
}

func (f Facts) modules() Check {
	switch {
	case f.Go == "":
		return Check{}
	case len(f.Missing) == 0:
		return Check{Name: "modules", State: OK, Value: "all are in the module cache"}
	case f.Proxy == "off":
		return Check{"modules", Problem, strings.Join(f.Missing, ", ") + " are not in the module cache, and GOPROXY=off", "no lesson can be built",
			"go env -u GOPROXY and go mod download once, with a network; or copy the folder that go env GOMODCACHE names from a machine that has them"}
	}
	return Check{"modules", Info, strings.Join(f.Missing, ", ") + " will be fetched (GOPROXY=" + f.Proxy + ")", "the first build needs a network",
		"go mod download fetches them now; behind a company's proxy set GOPROXY and HTTPS_PROXY"}
}

func (f Facts) progress() Check {
	if f.Progress == "" {
		return Check{Name: "progress", State: OK, Value: "can be kept in .iolab"}
	}
	return Check{"progress", Warning, "cannot be kept: " + f.Progress, "everything works, but the map forgets", "make the clone's folder writable"}
}

// release is a kernel's version as two numbers.
func release(s string) (major, minor int) {
	parts := strings.SplitN(s, ".", 3)
	if major, _ = strconv.Atoi(parts[0]); len(parts) > 1 {
		minor, _ = strconv.Atoi(strings.TrimFunc(parts[1], func(r rune) bool { return r < '0' || r > '9' }))
	}
	return major, minor
}

func (f Facts) kernel() Check {
	c := Check{Name: "kernel", State: OK, Value: f.Kernel}
	major, minor := release(f.Kernel)
	before := func(a, b int) bool { return major < a || major == a && minor < b }
	switch f.OS {
	case "linux":
		c.Value = "Linux " + f.Kernel
		switch {
		case f.Kernel == "":
			return Check{"kernel", Warning, "/proc is not mounted", "reports have little evidence", "mount -t proc proc /proc"}
		case before(4, 5):
			c.State, c.Means, c.Cure = Warning, "lessons 01 to 03 want 4.5 (EPOLLEXCLUSIVE), lesson 06 wants 5.6", "a newer kernel"
		case before(5, 6):
			c.State, c.Means, c.Cure = Warning, "lesson 06 is not available: it wants 5.6", "a newer kernel"
		case before(5, 11):
			c.State, c.Means, c.Cure = Warning, "lesson 06 leaves out what this io_uring does not have; 6.1 has all it uses; epoll_pwait2, for timeouts below a millisecond, is 5.11's", "a newer kernel"
		case before(6, 1):
			c.State, c.Means, c.Cure = Warning, "lesson 06 leaves out what this io_uring does not have; 6.1 has all it uses", "a newer kernel"
		}
	case "windows":
		c.Value = "Windows " + f.Kernel
		if major < 10 {
			c.State, c.Means, c.Cure = Problem, "Go needs Windows 10 or Server 2016", "a newer Windows"
		}
	case "darwin":
		c.Value = "Darwin " + f.Kernel
	default:
		c.Value = f.OS + " " + f.Kernel
	}
	return c
}

func (f Facts) house() Check {
	c := Check{Name: "runs in", State: Info, Value: "no container that shows"}
	switch f.House {
	case "":
	case "wsl2":
		c.Value, c.Means = "WSL 2", "a Linux with all lessons; Windows and it share localhost"
		if strings.HasPrefix(f.Work, "/mnt/") {
			c.State, c.Means, c.Cure = Warning, "files under /mnt are Windows's: builds are many times slower", "clone into your Linux home"
		}
	case "wsl1":
		c.State, c.Value, c.Means = Warning, "WSL 1, which has no Linux kernel", "lessons 03 and 06 and most evidence are missing"
		c.Cure = "wsl --set-version DISTRIBUTION 2"
	case "gvisor":
		c.State, c.Value, c.Means = Warning, "gVisor", "its network stack is not Linux's: expect differences, and no io_uring"
		c.Cure = "another runtime for this container (runc), or a virtual machine"
	case "docker", "podman":
		c.Value = "a " + map[string]string{"docker": "Docker", "podman": "Podman"}[f.House] + " container"
		c.Means = "limits and filters are the engine's: --ulimit, --sysctl and --security-opt change them"
	case "kubernetes":
		c.Value, c.Means = "a Kubernetes pod", "limits and filters are the node's and the pod's securityContext"
	default:
		c.Value = "a container (" + f.House + ")"
	}
	if f.Virtual != "" {
		c.Value += ", on " + f.Virtual
		if c.Means == "" {
			c.Means = "neighbours on the machine make timings jump: believe medians and processor time"
		}
	}
	if f.Virtual == "Wine" {
		c.State, c.Means = Warning, "Wine's completion ports differ from Windows's in places (lesson 05 says which)"
	}
	return c
}

func (f Facts) processors() []Check {
	c := Check{Name: "processors", State: OK, Value: plural(f.CPUs, "CPU")}
	switch {
	case f.CPULimit > 0 && f.CPULimit < float64(f.CPUs):
		c.Value += fmt.Sprintf(", of which the cgroup grants %.3g", f.CPULimit)
		if f.CPULimit < 2 {
			c.State, c.Means = Warning, "a server that has used up its share stands still for the rest of each period (100 ms as a rule): latencies are the limit's, not the server's"
			c.Cure = "docker run --cpus=2 or more; resources.limits.cpu in a pod; CPUQuota= in systemd"
		}
	case f.CPUs == 1:
		c.State, c.Means = Info, "server and clients take turns: several loops (lesson 03, step 9) gain nothing, and figures are lower than anybody's"
	}
	if f.Governor != "" && f.Governor != "performance" {
		c.Value += ", governor " + f.Governor
		if f.Governor == "powersave" || f.Governor == "conservative" {
			c.Means = strings.TrimPrefix(c.Means+"; the clock rises under load: the first rounds of a measurement are slow", "; ")
			if c.Cure == "" {
				c.Cure = "to measure: cpupower frequency-set -g performance"
			}
		}
	}
	return []Check{c}
}

func (f Facts) memory() Check {
	if f.Memory == 0 {
		return Check{}
	}
	c := Check{Name: "memory", State: OK, Value: size(f.Memory)}
	least := f.Memory
	if f.MemoryLimit > 0 && f.MemoryLimit < least {
		least = f.MemoryLimit
		c.Value += ", of which the cgroup grants " + size(least)
	}
	if least < 2<<30 {
		c.State, c.Means = Warning, "building a lesson's tests takes about a gigabyte; large crowds will not fit"
		c.Cure = "more memory, or GOFLAGS=-p=1 to build one package at a time"
	}
	return c
}

func (f Facts) clock() Check {
	switch f.Clock {
	case "":
		return Check{}
	case "tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page":
		return Check{Name: "clock", State: OK, Value: f.Clock}
	}
	return Check{"clock", Warning, f.Clock, "reading the time is a system call: servers with timeouts, and all measurements, are slower",
		"if /sys/devices/system/clocksource/clocksource0/available_clocksource has tsc, boot with clocksource=tsc"}
}

func (f Facts) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(f.Sysctl[name], 10, 64)
	return n, err == nil
}

// crowd is the number of descriptors that the largest tests want.
const crowd = 20000

func (f Facts) files() Check {
	if f.FilesHard == 0 {
		return Check{}
	}
	c := Check{Name: "descriptors", State: OK, Value: fmt.Sprintf("soft %s, hard %s", limit(f.FilesSoft), limit(f.FilesHard))}
	hard := f.FilesHard
	for _, name := range []string{"fs.nr_open", "fs.file-max", "kern.maxfilesperproc", "kern.maxfiles"} {
		n, ok := f.number(name)
		if !ok {
			continue
		}
		if n < 1<<40 {
			c.Value += fmt.Sprintf(", %s %d", name, n)
		}
		hard = min(hard, uint64(n))
	}
	if hard < crowd {
		c.State, c.Means = Warning, "crowds of 10,000 clients will be made smaller"
		if f.OS == "linux" {
			c.Cure = "raise the hard limit: ulimit -Hn 65536 as root, LimitNOFILE= in systemd, /etc/security/limits.conf for logins, --ulimit nofile=65536 for docker run"
		} else {
			c.Cure = "see ulimit -Hn, and kern.maxfilesperproc in sysctl"
		}
	}
	return c
}

func (f Facts) acceptQueue() Check {
	c := Check{Name: "accept queue", State: OK}
	for _, name := range []string{"net.core.somaxconn", "kern.ipc.soacceptqueue", "kern.ipc.somaxconn"} {
		n, ok := f.number(name)
		if !ok {
			continue
		}
		c.Value = fmt.Sprintf("%s = %d", name, n)
		if syn, ok := f.number("net.ipv4.tcp_max_syn_backlog"); ok {
			c.Value += fmt.Sprintf(", net.ipv4.tcp_max_syn_backlog = %d", syn)
		}
		if n < 1024 {
			c.State, c.Means = Warning, "bursts of clients overrun the queue, and some connect a second late: tests with crowds are slower"
			c.Cure = "sysctl -w " + name + "=4096"
			if f.OS != "linux" {
				c.Cure = "sysctl " + name + "=4096"
			}
			if f.House == "docker" || f.House == "podman" {
				c.Cure = "docker run --sysctl " + name + "=4096"
			}
		}
		return c
	}
	c.State, c.Value = Info, "its limit cannot be read"
	return c
}

// portRange is the range of ports that clients get.
func (f Facts) portRange() (first, last int64) {
	if fields := strings.Fields(f.Sysctl["net.ipv4.ip_local_port_range"]); len(fields) == 2 {
		first, _ = strconv.ParseInt(fields[0], 10, 64)
		last, _ = strconv.ParseInt(fields[1], 10, 64)
		return first, last
	}
	first, _ = f.number("net.inet.ip.portrange.first")
	last, _ = f.number("net.inet.ip.portrange.last")
	return first, last
}

func (f Facts) ports() Check {
	first, last := f.portRange()
	if last <= first || last > 65535 {
		return Check{}
	}
	c := Check{Name: "ports", State: OK, Value: fmt.Sprintf("%d to %d: %d clients from one address to one server", first, last, last-first+1)}
	if last-first < 12000 {
		c.State, c.Means = Warning, "crowds of 10,000 clients, and runs one after the other, use them up: ports rest in TIME_WAIT for a minute"
		c.Cure = "sysctl -w net.ipv4.ip_local_port_range=\"10000 65535\""
		if f.OS != "linux" {
			c.Cure = "sysctl net.inet.ip.portrange.first=10000 (and .last=65535)"
		}
	}
	return c
}

func (f Facts) socketMemory() Check {
	if f.Sysctl["net.ipv4.tcp_mem"] == "" && f.Sysctl["net.core.rmem_max"] == "" {
		return Check{}
	}
	c := Check{Name: "TCP memory", State: OK, Value: fmt.Sprintf("tcp_rmem %s, tcp_wmem %s (least, default, most: bytes a socket)",
		orUnknown(f.Sysctl["net.ipv4.tcp_rmem"]), orUnknown(f.Sysctl["net.ipv4.tcp_wmem"]))}
	if r, ok := f.number("net.core.rmem_max"); ok {
		c.Value += fmt.Sprintf(", rmem_max %d", r)
	}
	if w, ok := f.number("net.core.wmem_max"); ok {
		c.Value += fmt.Sprintf(", wmem_max %d", w)
	}
	if fields := strings.Fields(f.Sysctl["net.ipv4.tcp_mem"]); len(fields) == 3 {
		pages, _ := strconv.ParseInt(fields[2], 10, 64)
		c.Value += fmt.Sprintf("; all together at most %s", size(pages*4096))
		if pages*4096 < 128<<20 {
			c.State, c.Means = Warning, "slow readers in a crowd use it up, and then the kernel drops segments of everybody"
			c.Cure = "sysctl -w net.ipv4.tcp_mem=\"LOW PRESSURE HIGH\" in pages of 4 KiB, HIGH 65536 or more"
		}
	}
	return c
}

func orUnknown(s string) string {
	if s == "" {
		return "not readable"
	}
	return s
}

func (f Facts) conntrack() Check {
	most, ok := f.number("net.netfilter.nf_conntrack_max")
	if !ok || most == 0 {
		return Check{}
	}
	count, _ := f.number("net.netfilter.nf_conntrack_count")
	c := Check{Name: "conntrack", State: Info, Value: fmt.Sprintf("%d of %d connections tracked", count, most)}
	if most < 2*crowd {
		c.State, c.Means = Warning, "if a firewall rule tracks loopback too, crowds fill the table, and new connections are dropped without a word (dmesg has it)"
		c.Cure = "sysctl -w net.netfilter.nf_conntrack_max=262144, or leave lo out of it"
	}
	return c
}

// ringFeatures are the bits of io_uring_params.features that lesson 06 speaks of.
var ringFeatures = []struct {
	bit  uint32
	name string
}{{1 << 0, "SINGLE_MMAP"}, {1 << 1, "NODROP"}, {1 << 5, "FAST_POLL"}, {1 << 8, "EXT_ARG"}, {1 << 9, "NATIVE_WORKERS"}}

func (f Facts) ioUring() Check {
	var missing *probe.Missing
	if errors.As(f.RingErr, &missing) {
		c := Check{"io_uring", Warning, missing.Why, "lesson 06 is not available", missing.Cure}
		if f.House == "kubernetes" && f.Seccomp {
			c.Cure = "a seccomp filter is on this pod: seccompProfile with io_uring_setup, io_uring_enter and io_uring_register allowed (type: Localhost)"
		}
		return c
	}
	if f.RingErr != nil {
		return Check{"io_uring", Warning, f.RingErr.Error(), "lesson 06 is not available", "see io_uring_setup(2)"}
	}
	var has, lacks []string
	for _, x := range ringFeatures {
		if f.RingFeatures&x.bit != 0 {
			has = append(has, x.name)
		} else {
			lacks = append(lacks, x.name)
		}
	}
	c := Check{Name: "io_uring", State: OK, Value: fmt.Sprintf("works: %s; rings with %s", strings.Join(has, ", "), orNone(f.RingCan))}
	if lack := append(lacks, f.RingCannot...); len(lack) > 0 {
		c.State, c.Means = Info, "without "+strings.Join(lack, ", ")+": lesson 06's server does without, as its text says"
	}
	if f.MemLock < 8<<20 {
		c.Value += fmt.Sprintf("; may lock %s", size(int64(f.MemLock)))
		if major, minor := release(f.Kernel); major < 5 || major == 5 && minor < 12 {
			c.State, c.Means, c.Cure = Warning, "before 5.12 rings count as locked memory: several servers do not start (ENOMEM)", "ulimit -l unlimited, LimitMEMLOCK= in systemd"
		}
	}
	return c
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "no flags"
	}
	return strings.Join(list, ", ")
}

func (f Facts) wine() Check {
	if f.Wine == "" {
		return Check{"Wine", Info, "not found", "lesson 05 has an emulation; Wine runs the real Windows code too", "apt install wine64 (dnf install wine-core, pacman -S wine)"}
	}
	c := Check{Name: "Wine", State: OK, Value: f.Wine, Means: "lesson 05 as a Windows program: go run ./checker run -wine 05"}
	if f.WineVersion != "" {
		c.Value += " (" + f.WineVersion + ")"
	}
	major, _ := release(strings.TrimPrefix(f.WineVersion, "wine-"))
	if major > 0 && major < 8 {
		c.State, c.Means, c.Cure = Warning, "lesson 05 was tried with Wine 8; older ones may lack what Go needs", "a newer Wine: https://gitlab.winehq.org/wine/wine/-/wikis/Download"
	}
	return c
}

func (f Facts) watches() Check {
	n, ok := f.number("fs.inotify.max_user_watches")
	if !ok {
		return Check{}
	}
	text := fmt.Sprintf("fs.inotify.max_user_watches %d, max_user_instances %s", n, f.Sysctl["fs.inotify.max_user_instances"])
	c := Check{Name: "watching", State: OK, Value: text, Means: "not the lab's: checker watch looks at the files itself"}
	if n < 8192 {
		c.State, c.Cure = Info, "for your editor: sysctl -w fs.inotify.max_user_watches=524288"
	}
	return c
}

// inspect says what stands between `checker inspect` and a process.
func (f Facts) inspect() Check {
	scope, ok := f.number("kernel.yama.ptrace_scope")
	if !ok || scope == 0 {
		return Check{Name: "inspect", State: OK, Value: "processes of your own can be looked at in full"}
	}
	return Check{"inspect", Info, fmt.Sprintf("kernel.yama.ptrace_scope = %d", scope), "checker inspect sees where a thread sleeps, but not in which call on which descriptor; strace -p needs root",
		"sudo for the one command, rather than sysctl -w kernel.yama.ptrace_scope=0"}
}

// packages are those that bring a program, in Debian's spelling.
var packages = map[string]string{"ss": "iproute2", "strace": "strace", "perf": "linux-perf", "nc": "netcat-openbsd", "lsof": "lsof", "netstat": "net-tools"}

func (f Facts) tools() Check {
	var have, lack, install []string
	for _, name := range []string{"ss", "strace", "perf", "nc", "lsof", "netstat"} {
		path, asked := f.Tools[name]
		switch {
		case path != "":
			have = append(have, name)
		case asked:
			lack = append(lack, name)
			install = append(install, packages[name])
		}
	}
	c := Check{Name: "tools", State: OK, Value: strings.Join(have, ", ")}
	if lack != nil {
		c.State, c.Value = Info, strings.TrimPrefix(c.Value+"; not found: "+strings.Join(lack, ", "), "; ")
		c.Means = "the lessons look at servers with them; the checker does without"
		if f.OS == "linux" {
			c.Cure = "apt install " + strings.Join(install, " ")
		}
	}
	if paranoid, ok := f.number("kernel.perf_event_paranoid"); ok && paranoid > 2 && f.Tools["perf"] != "" {
		c.Value += fmt.Sprintf("; perf is for root (kernel.perf_event_paranoid = %d)", paranoid)
	}
	return c
}

func (f Facts) handles() Check {
	return Check{Name: "handles", State: OK, Value: "limited by memory, not by number", Means: "FD_SETSIZE (lesson 01) still limits select"}
}

func (f Facts) windowsPorts() Check {
	return Check{Name: "ports", State: Info, Value: "49152 to 65535 as installed", Means: "16384 clients from one address to one server",
		Cure: "netsh int ipv4 show dynamicport tcp shows them, netsh int ipv4 set dynamicport tcp start=10000 num=55536 makes it more (as administrator)"}
}

func (f Facts) lessons() Check {
	c := Check{Name: "lessons", State: Info}
	switch f.OS {
	case "windows":
		c.Value, c.Means = "01, 05 and 07 natively", "epoll and io_uring are Linux's, kqueue the BSDs'"
		c.Cure = "for 02, 03, 04 and 06: clone the lab in WSL 2 (wsl -d DISTRIBUTION)"
		if !f.WSL {
			c.Cure = "for 02, 03, 04 and 06: wsl --install, and clone the lab inside it"
		}
	case "darwin":
		c.Value, c.Means = "01, 04 and 07 natively", "epoll and io_uring are Linux's, completion ports Windows's"
		c.Cure = "for 02, 03, 05 and 06 a Linux machine or container: docker run -it --security-opt seccomp=unconfined -v \"$PWD\":/lab -w /lab golang:1.26"
	default:
		c.Value, c.Means = "01, 04 and 07 natively", "epoll and io_uring are Linux's, completion ports Windows's"
		c.Cure = "for 02, 03, 05 and 06 use a Linux machine, real or virtual"
	}
	return c
}

func (f Facts) terminal() Check {
	c := Check{Name: "terminal", State: OK}
	switch {
	case !f.Console:
		c.State, c.Value = Info, "none: output goes to a file or a pipe, without colours"
	case f.Color && f.Unicode:
		c.Value = "colours and Unicode"
	default:
		var lack []string
		if !f.Color {
			lack = append(lack, "colours")
			c.Cure = "TERM and NO_COLOR decide"
		}
		if !f.Unicode {
			lack = append(lack, "Unicode")
			c.Cure = "LANG=C.UTF-8"
			if f.OS == "windows" {
				c.Cure = "Windows Terminal has both"
			}
		}
		c.State, c.Value = Info, "without "+strings.Join(lack, " and ")
		c.Means = "the checker prints plain signs instead"
	}
	return c
}

// Settings are the kernel settings that runs with many thousand connections may need.
func Settings(f Facts) []Setting {
	list := []Setting{}
	if f.OS != "linux" {
		return list
	}
	add := func(name string, least int64, does string) {
		n, ok := f.number(name)
		if !ok {
			return
		}
		list = append(list, Setting{name, f.Sysctl[name], fmt.Sprint(least), does, n >= least})
	}
	add("fs.nr_open", 1<<20, "the most that a process's hard limit on descriptors can be set to")
	add("fs.file-max", 1<<21, "descriptors of all processes together")
	add("net.core.somaxconn", 4096, "the longest accept queue that listen gets, whatever it asks for")
	add("net.ipv4.tcp_max_syn_backlog", 4096, "handshakes under way of one listener, before SYN cookies are sent")
	if first, last := f.portRange(); last > 0 {
		list = append(list, Setting{"net.ipv4.ip_local_port_range", f.Sysctl["net.ipv4.ip_local_port_range"], "10000 65535",
			"ports for clients: with one address and one server, the number of connections", last-first >= 50000})
	}
	if fields := strings.Fields(f.Sysctl["net.ipv4.tcp_mem"]); len(fields) == 3 {
		n, _ := strconv.ParseInt(fields[2], 10, 64)
		list = append(list, Setting{"net.ipv4.tcp_mem", f.Sysctl["net.ipv4.tcp_mem"], "262144 524288 1048576",
			"pages of 4 KiB for the queues of all TCP sockets: no pressure below the first, none more at the third", n >= 1<<20})
	}
	add("net.netfilter.nf_conntrack_max", 1<<18, "connections that the firewall remembers; new ones beyond it are dropped")
	return list
}

func limit(n uint64) string {
	if n > 1<<60 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
