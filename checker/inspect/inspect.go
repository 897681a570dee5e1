// Package inspect looks at a server from outside, any process on Linux, and says what
// is wrong with it: descriptors, interest lists, rings, queues and threads, looked at
// several times over a second or so, so that what only passes by is not taken for a
// fault. It changes nothing in what it looks at.
package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"iolab/checker/probe"
	"iolab/checker/report"
)

// Subject is what does not change while a process is looked at.
type Subject struct {
	PID     int
	Name    string
	Command []string
	Program string // the path of its program; ends in " (deleted)" if that is gone
	Go      bool   // built by Go, whose runtime has an epoll instance of its own

	Soft, Hard uint64 // limits on descriptors
	NrOpen     uint64 // fs.nr_open, the most that a hard limit can be; 0 if not known

	Notes []string // what the reader should know about what was not seen
}

// Look is what was seen of a process at one moment.
type Look struct {
	At      time.Time
	Used    time.Duration // processor time so far
	RSS     int64         // bytes
	FDs     []probe.FD    // lowest first
	Sockets map[uint64]probe.Socket
	// Waiting are connections to the ports of its listeners that nobody has accepted.
	Waiting   []probe.Socket
	Changed   bool // connections were closed while it was looked
	Epolls    []Epoll
	Blind     bool // there is an epoll instance whose interest list could not be read
	Rings     []probe.Ring
	Threads   []Thread
	Pending   map[int]uint64 // what eventfds and timerfds in interest lists have to be read
	Large     map[int]int64  // sizes of regular files that are deleted and open
	Overflows uint64         // of all accept queues in the network namespace, so far
	Drops     uint64

	watched map[int][]watch // by descriptor
}

// Epoll is one epoll instance.
type Epoll struct {
	FD        int
	Interests []probe.Interest
}

// Thread is one thread.
type Thread struct {
	probe.Thread
	ID     int
	Name   string
	Used   time.Duration // on a processor, so far
	Waited time.Duration // for a processor
	System time.Duration // part of Used, in the kernel, roughly
}

// The states of a finding.
const (
	Problem = "problem"
	Note    = "note" // may be meant so
)

// Finding is one thing that was found.
type Finding struct {
	ID      string            `json:"id"`
	State   string            `json:"state"`
	Text    string            `json:"text"`    // a plain sentence or two
	Figures []report.Evidence `json:"figures"` // what it rests on
	Do      string            `json:"do"`
	Read    string            `json:"read,omitempty"` // a file of the lab and a heading in it
	FDs     []int             `json:"fds,omitempty"`  // the descriptors concerned
}

// Report is the whole of an inspection. Fields are only ever added.
type Report struct {
	PID     int      `json:"pid"`
	Name    string   `json:"name"`
	Command []string `json:"command"`
	Looks   int      `json:"looks"`
	Seconds float64  `json:"seconds"`
	Notes   []string `json:"notes"`

	CPU     float64        `json:"cpu"`    // processors used, on average
	Demand  float64        `json:"demand"` // and wanted: the same and the wait for one
	Threads int            `json:"threads"`
	Busiest []ThreadReport `json:"busiest"`
	Doing   map[string]int `json:"doing"`  // threads by what they did in the last look
	Memory  int64          `json:"memory"` // resident bytes

	Descriptors Descriptors      `json:"descriptors"`
	Listeners   []ListenerReport `json:"listeners"`
	Sockets     []SocketReport   `json:"sockets"`
	Epolls      []EpollReport    `json:"epoll"`
	Rings       []RingReport     `json:"rings"`
	// Of the whole network namespace, while it was looked at.
	ListenOverflows uint64 `json:"listen_overflows"`
	ListenDrops     uint64 `json:"listen_drops"`

	Findings []Finding `json:"findings"`
}

// ThreadReport is one of the busiest threads.
type ThreadReport struct {
	ID     int     `json:"id"`
	Name   string  `json:"name"`
	CPU    float64 `json:"cpu"`
	Demand float64 `json:"demand"`
	System float64 `json:"system"` // part of CPU, in the kernel
	Where  string  `json:"where"`  // in the last look, such as "asleep in epoll_wait(4)"
}

// Descriptors are counted against the limits.
type Descriptors struct {
	Open   int            `json:"open"`
	Soft   string         `json:"soft"`
	Hard   string         `json:"hard"`
	NrOpen uint64         `json:"nr_open"`
	Kinds  map[string]int `json:"kinds"`
}

// ListenerReport is one listening socket.
type ListenerReport struct {
	FD      int    `json:"fd"`
	Local   string `json:"local"`
	Waiting int    `json:"waiting"` // in the accept queue
	Backlog int    `json:"backlog"` // -1 if not known
	Drops   int    `json:"drops"`   // since it was made, -1 likewise
	Dropped int    `json:"dropped"` // while it was looked at
}

// SocketReport is one TCP socket that is no listener, as it was last seen.
type SocketReport struct {
	FD        int           `json:"fd"`
	State     string        `json:"state"`
	Local     string        `json:"local"`
	Remote    string        `json:"remote"`
	Unread    int           `json:"unread"`
	EndUnread bool          `json:"end_unread"`
	Unsent    int           `json:"unsent"`
	Read      uint64        `json:"read"`  // bytes while it was looked at
	Acked     uint64        `json:"acked"` // likewise
	Watched   []WatchReport `json:"watched"`
}

// WatchReport is one registration of a descriptor with an epoll instance.
type WatchReport struct {
	Epoll  int    `json:"epoll"`
	Events string `json:"events"`
	Data   string `json:"data"` // in hex
}

// EpollReport is one interest list.
type EpollReport struct {
	FD      int          `json:"fd"`
	Entries []EpollEntry `json:"entries"`
}

// EpollEntry is one entry of an interest list.
type EpollEntry struct {
	FD     int    `json:"fd"`
	Events string `json:"events"`
	Data   string `json:"data"`
	What   string `json:"what"`
	Ghost  bool   `json:"ghost"` // its number is closed, or names another file
	Unread int    `json:"unread"`
	Unsent int    `json:"unsent"`
}

// RingReport is one io_uring.
type RingReport struct {
	FD        int            `json:"fd"`
	SqHead    uint32         `json:"sq_head"`
	SqTail    uint32         `json:"sq_tail"`
	SqEntries uint32         `json:"sq_entries"`
	CqHead    uint32         `json:"cq_head"`
	CqTail    uint32         `json:"cq_tail"`
	CqEntries uint32         `json:"cq_entries"`
	Overflow  int            `json:"overflow"`
	Waiting   map[string]int `json:"waiting"`
	Files     int            `json:"files"`
	Buffers   int            `json:"buffers"`
	SqThread  int            `json:"sq_thread"` // -1 for none
}

// Sum makes a report of looks, of which there are two at least.
func Sum(s Subject, looks []Look) Report {
	c := newCase(s, looks)
	first, last := c.looks[0], c.looks[len(looks)-1]
	took := last.At.Sub(first.At)
	r := Report{
		PID: s.PID, Name: s.Name, Command: s.Command, Looks: len(looks), Seconds: took.Seconds(),
		Notes: append([]string{}, s.Notes...), Memory: last.RSS, Threads: len(last.Threads), Busiest: []ThreadReport{}, Doing: last.doing(),
		Descriptors: Descriptors{Open: len(last.FDs), Soft: limit(s.Soft), Hard: limit(s.Hard), NrOpen: s.NrOpen, Kinds: map[string]int{}},
		Listeners:   []ListenerReport{}, Sockets: []SocketReport{}, Epolls: []EpollReport{}, Rings: []RingReport{},
		ListenOverflows: last.Overflows - first.Overflows, ListenDrops: last.Drops - first.Drops,
	}
	r.CPU, r.Demand = share(last.Used-first.Used, took), c.demand
	for _, t := range c.busiest() {
		r.Busiest = append(r.Busiest, ThreadReport{t.last.ID, t.last.Name, share(t.used, took), t.demand, share(t.system, took), where(t.last.Thread)})
	}
	for _, fd := range last.FDs {
		r.Descriptors.Kinds[fd.Kind]++
		socket, ok := last.Sockets[inode(fd)]
		switch {
		case fd.Kind == "listener" && ok:
			l := ListenerReport{FD: fd.Num, Local: socket.Local.String(), Waiting: socket.AcceptQueue, Backlog: socket.Backlog, Drops: socket.Drops}
			if before, ok := first.Sockets[socket.Inode]; ok && socket.Drops >= 0 {
				l.Dropped = socket.Drops - before.Drops
			}
			r.Listeners = append(r.Listeners, l)
		case fd.Kind == "tcp":
			r.Sockets = append(r.Sockets, socketReport(fd, socket, first.Sockets[socket.Inode], last))
		}
	}
	for _, e := range last.Epolls {
		list := EpollReport{e.FD, []EpollEntry{}}
		for _, i := range e.Interests {
			entry := EpollEntry{FD: i.FD, Events: probe.DecodeEpoll(i.Events), Data: fmt.Sprintf("%#x", i.Data), What: last.what(i), Ghost: i.Ghost}
			if socket, ok := last.Sockets[i.Inode]; ok {
				entry.Unread, entry.Unsent = socket.Unread, socket.Unsent
			}
			list.Entries = append(list.Entries, entry)
		}
		r.Epolls = append(r.Epolls, list)
	}
	for _, x := range last.Rings {
		r.Rings = append(r.Rings, RingReport{x.FD, x.SqHead, x.SqTail, x.SqEntries, x.CqHead, x.CqTail, x.CqEntries, x.Overflow, x.Waiting, x.Files, x.Buffers, x.SqThread})
	}
	r.Findings = c.diagnose()
	return r
}

func socketReport(fd probe.FD, now, before probe.Socket, l Look) SocketReport {
	r := SocketReport{FD: fd.Num, State: "CLOSE", Watched: []WatchReport{}}
	if now.State != "" {
		r.State, r.Local, r.Remote = now.State, now.Local.String(), now.Remote.String()
		r.Unread, r.EndUnread, r.Unsent = now.Unread, now.EndUnread, now.Unsent
		if before.Counted && now.Counted {
			r.Read, r.Acked = now.Read-before.Read, now.Acked-before.Acked
		}
	}
	for _, w := range l.watches(fd) {
		r.Watched = append(r.Watched, WatchReport{w.epoll, probe.DecodeEpoll(w.Events), fmt.Sprintf("%#x", w.Data)})
	}
	return r
}

// Failed tells whether a problem was found.
func (r Report) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.State == Problem })
}

func limit(n uint64) string {
	if n == probe.Unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

func share(used, of time.Duration) float64 {
	if of <= 0 {
		return 0
	}
	return max(0, float64(used)/float64(of))
}

// inode is the inode of a socket's descriptor, 0 of any other.
func inode(fd probe.FD) uint64 {
	text, ok := strings.CutPrefix(fd.Target, "socket:[")
	if !ok {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
	return n
}

// watch is an entry of an interest list, and whose.
type watch struct {
	epoll int
	probe.Interest
}

// index is l with its interest lists sorted by descriptor.
func (l Look) index() Look {
	l.watched = map[int][]watch{}
	for _, e := range l.Epolls {
		for _, i := range e.Interests {
			l.watched[i.FD] = append(l.watched[i.FD], watch{e.FD, i})
		}
	}
	return l
}

// watches are the entries for fd in the process's interest lists.
func (l Look) watches(fd probe.FD) []watch {
	var list []watch
	for _, w := range l.watched[fd.Num] {
		if !w.Ghost && (inode(fd) == 0 || w.Inode == inode(fd)) {
			list = append(list, w)
		}
	}
	return list
}

// fd is the open descriptor with a number.
func (l Look) fd(num int) (probe.FD, bool) {
	i, ok := slices.BinarySearchFunc(l.FDs, num, func(fd probe.FD, n int) int { return cmp.Compare(fd.Num, n) })
	if !ok {
		return probe.FD{}, false
	}
	return l.FDs[i], true
}

// what describes what an entry watches.
func (l Look) what(i probe.Interest) string {
	if s, ok := l.Sockets[i.Inode]; ok {
		if s.State == "LISTEN" {
			return "listener " + s.Local.String()
		}
		return fmt.Sprintf("tcp %s %v -> %v", s.State, s.Local, s.Remote)
	}
	if i.Ghost {
		return "something that has this number no more"
	}
	fd, ok := l.fd(i.FD)
	switch {
	case !ok:
		return "closed"
	case fd.Kind == "tcp":
		return "tcp without a connection"
	case fd.Kind == "file":
		return fd.Target
	}
	return fd.Kind
}

// where says what a thread was doing.
func where(t probe.Thread) string {
	switch {
	case t.State == "R":
		return "running"
	case t.InSyscall:
		name := probe.SyscallName(t.Syscall)
		if firstArgIsFD(name) {
			return fmt.Sprintf("asleep in %s(%d)", name, int32(t.Arg))
		}
		return "asleep in " + name
	case t.Wchan != "":
		return "asleep in the kernel's " + t.Wchan
	case t.State == "D":
		return "asleep, not to be interrupted"
	case t.State == "T" || t.State == "t":
		return "stopped"
	}
	return "asleep"
}

// firstArgIsFD tells of which calls the first argument is a descriptor.
func firstArgIsFD(call string) bool {
	for _, prefix := range []string{"read", "write", "recv", "send", "accept", "connect", "epoll_", "io_uring_enter", "fsync", "fdatasync", "flock", "close"} {
		if strings.HasPrefix(call, prefix) {
			return true
		}
	}
	return false
}
