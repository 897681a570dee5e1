// Package options has the flags of `checker bench`, for the checker's help and for the
// program that does the work.
package options

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options are the flags.
type Options struct {
	Connections string
	Depth       string
	Size        int
	Rate        float64
	Churn       int
	Idle        int
	Slow        int

	Rounds      int
	Window      time.Duration
	Thorough    bool
	Memory      int
	ServerCores int

	Plot          string
	CheckSyscalls bool
	From          string
	Most          int
	Processes     int
}

// Define defines the flags in f.
func Define(f *flag.FlagSet) *Options {
	o := &Options{}
	f.StringVar(&o.Connections, "connections", "", "active connections, such as `50,1000`; each number is a measurement of its own")
	f.StringVar(&o.Depth, "depth", "", "messages under way on each connection, such as `1,16`")
	f.IntVar(&o.Size, "size", 64, "`bytes` of a message")
	f.Float64Var(&o.Rate, "rate", 0, "open loop: `messages` a second, whether the server keeps up or not; 0: closed loop")
	f.IntVar(&o.Churn, "churn", 0, "close a connection after its first and this many more `messages`, and open another; 0: never")
	f.IntVar(&o.Idle, "idle", 0, "silent connections beside the active ones")
	f.IntVar(&o.Slow, "slow", 0, "connections that send all the time and hardly read")
	f.IntVar(&o.Rounds, "rounds", 0, "rounds, in which the subjects take turns (default 4, thorough 7)")
	f.DurationVar(&o.Window, "window", 0, "length of each measurement (default 400ms, thorough 2s)")
	f.BoolVar(&o.Thorough, "thorough", false, "more of everything, for figures to keep: some minutes for each subject")
	f.IntVar(&o.Memory, "memory", 10_000, "measure the memory of this many silent `connections`; 0: do not")
	f.IntVar(&o.ServerCores, "server-cores", 1, "processors that the server may use; the load has one more")
	f.StringVar(&o.Plot, "plot", "", "draw the result into this `file.svg`")
	f.BoolVar(&o.CheckSyscalls, "check-syscalls", false, "compare the servers' counts of system calls with strace's")
	f.StringVar(&o.From, "from", "", "plots: draw this earlier `result` again, measure nothing")
	f.IntVar(&o.Most, "most", 1_000_000, "scale, table: climb to at most this many `connections`")
	f.IntVar(&o.Processes, "processes", 0, "scale: `processes` of the server that share its port (lesson 03)")
	return o
}

// mostRounds is the most rounds of which a comparison is computed in a moment.
const mostRounds = 50

// mostRate is more messages a second than any machine sends.
const mostRate = 1e7

// CheckSyscallsVerb is what Used calls a bench with -check-syscalls.
const CheckSyscallsVerb = "-check-syscalls"

// used are the flags that each verb uses, "" being a bench without one. All have -json,
// -ascii and -no-color.
var used = map[string][]string{
	"": {"connections", "depth", "size", "rate", "churn", "idle", "slow", "rounds", "window", "thorough", "memory", "server-cores", "plot",
		"check-syscalls"},
	CheckSyscallsVerb: {"check-syscalls", "connections", "depth", "size"},
	"table":           {"rounds", "window", "thorough", "server-cores", "most"},
	"plots":           {"rounds", "window", "thorough", "from"},
	"scale":           {"most", "processes", "plot"},
	"compare":         {},
}

// Used says so if one of the flags in set, by their names, is not used by verb, which is ""
// for a bench.
func Used(verb string, set []string) error {
	name := "bench"
	if verb != "" {
		name += " " + verb
	}
	for _, flag := range set {
		if slices.Contains([]string{"json", "ascii", "no-color"}, flag) || slices.Contains(used[verb], flag) {
			continue
		}
		if len(used[verb]) == 0 {
			return fmt.Errorf("-%s is not used by %s, which has no flags of its own", flag, name)
		}
		return fmt.Errorf("-%s is not used by %s; what is: -%s", flag, name, strings.Join(used[verb], ", -"))
	}
	return nil
}

// Check says what is wrong with the values.
func (o *Options) Check() error {
	for name, n := range map[string]int{"churn": o.Churn, "idle": o.Idle, "slow": o.Slow, "rounds": o.Rounds, "memory": o.Memory, "processes": o.Processes} {
		if n < 0 {
			return fmt.Errorf("-%s %d is below zero", name, n)
		}
	}
	switch {
	case o.Rounds > mostRounds:
		return fmt.Errorf("-rounds %d: more than %d say no more", o.Rounds, mostRounds)
	case o.Size < 1 || o.Size > 1<<20:
		return fmt.Errorf("-size is 1 to %d bytes, not %d", 1<<20, o.Size)
	case !(o.Rate >= 0 && o.Rate <= mostRate): // nor is it NaN
		return fmt.Errorf("-rate is 0 to %d messages a second, not %v", int(mostRate), o.Rate)
	case o.Window < 0:
		return fmt.Errorf("-window %v is below zero", o.Window)
	case o.ServerCores < 1:
		return errors.New("-server-cores: a server needs one processor at least")
	case o.Most < 1:
		return errors.New("-most: a climb to nowhere; give it 1 connection at least")
	case o.Rate > 0 && (o.Depth != "" || o.Churn > 0):
		return errors.New("-rate is an open loop's; -depth and -churn are a closed loop's")
	}
	if _, err := o.Numbers(); err != nil {
		return err
	}
	return nil
}

// Numbers are the connections and depths that were asked for, nil for none.
func (o *Options) Numbers() (n struct{ Connections, Depth []int }, err error) {
	if n.Connections, err = numbers("connections", o.Connections, 1_000_000); err == nil {
		n.Depth, err = numbers("depth", o.Depth, 1024)
	}
	return n, err
}

func numbers(name, list string, most int) (all []int, err error) {
	if list == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("-%s %q: want numbers from 1 to %d, as in -%s 50,1000", name, list, most, name)
		}
		all = append(all, n)
	}
	return all, nil
}
