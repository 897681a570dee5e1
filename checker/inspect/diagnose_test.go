package inspect

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/checker/probe"
	"iolab/checker/report"
)

// scene is a process as the tests make it up: one listener (fd 3), one epoll instance
// (fd 4), one connection (fd 5), whose socket, entry and so on change may change.
type scene struct {
	Subject
	Look
	socket *probe.Socket
	listen *probe.Socket
	entry  *probe.Interest
	thread *Thread
	beside *probe.Socket // another, with inode 60
	n      int           // which look it is
}

var (
	home   = netip.MustParseAddrPort("10.0.0.1:80")
	client = netip.MustParseAddrPort("10.0.0.2:5000")
)

// inspected is the report of 5 looks in a second at the scene as change leaves it in
// each.
func inspected(change func(s *scene)) Report {
	var subject Subject
	var looks []Look
	for n := range 5 {
		s := scene{
			Subject: Subject{PID: 7, Name: "server", Soft: 1024, Hard: 4096, NrOpen: 1 << 20},
			socket:  &probe.Socket{Inode: 50, State: "ESTABLISHED", Local: home, Remote: client, Backlog: -1, Drops: -1, Counted: true},
			listen:  &probe.Socket{Inode: 30, State: "LISTEN", Local: home, Backlog: 128},
			entry:   &probe.Interest{FD: 5, Events: epollIn | 0x18, Inode: 50},
			thread:  &Thread{ID: 7, Name: "server", Thread: probe.Thread{State: "S", Wchan: "ep_poll"}},
			n:       n,
		}
		s.At = time.Unix(1e9, 0).Add(time.Duration(n) * time.Second / 4)
		s.FDs = []probe.FD{{Num: 3, Kind: "listener", Target: "socket:[30]"}, {Num: 4, Kind: "epoll"}, {Num: 5, Kind: "tcp", Target: "socket:[50]"}}
		change(&s)
		s.Sockets = map[uint64]probe.Socket{30: *s.listen}
		if s.beside != nil {
			s.Sockets[60] = *s.beside
		}
		if s.socket != nil {
			s.Sockets[50] = *s.socket
		}
		s.Threads = append(s.Threads, *s.thread)
		if s.Epolls == nil {
			s.Epolls = []Epoll{{4, []probe.Interest{{FD: 3, Events: epollIn | 0x18, Inode: 30}, *s.entry}}}
		}
		subject = s.Subject
		looks = append(looks, s.Look)
	}
	return Sum(subject, looks)
}

// hot makes the process use a whole processor, system of it in the kernel.
func (s *scene) hot(system float64) {
	s.thread.Used = time.Duration(s.n) * time.Second / 4
	s.thread.System = time.Duration(system * float64(s.thread.Used))
	s.thread.Thread = probe.Thread{State: "R"}
}

func (s *scene) lying(age time.Duration) { s.socket.LastData, s.socket.LastAck = age, age }

// ring is an io_uring beside or in place of the interest list.
func (s *scene) ring(r probe.Ring) {
	r.FD, r.SqThread = 9, -1
	s.Rings, s.Epolls = []probe.Ring{r}, []Epoll{}
}

func (s *scene) waiting(from ...string) {
	s.listen.AcceptQueue = len(from)
	for _, a := range from {
		s.Waiting = append(s.Waiting, probe.Socket{State: "ESTABLISHED", Local: home, Remote: netip.MustParseAddrPort(a)})
	}
}

func TestDiagnoses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(s *scene)
		want   string // the findings, "problem id" or "note id"; "" for none
		text   string
	}{
		{"a quiet server", func(s *scene) {}, "", ""},

		{"write interest, busy", func(s *scene) { s.entry.Events |= epollOut; s.hot(0.6) }, "problem write-interest-left-armed", "It spins"},
		{"write interest, not busy: nobody waits", func(s *scene) { s.entry.Events |= epollOut }, "note write-interest-left-armed", "every epoll_wait returns at once"},
		{"write interest, edge-triggered", func(s *scene) { s.entry.Events |= epollOut | epollET }, "", ""},
		{"write interest in some looks", func(s *scene) {
			if s.n%2 == 0 {
				s.entry.Events |= epollOut
			}
			s.hot(0.6)
			s.socket.Acked = uint64(s.n)
		}, "", ""},
		{"write interest, and something is sent", func(s *scene) { s.entry.Events |= epollOut; s.socket.Unsent = 1000 * s.n }, "", ""},
		{"write interest while it connects", func(s *scene) { s.entry.Events |= epollOut; s.socket.State = "SYN_SENT"; s.socket.Unsent = 1 }, "", ""},

		{"an edge lost, a moment ago", func(s *scene) { s.entry.Events |= epollET; s.socket.Unread = 10 }, "note edge-lost", "look again in a while"},
		{"an edge lost, long ago", func(s *scene) { s.entry.Events |= epollET; s.socket.Unread = 10; s.lying(time.Minute) }, "problem edge-lost", "nothing more will be until the peer sends again"},
		{"unread, but it reads", func(s *scene) { s.entry.Events |= epollET; s.socket.Unread = 10; s.socket.Read = uint64(s.n) }, "", ""},
		{"unread in the last look only", func(s *scene) { s.socket.Unread = s.n / 4 }, "", ""},
		{"unread because the peer does not read", func(s *scene) { s.entry.Events |= epollET; s.socket.Unread, s.socket.Unsent = 10, 99 }, "note peer-does-not-read", ""},
		{"unread, the kernel does not count, but it gets less", func(s *scene) {
			s.entry.Events |= epollET
			s.socket.Counted, s.socket.Unread = false, 100-s.n
		}, "", ""},
		{"unread, the kernel does not count", func(s *scene) { s.entry.Events |= epollET; s.socket.Counted, s.socket.Unread = false, 100 }, "note edge-lost", ""},
		{"Go's netpoller", func(s *scene) {
			s.Go = true
			s.entry.Events, s.entry.Data = epollIn|epollOut|epollRdHup|epollET, 0x7f1234567890<<16
			s.socket.Unread = 10
		}, "note no-goroutine-reads", "no goroutine reads there"},
		{"level-triggered and not read", func(s *scene) { s.socket.Unread = 10; s.hot(0.5) }, "problem readable-not-read", "So it spins"},
		{"a process that got little of the processor", func(s *scene) {
			s.socket.Unread = 10
			s.hot(0)
			s.thread.Waited, s.thread.Used = s.thread.Used, 10*time.Millisecond
		}, "problem readable-not-read", "one long computation"},
		{"one-shot, with a worker", func(s *scene) { s.entry.Events = epollOneShot | 0x18; s.socket.Unread = 10 }, "note one-shot-not-armed-again", ""},
		{"reading switched off", func(s *scene) { s.entry.Events = 0x18; s.socket.Unread = 10; s.lying(time.Minute) }, "problem reading-paused", ""},
		{"a proxy that waits for its other side", func(s *scene) {
			s.entry.Events = 0x18
			s.socket.Unread = 10
			s.lying(time.Minute)
			s.FDs = append(s.FDs, probe.FD{Num: 6, Kind: "tcp", Target: "socket:[60]"})
			s.beside = &probe.Socket{Inode: 60, State: "ESTABLISHED", Local: client, Remote: home, Counted: true, Unsent: 5000}
		}, "note reading-paused, note peer-does-not-read", "It may pause on purpose"},
		{"a proxy that waits for an answer", func(s *scene) {
			s.entry.Events |= epollET
			s.socket.Unread = 10
			s.lying(time.Minute)
			s.FDs = append(s.FDs, probe.FD{Num: 6, Kind: "tcp", Target: "socket:[60]"})
			s.beside = &probe.Socket{Inode: 60, State: "ESTABLISHED", Local: client, Remote: home, Counted: true}
		}, "note edge-lost", "It may wait for an answer on a connection that it has opened itself, such as fd 6 to 10.0.0.1:80"},
		{"in no interest list", func(s *scene) { s.socket.Unread = 10; s.Epolls = []Epoll{{4, nil}}; s.lying(time.Minute) }, "problem unwatched", "no thread takes them"},
		{"in no interest list that could be read", func(s *scene) {
			s.socket.Unread, s.Blind = 10, true
			s.Epolls = []Epoll{{4, nil}}
			s.lying(time.Minute)
		}, "", ""},
		{"select, and busy", func(s *scene) { s.socket.Unread = 10; s.Epolls = []Epoll{}; s.hot(0.5) }, "note unwatched", "If it waits with select or poll"},

		{"the loop sleeps elsewhere", func(s *scene) { s.socket.Unread = 10; s.thread.Wchan = "hrtimer_nanosleep" }, "problem loop-held-up", "asleep in the kernel's hrtimer_nanosleep"},
		{"the loop computes", func(s *scene) { s.socket.Unread = 10; s.hot(0) }, "problem loop-held-up", "It computes: 100%"},
		{"what the loop does is not told", func(s *scene) { s.entry.Events |= epollET; s.socket.Unread = 10; s.thread.Wchan = "" }, "note edge-lost", ""},

		{"CLOSE_WAIT, just now", func(s *scene) { s.socket.State = "CLOSE_WAIT" }, "note close-wait", "as long as an answer is still to be sent"},
		{"CLOSE_WAIT, old", func(s *scene) { s.socket.State = "CLOSE_WAIT"; s.lying(time.Hour) }, "problem close-wait", ""},
		{"CLOSE_WAIT, answering", func(s *scene) { s.socket.State = "CLOSE_WAIT"; s.socket.Acked = uint64(s.n) }, "", ""},
		{"CLOSE_WAIT, an edge lost", func(s *scene) {
			s.socket.State, s.socket.EndUnread, s.socket.Unread = "CLOSE_WAIT", true, 3
			s.entry.Events |= epollET
		}, "note close-wait", "not reported again"},
		{"CLOSE_WAIT, reported for ever", func(s *scene) { s.socket.State = "CLOSE_WAIT"; s.hot(0.5) }, "problem end-reported-forever", ""},

		{"a reset connection, busy", func(s *scene) { s.socket = nil; s.hot(0.5) }, "problem reset-not-closed", "It spins"},
		{"a reset connection in no list", func(s *scene) { s.socket = nil; s.Epolls = []Epoll{{4, nil}} }, "", ""},
		{"a ghost", func(s *scene) { s.entry.Ghost = true }, "note registration-outlives-close", ""},
		{"a ghost that a child holds, busy with other things", func(s *scene) {
			s.entry.Ghost = true
			s.FDs, s.socket, s.Changed = s.FDs[:2], nil, true
			s.hot(0.5)
		}, "note registration-outlives-close", ""},
		{"a ghost that is always writable, busy", func(s *scene) {
			s.entry.Ghost = true
			s.entry.Events |= epollOut
			s.FDs, s.socket = s.FDs[:2], nil
			s.hot(0.5)
		}, "problem registration-outlives-close", "It spins"},
		{"a ghost of a reset connection, busy", func(s *scene) {
			s.entry.Ghost = true
			s.FDs[2].Num, s.socket = 6, nil
			s.hot(0.5)
		}, "problem registration-outlives-close", "It spins"},
		{"an eventfd, busy", func(s *scene) {
			s.FDs = append(s.FDs, probe.FD{Num: 6, Kind: "eventfd"})
			s.Epolls = []Epoll{{4, []probe.Interest{{FD: 6, Events: epollIn}}}}
			s.Pending = map[int]uint64{6: 1}
			s.hot(0.5)
		}, "problem wake-not-read", ""},
		{"an eventfd, busy with traffic", func(s *scene) {
			s.FDs = append(s.FDs, probe.FD{Num: 6, Kind: "eventfd"})
			s.Epolls = []Epoll{{4, []probe.Interest{*s.entry, {FD: 6, Events: epollIn}}}}
			s.Pending = map[int]uint64{6: 1}
			s.socket.Read = uint64(1000 * s.n)
			s.hot(0.5)
		}, "", ""},
		{"an eventfd that is read, busy", func(s *scene) {
			s.FDs = append(s.FDs, probe.FD{Num: 6, Kind: "eventfd"})
			s.Epolls = []Epoll{{4, []probe.Interest{*s.entry, {FD: 6, Events: epollIn}}}}
			s.Pending = map[int]uint64{6: uint64(9 - s.n)}
			s.hot(0.5)
		}, "note busy-without-traffic", ""},

		{"near the limit", func(s *scene) { s.Soft = 3 }, "problem descriptors", "have 3: 0 more"},
		{"no limit", func(s *scene) { s.Soft = probe.Unlimited }, "", ""},
		{"clients wait, others are accepted", func(s *scene) { s.waiting(fmt.Sprintf("10.0.0.3:%d", 1000+s.n)) }, "", ""},
		{"clients wait and none is accepted", func(s *scene) { s.waiting("10.0.0.3:1000", "10.0.0.3:1001"); s.hot(0.5) }, "problem nobody-accepts", ""},
		{"no descriptors left", func(s *scene) { s.waiting("10.0.0.3:1000"); s.Soft = 3; s.hot(0.5) }, "problem descriptors, problem nobody-accepts", "accept fails with EMFILE"},
		{"a full queue that moves", func(s *scene) {
			s.waiting(fmt.Sprintf("10.0.0.3:%d", 1000+s.n))
			s.listen.AcceptQueue = 129
		}, "problem accept-queue-full", "runs over"},
		{"dropped for want of room", func(s *scene) { s.listen.Drops, s.Overflows = 10*s.n, uint64(10*s.n) }, "problem accept-queue-full", ""},
		{"dropped for another reason", func(s *scene) { s.listen.Drops = 10 * s.n }, "", ""},
		{"dropped once", func(s *scene) { s.listen.Drops, s.Overflows = 10, 99 }, "", ""},

		{"the peer's machine is gone", func(s *scene) { s.socket.Unsent, s.socket.Retransmits = 10, 4 }, "note peer-is-silent", ""},
		{"the peer never closes", func(s *scene) { s.socket.State = "FIN_WAIT2"; s.lying(2 * time.Minute) }, "note half-closed", ""},

		{"a ring at work", func(s *scene) {
			s.ring(probe.Ring{CqHead: uint32(s.n), CqTail: uint32(s.n + 3), SqHead: 5, SqTail: 5})
		}, "", ""},
		{"completions overflow", func(s *scene) { s.ring(probe.Ring{CqHead: uint32(s.n), CqTail: 4096, Overflow: 12}) }, "problem completions-overflow", "12 completions wait"},
		{"completions lie there", func(s *scene) { s.ring(probe.Ring{CqHead: 5, CqTail: 6}) }, "problem completions-not-taken", "1 completion of"},
		{"submissions lie there", func(s *scene) { s.ring(probe.Ring{SqHead: 5, SqTail: 7}) }, "problem submissions-not-handed-over", "2 submissions of"},
		{"no receive", func(s *scene) { s.ring(probe.Ring{Waiting: map[string]int{"accept": 1}}); s.socket.Unread = 1 }, "note no-receive-under-way", ""},

		{"an old program", func(s *scene) { s.Program = "/usr/bin/server (deleted)" }, "note program-replaced", ""},
		{"a large deleted file", func(s *scene) { s.Large = map[int]int64{5: 1 << 30} }, "note deleted-file", ""},
		{"busy with nothing", func(s *scene) { s.hot(0.5) }, "note busy-without-traffic", "returns at once"},
		{"busy computing", func(s *scene) { s.hot(0) }, "note busy-without-traffic", "it computes"},
		{"busy with clients that come and go", func(s *scene) {
			s.hot(0.5)
			s.FDs[2].Target, s.socket.Inode = fmt.Sprintf("socket:[%d]", 50+s.n), 50
		}, "", ""},
		{"busy with clients that leave while it is looked", func(s *scene) { s.hot(0.5); s.Changed = s.n == 2 }, "", ""},
		{"busy with traffic", func(s *scene) { s.hot(0.5); s.socket.Read = uint64(1000 * s.n) }, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := inspected(tc.change)
			got, text := []string{}, ""
			for _, f := range r.Findings {
				got = append(got, f.State+" "+f.ID)
				text += f.Text + "\n"
				assert.NotEmpty(t, f.Do)
				assert.NotEmpty(t, f.Figures)
			}
			assert.Equal(t, tc.want, strings.Join(got, ", "), text)
			assert.Contains(t, text, tc.text)
			page := Text(r, Options{Options: report.Options{ASCII: true}})
			for _, c := range page {
				assert.Less(t, c, rune(128), "%s", page)
			}
		})
	}
}

// Where a finding says to read, there is such a heading.
func TestWhereToReadExists(t *testing.T) {
	source, err := os.ReadFile("diagnose.go")
	require.NoError(t, err)
	places := regexp.MustCompile(`"(lessons/[^",]+), ([^"]+)"`).FindAllSubmatch(source, -1)
	require.NotEmpty(t, places)
	for _, p := range places {
		text, err := os.ReadFile(filepath.Join("../..", string(p[1])))
		require.NoError(t, err)
		assert.Regexp(t, `(?m)^##+ `+regexp.QuoteMeta(string(p[2]))+`\r?$`, string(bytes.TrimSpace(text)), "%s", p[0])
	}
}

func TestLongListsAreCut(t *testing.T) {
	r := inspected(func(s *scene) {
		list := []probe.Interest{}
		for fd := range 50 {
			list = append(list, probe.Interest{FD: fd + 100, Events: epollIn | 0x18, Ghost: fd == 40})
		}
		s.Epolls = []Epoll{{4, list}}
	})
	text := Text(r, Options{})
	assert.Contains(t, text, "42 more: -all")
	assert.Contains(t, text, "140", "the one that a finding names is among the first")
	assert.NotContains(t, Text(r, Options{All: true}), "more: -all")
}

func TestNamesCannotPlayTricks(t *testing.T) {
	r := inspected(func(s *scene) { s.Name, s.Command = "a\x1b[2Jb", []string{"a\nb", "\x9b31m"} })
	assert.NotContains(t, Text(r, Options{}), "\x1b")
	assert.NotContains(t, Text(r, Options{}), "\u009b")
	r = inspected(func(s *scene) {
		s.Name, s.thread.Name, s.Command = "caf\u00e9", "\u202egpj.exe", []string{"\u2066a\u2069\u2028"}
	})
	assert.Contains(t, Text(r, Options{}), "caf\u00e9")
	assert.NotRegexp(t, `[\x{202e}\x{2066}\x{2069}\x{2028}]`, Text(r, Options{}))
	assert.NotRegexp(t, `[^\x00-\x7f]`, Text(r, Options{Options: report.Options{ASCII: true}}))
}
