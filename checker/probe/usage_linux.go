package probe

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessUsage is the processor time that process pid has used: the sum to the
// nanosecond from the process's clock (clock_getcpuclockid(3)), its two parts in the
// proportion of proc_pid_stat(5), which counts in steps of 10 ms.
func ProcessUsage(pid int) (Usage, error) {
	fields, err := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return Usage{}, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return Usage{}, err
	}
	const tick = time.Second / 100
	u := Usage{time.Duration(user) * tick, time.Duration(system) * tick}
	const sched = 2 // CPUCLOCK_SCHED, of a whole process
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|sched), &ts) != nil {
		return u, nil
	}
	total := time.Duration(ts.Nano())
	if u.Total() > 0 {
		u.User = time.Duration(float64(total) * float64(u.User) / float64(u.Total()))
	} else {
		u.User = 0
	}
	u.System = total - u.User
	return u, nil
}

// OwnUsage is ProcessUsage of this process.
func OwnUsage() (Usage, error) { return ProcessUsage(os.Getpid()) }
