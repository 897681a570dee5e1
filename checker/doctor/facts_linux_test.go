package doctor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fake is a machine that has these files.
func fake(t *testing.T, files map[string]string) machine {
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return machine(dir)
}

func TestHouses(t *testing.T) {
	for _, tc := range []struct {
		want  string
		files map[string]string
		env   map[string]string
	}{
		{"", map[string]string{"proc/1/cgroup": "0::/init.scope\n"}, nil},
		{"docker", map[string]string{".dockerenv": ""}, nil},
		{"docker", map[string]string{"proc/1/cgroup": "2:cpu:/docker/4711\n"}, nil},
		{"podman", map[string]string{"run/.containerenv": ""}, nil},
		{"kubernetes", map[string]string{"proc/1/cgroup": "0::/kubepods/pod1/2\n", ".dockerenv": ""}, nil},
		{"kubernetes", nil, map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}},
		{"lxc", nil, map[string]string{"container": "lxc"}},
		{"systemd-nspawn", nil, map[string]string{"container": "systemd-nspawn"}},
		{"wsl2", map[string]string{"proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n"}, nil},
		{"wsl1", map[string]string{"proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft\n"}, nil},
		{"gvisor", map[string]string{"proc/version": "Linux version 4.4.0 (gVisor)"}, nil},
	} {
		m, f := fake(t, tc.files), Facts{Sysctl: map[string]string{}}
		m.kernel(&f)
		m.house(&f, func(name string) string { return tc.env[name] })
		assert.Equal(t, tc.want, f.House, "%v %v", tc.files, tc.env)
	}
}

func TestHypervisors(t *testing.T) {
	for _, tc := range []struct{ vendor, product, flags, want string }{
		{"QEMU", "Standard PC (Q35 + ICH9, 2009)", " hypervisor", "QEMU/KVM"},
		{"Microsoft Corporation", "Virtual Machine", " hypervisor", "Hyper-V"},
		{"LENOVO", "20XW", "", ""},
		{"", "", " hypervisor", "a hypervisor"},
	} {
		m, f := fake(t, map[string]string{"sys/class/dmi/id/sys_vendor": tc.vendor, "sys/class/dmi/id/product_name": tc.product, "proc/cpuinfo": "flags : fpu" + tc.flags}), Facts{}
		m.house(&f, func(string) string { return "" })
		assert.Equal(t, tc.want, f.Virtual)
	}
}

func TestCgroupLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		files  map[string]string
		cpu    float64
		memory int64
	}{
		"none":                     {nil, 0, 0},
		"version 2, none":          {map[string]string{"sys/fs/cgroup/cpu.max": "max 100000", "sys/fs/cgroup/memory.max": "max"}, 0, 0},
		"version 2, a container's": {map[string]string{"sys/fs/cgroup/cpu.max": "150000 100000", "sys/fs/cgroup/memory.max": "1073741824"}, 1.5, 1 << 30},
		"version 2, a service's":   {map[string]string{"proc/self/cgroup": "0::/a.slice/b\n", "sys/fs/cgroup/a.slice/b/cpu.max": "50000 100000"}, 0.5, 0},
		"version 2, a slice's above it": {map[string]string{"proc/self/cgroup": "0::/user.slice/user-1000.slice/session-1.scope\n",
			"sys/fs/cgroup/user.slice/memory.max": "2147483648", "sys/fs/cgroup/user.slice/user-1000.slice/cpu.max": "100000 100000",
			"sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope/cpu.max": "max 100000"}, 1, 2 << 30},
		"version 1, none":              {map[string]string{"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 0, 0},
		"version 1, a container's":     {map[string]string{"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000", "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912"}, 2, 512 << 20},
		"version 1, one's above it":    {map[string]string{"proc/self/cgroup": "1:cpu,cpuacct:/x/y\n", "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "50000", "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000"}, 0.5, 0},
		"outside of its namespace":     {map[string]string{"proc/self/cgroup": "0::/../../x\n"}, 0, 0},
		"version 1, the process's own": {map[string]string{"proc/self/cgroup": "4:memory:/x\n1:cpu,cpuacct:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1000"}, 0, 1000},
	} {
		f := Facts{}
		fake(t, tc.files).limits(&f)
		assert.Equal(t, tc.cpu, f.CPULimit, name)
		assert.Equal(t, tc.memory, f.MemoryLimit, name)
	}
}

func TestReadsSettings(t *testing.T) {
	m, f := fake(t, map[string]string{"proc/sys/net/core/somaxconn": "128\n", "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
		"proc/self/status": "Name:\tx\nSeccomp:\t2\n", "proc/meminfo": "MemTotal:       24641100 kB\n"}), Facts{Sysctl: map[string]string{}}
	m.kernel(&f)
	m.hardware(&f)
	assert.Equal(t, map[string]string{"net.core.somaxconn": "128", "net.ipv4.ip_local_port_range": "32768 60999"}, f.Sysctl)
	assert.True(t, f.Seccomp)
	assert.Equal(t, int64(24641100<<10), f.Memory)
}
