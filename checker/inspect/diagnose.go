package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"iolab/checker/probe"
	"iolab/checker/report"
)

// The bits of an epoll event that the rules ask for; package unix has them on Linux only.
const (
	epollIn      = 0x001
	epollOut     = 0x004
	epollRdHup   = 0x2000
	epollOneShot = 1 << 30
	epollET      = 1 << 31
)

const (
	// busy is the part of one processor above which a process that moves nothing is busy:
	// used, or waited for on a machine that has other work too.
	busy = 0.7
	// lasting is the age at which a state that a program may be in for a while on
	// purpose, such as working on a request while the next lies unread, is a fault.
	lasting = 10 * time.Second
	// idleEnd is the age at which a connection whose other side has still to close is
	// worth a word.
	idleEnd = time.Minute
	// large is the size from which a deleted file that is open is worth a word.
	large = 64 << 20
)

// kase is all that was seen, arranged for the rules.
type kase struct {
	Subject
	looks   []Look
	took    time.Duration
	demand  float64 // processors wanted, on average
	system  float64 // the kernel's part of the processor time
	threads []threadUse
	tracks  []*track // TCP sockets that were there in every look, by descriptor
	dead    []*track // TCP sockets without a connection, likewise
	listens []*track
	held    map[int]bool // epoll instances that nobody waits on though something is ready
}

// threadUse is what a thread that was there in all looks has used.
type threadUse struct {
	last         Thread
	used, system time.Duration
	demand       float64
}

// track is one TCP socket, look by look.
type track struct {
	fd    int
	seen  []probe.Socket
	watch [][]watch
}

func newCase(s Subject, looks []Look) *kase {
	c := &kase{Subject: s, held: map[int]bool{}}
	for _, l := range looks {
		c.looks = append(c.looks, l.index())
	}
	first, last := c.looks[0], c.looks[len(c.looks)-1]
	c.took = last.At.Sub(first.At)
	before := map[int]Thread{}
	for _, t := range first.Threads {
		before[t.ID] = t
	}
	var used, system time.Duration
	for _, t := range last.Threads {
		b, ok := before[t.ID]
		if !ok {
			continue
		}
		u := threadUse{last: t, used: t.Used - b.Used, system: t.System - b.System}
		u.demand = share(u.used+t.Waited-b.Waited, c.took)
		if c.alwaysRuns(t.ID) { // the kernel counts a wait when it is over
			u.demand = max(u.demand, 1)
		}
		c.threads = append(c.threads, u)
		c.demand += u.demand
		used += u.used
		system += u.system
	}
	c.system = share(system, used)
	c.follow()
	return c
}

// alwaysRuns tells whether a thread was running, or ready to, in every look.
func (c *kase) alwaysRuns(tid int) bool {
	return !slices.ContainsFunc(c.looks, func(l Look) bool {
		i := slices.IndexFunc(l.Threads, func(t Thread) bool { return t.ID == tid })
		return i < 0 || l.Threads[i].State != "R"
	})
}

// follow finds the sockets that were there in every look, under the same number.
func (c *kase) follow() {
	last := c.looks[len(c.looks)-1]
next:
	for _, fd := range last.FDs {
		if fd.Kind != "tcp" && fd.Kind != "listener" {
			continue
		}
		t := &track{fd: fd.Num}
		for _, l := range c.looks {
			then, ok := l.fd(fd.Num)
			if !ok || then.Target != fd.Target {
				continue next
			}
			s := l.Sockets[inode(fd)]
			if s.State == "" && then.Kind != "tcp" {
				continue next
			}
			t.seen = append(t.seen, s)
			t.watch = append(t.watch, l.watches(fd))
		}
		switch {
		case t.all(func(s probe.Socket) bool { return s.State == "LISTEN" }):
			c.listens = append(c.listens, t)
		case t.all(func(s probe.Socket) bool { return s.State == "" }):
			c.dead = append(c.dead, t)
		case t.all(func(s probe.Socket) bool { return s.State != "" && s.State != "LISTEN" }):
			c.tracks = append(c.tracks, t)
		}
	}
}

func (c *kase) busiest() []threadUse {
	list := slices.Clone(c.threads)
	slices.SortStableFunc(list, func(a, b threadUse) int { return cmp.Compare(b.demand, a.demand) })
	return list[:min(3, len(list))]
}

func (c *kase) busy() bool { return c.demand >= busy }

// enough is the processor time from which the kernel's part of it, which is counted in
// steps of 10 ms, says something.
const enough = 100 * time.Millisecond

// computes tells a busy process that works for itself from one that is in the kernel
// again and again, by its busiest thread.
func (c *kase) computes() bool {
	if !c.busy() || len(c.threads) == 0 {
		return false
	}
	t := slices.MaxFunc(c.threads, func(a, b threadUse) int { return cmp.Compare(a.used, b.used) })
	return t.used >= enough && share(t.system, t.used) < 0.1
}

func (t *track) first() probe.Socket { return t.seen[0] }
func (t *track) last() probe.Socket  { return t.seen[len(t.seen)-1] }

func (t *track) all(f func(probe.Socket) bool) bool {
	return !slices.ContainsFunc(t.seen, func(s probe.Socket) bool { return !f(s) })
}

// watched tells whether in every look an interest list had an entry for which f holds.
func (t *track) watched(f func(events uint32) bool) bool {
	for _, entries := range t.watch {
		if !slices.ContainsFunc(entries, func(w watch) bool { return f(w.Events) }) {
			return false
		}
	}
	return true
}

// open tells whether data can flow to the program: the connection is up, or the peer
// has sent its end.
func (t *track) open() bool {
	return t.all(func(s probe.Socket) bool { return s.State == "ESTABLISHED" || s.State == "CLOSE_WAIT" })
}

// readNothing tells whether the program took nothing from the receive queue.
func (t *track) readNothing() bool {
	if t.first().Counted && t.last().Counted {
		return t.first().Read == t.last().Read
	}
	for i := 1; i < len(t.seen); i++ {
		if t.seen[i].Unread < t.seen[i-1].Unread {
			return false
		}
	}
	return true
}

// sentNothing tells whether nothing has left the send queue.
func (t *track) sentNothing() bool {
	if t.first().Counted && t.last().Counted && t.first().Acked != t.last().Acked {
		return false
	}
	return t.all(func(s probe.Socket) bool { return s.Unsent == t.first().Unsent })
}

// unread: bytes, or the end, lie in the receive queue in every look, none was taken, and
// no full send queue is a reason not to take them.
func (t *track) unread() bool {
	return t.open() && t.all(func(s probe.Socket) bool { return (s.Unread > 0 || s.EndUnread) && s.Unsent == 0 }) && t.readNothing()
}

// stalled: the send queue holds bytes in every look, and none has left.
func (t *track) stalled() bool {
	return t.all(func(s probe.Socket) bool {
		return s.Unsent > 0 && (s.State == "ESTABLISHED" || s.State == "CLOSE_WAIT")
	}) && t.sentNothing()
}

// age is for how long at least nothing has come on the socket; false if the kernel
// does not tell.
func (t *track) age() (time.Duration, bool) {
	s := t.last()
	return min(s.LastData, s.LastAck), s.Counted
}

func isET(events uint32) bool { return events&epollET != 0 }
func disarmed(events uint32) bool {
	return events&epollOneShot != 0 && events&(epollIn|epollOut|epollRdHup) == 0
}

func wants(bits uint32) func(uint32) bool {
	return func(events uint32) bool { return events&bits != 0 }
}

// levelWants: registered for one of bits, so that it is reported as long as it lasts.
func levelWants(bits uint32) func(uint32) bool {
	return func(events uint32) bool { return events&bits != 0 && !isET(events) }
}

// waitedOn tells whether a thread waited on the epoll instance in any look; also if it
// cannot be known.
func (c *kase) waitedOn(epfd int) bool {
	known := false
	for _, l := range c.looks {
		for _, t := range l.Threads {
			switch {
			case t.InSyscall:
				known = true
				if strings.HasPrefix(probe.SyscallName(t.Syscall), "epoll_") && int(int32(t.Arg)) == epfd {
					return true
				}
			case t.Wchan == "ep_poll" || t.Wchan == "do_epoll_wait":
				return true // on which one is not told
			case t.Wchan != "" || t.State == "R":
				known = true
			}
		}
	}
	return !known
}

// netpoller tells whether an entry is one of the Go runtime's own: it registers every
// descriptor edge-triggered for both directions, with a pointer as its data.
func (c *kase) netpoller(w watch) bool {
	const all = epollIn | epollOut | epollRdHup | epollET
	return c.Go && w.Events&all == all && w.Data>>40 != 0
}

// epolls are the instances that have an entry for the socket in the last look.
func (t *track) epolls() []int {
	var list []int
	for _, w := range t.watch[len(t.watch)-1] {
		if !slices.Contains(list, w.epoll) {
			list = append(list, w.epoll)
		}
	}
	return list
}

// diagnose tries all rules.
func (c *kase) diagnose() []Finding {
	list := []Finding{}
	add := func(f ...Finding) { list = append(list, f...) }
	add(c.descriptors()...)
	add(c.acceptQueues()...)
	add(c.heldUp()...)
	add(c.writeInterest()...)
	add(c.input()...)
	add(c.ends()...)
	add(c.deadSockets()...)
	add(c.ghosts()...)
	add(c.counters()...)
	add(c.output()...)
	add(c.rings()...)
	add(c.files()...)
	if !slices.ContainsFunc(list, func(f Finding) bool { return f.State == Problem || f.ID == "unwatched" }) {
		add(c.spinning()...)
	}
	slices.SortStableFunc(list, func(a, b Finding) int { // problems first
		return cmp.Compare(b.State, a.State)
	})
	return list
}

func figure(name, format string, args ...any) report.Evidence {
	return report.Evidence{Name: name, Text: fmt.Sprintf(format, args...)}
}

func (c *kase) cpuFigure() report.Evidence {
	used := c.looks[len(c.looks)-1].Used - c.looks[0].Used
	return figure("processor", "%s of one used, %s with the time that it waited for one; of what it used, %.0f%% in the kernel", percent(share(used, c.took)), percent(c.demand), 100*c.system)
}

func percent(share float64) string { return fmt.Sprintf("%.0f%%", 100*share) }

// descriptors compares their number with the limit.
func (c *kase) descriptors() []Finding {
	if c.Soft == probe.Unlimited || c.Soft == 0 {
		return nil
	}
	first, last := len(c.looks[0].FDs), len(c.looks[len(c.looks)-1].FDs)
	left := int64(c.Soft) - int64(last)
	if float64(last) < 0.9*float64(c.Soft) {
		return nil
	}
	f := Finding{ID: "descriptors", State: Note,
		Text: fmt.Sprintf("It has %d descriptors open and may have %d: %d more, then accept, socket and open fail with EMFILE.", last, c.Soft, max(left, 0)),
		Figures: []report.Evidence{figure("open", "%d, %+d while it was looked at", last, last-first),
			figure("limit", "soft %s, hard %s, fs.nr_open %d", limit(c.Soft), limit(c.Hard), c.NrOpen), figure("kinds", "%s", kinds(c.looks[len(c.looks)-1]))},
		Do:   fmt.Sprintf("See by the kinds whether it leaks. If it needs them: prlimit --pid %d --nofile=HARD now, LimitNOFILE= in its unit for good; and a server must live through EMFILE.", c.PID),
		Read: "lessons/02-epoll-lt/README.md, Step 8: Limits"}
	if left <= 5 || float64(last) >= 0.98*float64(c.Soft) {
		f.State = Problem
	}
	return []Finding{f}
}

func kinds(l Look) string {
	count := map[string]int{}
	for _, fd := range l.FDs {
		count[fd.Kind]++
	}
	return countText(count)
}

// countText is "12 tcp, 3 file", the most frequent first.
func countText(count map[string]int) string {
	var names []string
	for name := range count {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%d %s", count[name], name))
	}
	return strings.Join(parts, ", ")
}

// acceptQueues looks for clients that nobody accepts, and for those that are turned away.
func (c *kase) acceptQueues() []Finding {
	var list []Finding
	overflows := c.looks[len(c.looks)-1].Overflows - c.looks[0].Overflows
	for _, t := range c.listens {
		now := t.last()
		figures := []report.Evidence{figure("accept queue", "%s of %s, in every look at least %d", plural(now.AcceptQueue, "connection"), backlog(now.Backlog), t.least())}
		// The socket counts packets that it dropped for any reason, the namespace those for
		// which the queue was full, of all its listeners: an overflow here is in both.
		dropped := 0
		if now.Drops >= 0 {
			dropped = now.Drops - t.first().Drops
			figures = append(figures, figure("dropped", "%d while it was looked at, %d since it listens; ListenOverflows %+d", dropped, now.Drops, overflows))
		}
		dropped = min(dropped, int(overflows))
		full := t.all(func(s probe.Socket) bool { return s.Backlog > 0 && s.AcceptQueue >= s.Backlog })
		switch {
		case t.least() > 0 && c.nobodyAccepts(t):
			text, do, read := c.whyNotAccepted(t)
			more := ""
			if full || dropped > 0 {
				more = " The queue is full: who comes now has to wait for its SYN to be sent again, or is refused."
			}
			list = append(list, Finding{ID: "nobody-accepts", State: Problem,
				Text:    fmt.Sprintf("%s %s in the accept queue of %v, and none was accepted in %s.%s %s", plural(now.AcceptQueue, "client"), one(now.AcceptQueue, "waits", "wait"), now.Local, seconds(c.took), more, text),
				Figures: figures, Do: do, Read: read, FDs: []int{t.fd}})
		case full || dropped > 0:
			list = append(list, Finding{ID: "accept-queue-full", State: Problem,
				Text:    fmt.Sprintf("The accept queue of %v runs over: clients come faster than they are accepted, and those that find it full connect a second late, or not at all.", now.Local),
				Figures: figures,
				Do:      "Accept in a loop until EAGAIN at each event; look for what holds the loop up; then a longer queue: listen's backlog and net.core.somaxconn, of which the smaller counts.",
				Read:    "lessons/02-epoll-lt/README.md, Step 3: Accepting", FDs: []int{t.fd}})
		}
	}
	return list
}

func backlog(n int) string {
	if n < 0 {
		return "a backlog that is not told"
	}
	return fmt.Sprint(n)
}

// least is the shortest that a listener's accept queue was.
func (t *track) least() int {
	least := t.first().AcceptQueue
	for _, s := range t.seen {
		least = min(least, s.AcceptQueue)
	}
	return least
}

// nobodyAccepts tells whether all clients that waited for the listener in the first look
// still wait in the last. The queue is first come, first served.
func (c *kase) nobodyAccepts(t *track) bool {
	still := map[string]bool{}
	for _, s := range c.looks[len(c.looks)-1].Waiting {
		still[s.Local.String()+s.Remote.String()] = true
	}
	any := false
	for _, s := range c.looks[0].Waiting {
		if s.Local.Port() != t.first().Local.Port() {
			continue
		}
		if any = true; !still[s.Local.String()+s.Remote.String()] {
			return false
		}
	}
	return any
}

func (c *kase) whyNotAccepted(t *track) (text, do, read string) {
	last := c.looks[len(c.looks)-1]
	watched := t.watch[len(t.watch)-1]
	switch {
	case c.Soft != probe.Unlimited && uint64(len(last.FDs))+2 >= c.Soft:
		text = fmt.Sprintf("It has no descriptors left: %d of %d are open, so accept fails with EMFILE.", len(last.FDs), c.Soft)
		if c.busy() {
			text += " The listener stays ready, so the loop turns for nothing."
		}
		return text, "Close what is not needed, or raise the limit; a server takes the listener out of the interest list, or keeps a descriptor in reserve to turn clients away with.", "lessons/02-epoll-lt/README.md, Step 8: Limits"
	case len(watched) == 0 && len(last.Epolls) > 0 && len(last.Rings) == 0 && !c.blind():
		return "The listener is in no interest list.", "EPOLL_CTL_ADD it with EPOLLIN; if it was taken out because a limit was reached, put it back when a connection closes.", "lessons/02-epoll-lt/README.md, Step 8: Limits"
	case len(watched) > 0 && !slices.ContainsFunc(watched, func(w watch) bool { return w.Events&epollIn != 0 }):
		return "The listener is registered without EPOLLIN, so nobody is told.", "Arm it again when there is room: when a connection closes.", "lessons/02-epoll-lt/README.md, Step 8: Limits"
	case len(watched) > 0 && isET(watched[0].Events) && c.waitedOn(watched[0].epoll):
		return "It is registered edge-triggered and the loop waits for the next edge: a burst of clients is one event.", "Accept until EAGAIN, or remember that you have not.", "lessons/03-epoll-et/README.md, Step 2: A burst of clients"
	case len(watched) > 0 && !c.waitedOn(watched[0].epoll) && !c.computes():
		return "No thread waits in epoll_wait on its interest list. " + c.doing(), "Nothing that blocks belongs on the loop.", "lessons/02-epoll-lt/README.md, Step 2: One turn"
	case len(last.Rings) > 0 && len(watched) == 0:
		return "No accept takes them from its io_uring.", "Start accept again when its last completion comes without IORING_CQE_F_MORE.", "lessons/06-io_uring/README.md, Step 6: Accepting and receiving"
	}
	return c.doing(), "Look at what its threads do.", "lessons/02-epoll-lt/README.md, Step 3: Accepting"
}

// doing says in a sentence what the threads do.
func (c *kase) doing() string {
	if c.computes() {
		return fmt.Sprintf("It computes: %s of a processor, outside of the kernel.", percent(c.demand))
	}
	if doing := c.looks[len(c.looks)-1].doing(); len(doing) > 0 {
		return "Its threads: " + countText(doing) + "."
	}
	return "What its threads do, the kernel does not tell."
}

// doing counts the threads by what they do.
func (l Look) doing() map[string]int {
	count := map[string]int{}
	for _, t := range l.Threads {
		count[where(t.Thread)]++
	}
	return count
}

// heldUp looks for epoll instances on which nobody waits though something is ready.
func (c *kase) heldUp() []Finding {
	ready := map[int][]int{}
	for _, t := range c.tracks {
		if t.unread() && t.watched(wants(epollIn)) {
			for _, e := range t.epolls() {
				ready[e] = append(ready[e], t.fd)
			}
		}
	}
	var list []Finding
	for _, e := range sorted(ready) {
		if c.waitedOn(e) || c.busy() && !c.computes() {
			continue
		}
		c.held[e] = true
		list = append(list, Finding{ID: "loop-held-up", State: Problem,
			Text:    fmt.Sprintf("%s of the epoll instance fd %d can be read, and in %s no thread was seen to wait on it: the loop is held up. %s", plural(len(ready[e]), "connection"), e, seconds(c.took), c.doing()),
			Figures: []report.Evidence{c.cpuFigure()},
			Do:      "Find what blocks: " + c.stackHint() + ". Files, locks, DNS, logs to a full pipe and long computations belong on other threads.",
			Read:    "lessons/02-epoll-lt/README.md, Step 2: One turn", FDs: ready[e]})
	}
	return list
}

func (c *kase) stackHint() string {
	if c.Go {
		return fmt.Sprintf("kill -QUIT %d shows every goroutine (and ends it); go tool pprof, if it serves that; perf top -p %d", c.PID, c.PID)
	}
	return fmt.Sprintf("gdb -p %d -batch -ex 'thread apply all bt'; strace -f -p %d; perf top -p %d", c.PID, c.PID, c.PID)
}

func sorted[V any](m map[int]V) []int {
	var keys []int
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// writeInterest looks for level-triggered EPOLLOUT where there is nothing to write.
func (c *kase) writeInterest() []Finding {
	var fds []int
	for _, t := range c.tracks {
		still := len(c.looks) >= 4 || t.last().Counted && t.sentNothing()
		if still && t.open() && t.watched(levelWants(epollOut)) && t.all(func(s probe.Socket) bool { return s.Unsent == 0 }) && !c.heldFD(t) {
			fds = append(fds, t.fd)
		}
	}
	if fds == nil {
		return nil
	}
	f := Finding{ID: "write-interest-left-armed", State: Note,
		Text:    fmt.Sprintf("EPOLLOUT is armed, level-triggered, on %s whose send queue was empty in every look. Such a socket is always writable: every epoll_wait returns at once.", plural(len(fds), "socket")),
		Figures: []report.Evidence{c.cpuFigure(), figure("send queues", "0 bytes in %d looks", len(c.looks))},
		Do:      "Arm EPOLLOUT when a write was short or gave EAGAIN, and take it away again when the queue is empty.",
		Read:    "lessons/02-epoll-lt/README.md, Step 5: Writing", FDs: fds}
	if c.busy() {
		f.State = Problem
		f.Text = fmt.Sprintf("It spins: EPOLLOUT is armed, level-triggered, on %s whose send queue was empty in every look. Such a socket is always writable, so epoll_wait returns at once, for nothing.", plural(len(fds), "socket"))
	}
	return []Finding{f}
}

// heldFD tells whether all that watches t is an instance on which nobody waits.
func (c *kase) heldFD(t *track) bool {
	list := t.epolls()
	return len(list) > 0 && !slices.ContainsFunc(list, func(e int) bool { return !c.held[e] })
}

// pausesForOthers tells whether some peer does not read: then what a proxy does not read
// from the other side is as it should be.
func (c *kase) pausesForOthers() bool { return slices.ContainsFunc(c.tracks, (*track).stalled) }

// opened is a connection that the process has opened itself, as a proxy does, or the
// client of a database; nil if there is none.
func (c *kase) opened() *track {
	for _, t := range c.tracks {
		port := t.last().Local.Port()
		if t.last().State == "ESTABLISHED" && len(c.listens) > 0 &&
			!slices.ContainsFunc(c.listens, func(l *track) bool { return l.last().Local.Port() == port }) {
			return t
		}
	}
	return nil
}

// input looks for bytes that nobody reads on connections that are up, by how they are
// watched.
func (c *kase) input() []Finding {
	groups := map[string][]*track{}
	for _, t := range c.tracks {
		if !t.unread() || t.last().State != "ESTABLISHED" || c.heldFD(t) {
			continue
		}
		groups[c.howWatched(t)] = append(groups[c.howWatched(t)], t)
	}
	var list []Finding
	for _, how := range []string{"level", "edge", "go", "one-shot", "paused", "ring", "none"} {
		if group := groups[how]; group != nil && !(how == "none" && c.blind()) {
			list = append(list, c.inputFinding(how, group))
		}
	}
	return list
}

// blind tells whether an interest list could not be read: then nothing is known to be in
// none.
func (c *kase) blind() bool {
	return slices.ContainsFunc(c.looks, func(l Look) bool { return l.Blind })
}

// howWatched says how a socket that can be read is watched.
func (c *kase) howWatched(t *track) string {
	entries := t.watch[len(t.watch)-1]
	switch {
	case len(entries) == 0 && len(c.looks[len(c.looks)-1].Rings) > 0:
		return "ring"
	case len(entries) == 0:
		return "none"
	case c.netpoller(entries[0]):
		return "go"
	case disarmed(entries[0].Events):
		return "one-shot"
	case !t.watched(wants(epollIn)):
		return "paused"
	case t.watched(isET):
		return "edge"
	}
	return "level"
}

func (c *kase) inputFinding(how string, group []*track) Finding {
	f := Finding{State: Note}
	bytes, oldest, told := 0, time.Duration(0), false
	for _, t := range group {
		f.FDs = append(f.FDs, t.fd)
		bytes += t.last().Unread
		if age, ok := t.age(); ok {
			oldest, told = max(oldest, age), true
		}
	}
	who := plural(len(group), "connection")
	f.Figures = []report.Evidence{figure("receive queues", "%s on %s, none taken in %s", plural(bytes, "byte"), who, seconds(c.took))}
	if told {
		f.Figures = append(f.Figures, figure("lying there", "for %s at least", seconds(oldest)))
	}
	if max(oldest, c.took) >= lasting {
		f.State = Problem
	}
	pausing := false
	switch how {
	case "level":
		f.ID, f.State = "readable-not-read", Problem
		f.Text = fmt.Sprintf("%s can be read, epoll reports it at every wait, and nobody reads.", who)
		if c.busy() {
			f.Text += " So it spins; or it has one long computation under way, if perf top says so."
		}
		f.Figures = append(f.Figures, c.cpuFigure())
		f.Do = "Read when EPOLLIN is reported; to pause, take EPOLLIN out of the interest list."
		f.Read = "lessons/02-epoll-lt/README.md, Step 4: Reading, and the end"
	case "edge":
		f.ID, pausing = "edge-lost", true
		f.Text = fmt.Sprintf("Bytes lie unread on %s registered with EPOLLET, and the loop waits: the edge has been reported, and nothing more will be until the peer sends again.", who)
		f.Do = "Read until EAGAIN (a short read is not enough if the end may have come), or remember the connection as still ready and come back to it before you wait."
		f.Read = "lessons/03-epoll-et/README.md, Step 3: Reading, and a budget"
	case "go":
		f.ID, pausing = "no-goroutine-reads", true
		f.Text = fmt.Sprintf("Bytes lie unread on %s of Go's netpoller: no goroutine reads there; it works on something, or is stuck, or has gone without Close.", who)
		f.Do = "See where the connection's goroutine is: " + c.stackHint() + ". Deadlines (SetReadDeadline) free those that wait for ever."
	case "one-shot":
		f.ID = "one-shot-not-armed-again"
		f.Text = fmt.Sprintf("%s of EPOLLONESHOT had an event and %s not armed again, and bytes have come since: a worker has it, or has forgotten it.", who, one(len(group), "was", "were"))
		f.Do = "EPOLL_CTL_MOD when the worker is done; look for a worker that is stuck."
		f.Read = "lessons/03-epoll-et/README.md, Step 8: A second goroutine"
	case "paused":
		f.ID, pausing = "reading-paused", true
		f.Text = fmt.Sprintf("%s %s in the interest list without EPOLLIN, and bytes lie unread: reading was switched off, and nothing is queued for sending that would be the reason.", who, one(len(group), "is", "are"))
		f.Do = "Switch reading on again when the queue has drained below the low-water mark, or when the request that it waited for is done."
		f.Read = "lessons/02-epoll-lt/README.md, Step 7: Backpressure and fairness"
	case "ring":
		waiting := 0
		for _, r := range c.looks[len(c.looks)-1].Rings {
			waiting += r.Waiting["recv"] + r.Waiting["recvmsg"] + r.Waiting["read"] + r.Waiting["poll"] + r.Waiting["read multishot"]
		}
		f.ID = "no-receive-under-way"
		f.Text = fmt.Sprintf("Bytes lie unread on %s, and no receive in its io_uring takes them.", who)
		f.Figures = append(f.Figures, figure("operations that wait", "%d receives, reads and polls", waiting))
		f.Do = "Start the receive again: after its last completion (without IORING_CQE_F_MORE), and after ENOBUFS when a buffer has come back."
		f.Read = "lessons/06-io_uring/README.md, Step 6: Accepting and receiving"
	default:
		f.ID, pausing = "unwatched", true
		f.Text = fmt.Sprintf("Bytes lie unread on %s in no interest list, and no thread takes them.", who)
		if c.busy() {
			f.Text += " If it waits with select or poll, which keep their lists to themselves, it may be told of them at every call and not read."
			f.Figures = append(f.Figures, c.cpuFigure())
		}
		f.Do = "EPOLL_CTL_ADD when a connection is accepted; or, if a thread serves each connection, see what that thread does: " + c.stackHint() + "."
		f.Read = "lessons/02-epoll-lt/README.md, Step 1: The interest list"
	}
	if other := c.opened(); pausing && c.pausesForOthers() {
		f.State = Note
		f.Text += " It may pause on purpose: another of its peers does not take what it is sent."
	} else if pausing && other != nil {
		f.State = Note
		f.Text += fmt.Sprintf(" It may wait for an answer on a connection that it has opened itself, such as fd %d to %v.", other.fd, other.last().Remote)
	}
	if f.State == Note {
		f.Text += " A program that works on one request while the next lies there looks the same: look again in a while."
	}
	return f
}

// ends looks for connections that the peer has ended and the program keeps.
func (c *kase) ends() []Finding {
	var fds []int
	unread, bytes, level, edge, none := 0, 0, 0, 0, 0
	oldest, told := time.Duration(0), false
	for _, t := range c.tracks {
		if !t.all(func(s probe.Socket) bool { return s.State == "CLOSE_WAIT" && s.Unsent == 0 }) || !t.sentNothing() || !t.readNothing() || c.heldFD(t) {
			continue
		}
		fds = append(fds, t.fd)
		if t.last().EndUnread {
			unread++
		}
		bytes += t.last().Unread
		oldest, told = max(oldest, t.last().LastAck), told || t.last().Counted
		switch {
		case t.watched(levelWants(epollIn | epollRdHup)):
			level++
		case t.watched(isET):
			edge++
		case len(t.watch[len(t.watch)-1]) == 0:
			none++
		}
	}
	if fds == nil {
		return nil
	}
	f := Finding{ID: "close-wait", State: Note, FDs: fds,
		Figures: []report.Evidence{figure("CLOSE_WAIT", "%s: of %d the end is unread, with %s before it; of %d all was taken", plural(len(fds), "socket"), unread, plural(bytes, "byte"), len(fds)-unread)},
		Do:      "A read that returns 0 is the end: answer what is left, then close. Where the end is unread, see that the socket is watched (EPOLLIN) and read to the end.",
		Read:    "lessons/02-epoll-lt/README.md, Step 4: Reading, and the end"}
	f.Text = fmt.Sprintf("The peers of %s have closed or shut down, and the program keeps them: they stay in CLOSE_WAIT, with their descriptors, until it closes.", plural(len(fds), "connection"))
	if told {
		f.Figures = append(f.Figures, figure("oldest", "%s ago", seconds(oldest)))
	}
	if max(oldest, c.took) >= lasting {
		f.State = Problem
	}
	switch {
	case level > 0 && c.busy():
		f.ID, f.State = "end-reported-forever", Problem
		f.Text = fmt.Sprintf("It spins: the peers of %s have sent their end, which a level-triggered interest list reports at every wait until the socket is closed, or EPOLLIN and EPOLLRDHUP are taken out.", plural(level, "connection"))
		f.Figures = append(f.Figures, c.cpuFigure())
	case edge > 0 && unread > 0:
		f.Text += " They are registered edge-triggered: an end behind a short read is not reported again."
		f.Read = "lessons/03-epoll-et/README.md, Step 4: The end, and short reads"
	case none > 0 && unread > 0 && len(c.looks[0].Epolls) > 0 && len(c.looks[0].Rings) == 0 && !c.blind():
		f.Text += fmt.Sprintf(" %d are in no interest list.", none)
	}
	if f.State == Note {
		f.Text += " That is right as long as an answer is still to be sent."
	}
	return []Finding{f}
}

// deadSockets looks for sockets without a connection that are still watched.
func (c *kase) deadSockets() []Finding {
	var fds []int
	level := 0
	for _, t := range c.dead {
		if !t.watched(func(e uint32) bool { return !disarmed(e) }) || c.heldFD(t) {
			continue
		}
		fds = append(fds, t.fd)
		if t.watched(func(e uint32) bool { return !isET(e) && !disarmed(e) }) {
			level++
		}
	}
	if fds == nil {
		return nil
	}
	f := Finding{ID: "reset-not-closed", State: Note, FDs: fds,
		Text:    fmt.Sprintf("%s without a connection (it was reset, or never made) %s still in an interest list.", plural(len(fds), "TCP socket"), one(len(fds), "is", "are")),
		Figures: []report.Evidence{c.cpuFigure()},
		Do:      "EPOLLHUP and EPOLLERR are reported whether asked for or not: read, take the error, close.",
		Read:    "lessons/02-epoll-lt/README.md, Step 6: Closing"}
	if level > 0 && c.busy() {
		f.State = Problem
		f.Text = "It spins: " + f.Text + " EPOLLHUP is reported at every wait."
	}
	return []Finding{f}
}

// ghosts looks for registrations whose descriptor is closed.
func (c *kase) ghosts() []Finding {
	last := c.looks[len(c.looks)-1]
	var fds []int
	ready := 0
	for _, e := range last.Epolls {
		for _, i := range e.Interests {
			if !i.Ghost || !c.always(e.FD, i) {
				continue
			}
			fds = append(fds, i.FD)
			if !isET(i.Events) && (i.Events&epollOut != 0 || last.ready(i)) {
				ready++
			}
		}
	}
	if fds == nil {
		return nil
	}
	f := Finding{ID: "registration-outlives-close", State: Note, FDs: fds,
		Text:    fmt.Sprintf("%s in its interest lists %s a number that is closed, or names another file now: a duplicate (dup, fork) keeps the file open, and its events come under the old number. If the epoll instance is shared with another process, that one may have registered it.", plural(len(fds), "entry"), one(len(fds), "has", "have")),
		Figures: []report.Evidence{figure("numbers", "%s", numbers(fds)), c.cpuFigure()},
		Do:      "EPOLL_CTL_DEL before close, and SOCK_CLOEXEC so that no child inherits it. A number that is closed cannot be removed any more: a new epoll instance, or the holder of the duplicate, has to end.",
		Read:    "lessons/02-epoll-lt/README.md, Step 6: Closing"}
	if ready > 0 && c.busy() {
		f.State = Problem
		f.Text = "It spins, it seems: " + f.Text
	}
	return []Finding{f}
}

// ready tells whether epoll reports the TCP socket of an entry, under whatever numbers the
// process has it. Of what only another process holds open nothing is known.
func (l Look) ready(i probe.Interest) bool {
	if !slices.ContainsFunc(l.FDs, func(fd probe.FD) bool { return fd.Kind == "tcp" && inode(fd) == i.Inode }) {
		return false
	}
	s := l.Sockets[i.Inode]
	return s.Unread > 0 && i.Events&epollIn != 0 || s.State == "CLOSE_WAIT" || s.State == "" // without a connection: EPOLLHUP
}

// always tells whether the entry was there in every look.
func (c *kase) always(epfd int, i probe.Interest) bool {
	for _, l := range c.looks {
		if !slices.ContainsFunc(l.watched[i.FD], func(w watch) bool { return w.epoll == epfd && w.Ghost && w.Inode == i.Inode }) {
			return false
		}
	}
	return true
}

// counters looks for eventfds and timerfds that are reported and not read. Where there is
// traffic, one that is read may be written again before each look.
func (c *kase) counters() []Finding {
	if !c.busy() || c.moved() {
		return nil
	}
	last := c.looks[len(c.looks)-1]
	var fds []int
	for fd := range last.Pending {
		level, least := true, uint64(1)
		for _, l := range c.looks {
			level = level && l.Pending[fd] >= least && slices.ContainsFunc(l.watched[fd], func(w watch) bool { return !w.Ghost && levelWants(epollIn)(w.Events) })
			least = max(least, l.Pending[fd])
		}
		if level {
			fds = append(fds, fd)
		}
	}
	if fds == nil {
		return nil
	}
	slices.Sort(fds)
	fd, _ := last.fd(fds[0])
	return []Finding{{ID: "wake-not-read", State: Problem, FDs: fds,
		Text:    fmt.Sprintf("It spins: the %s fd %d is not 0 in any look, so it is reported at every wait, and nobody reads it.", fd.Kind, fds[0]),
		Figures: []report.Evidence{figure("to be read", "%d", last.Pending[fds[0]]), c.cpuFigure()},
		Do:      "Read an eventfd or timerfd when it is reported (8 bytes), or register it with EPOLLET.",
		Read:    "lessons/02-epoll-lt/README.md, Step 9: Wake and shutdown"}}
}

// output looks for peers that do not take what they are sent, and for ends that the peer
// does not answer.
func (c *kase) output() []Finding {
	var full, silent, half []int
	bytes, lost := 0, 0
	for _, t := range c.tracks {
		switch {
		case t.stalled() && t.all(func(s probe.Socket) bool { return s.Retransmits > 0 && !s.Probing }):
			silent = append(silent, t.fd)
			lost += t.last().Unsent
		case t.stalled():
			full = append(full, t.fd)
			bytes += t.last().Unsent
		case t.all(func(s probe.Socket) bool { return s.State == "FIN_WAIT2" }) && t.last().LastAck >= idleEnd:
			half = append(half, t.fd)
		}
	}
	var list []Finding
	if full != nil {
		list = append(list, Finding{ID: "peer-does-not-read", State: Note, FDs: full,
			Text:    fmt.Sprintf("The peers of %s do not read: what was sent to them lies in the send queues, and none of it has moved.", plural(len(full), "connection")),
			Figures: []report.Evidence{figure("send queues", "%s, unmoved for %s", plural(bytes, "byte"), seconds(c.took)), figure("memory", "%s resident", size(c.looks[len(c.looks)-1].RSS))},
			Do:      "Not this program's fault, if it keeps no more for them in its own memory (watch that) and serves the others: a high-water mark, then pause reading or drop the client; an idle timeout.",
			Read:    "lessons/02-epoll-lt/README.md, Step 7: Backpressure and fairness"})
	}
	if silent != nil {
		list = append(list, Finding{ID: "peer-is-silent", State: Note, FDs: silent,
			Text:    fmt.Sprintf("The peers of %s do not acknowledge: the kernel sends the same again and again. The peer's machine or the way to it is gone.", plural(len(silent), "connection")),
			Figures: []report.Evidence{figure("send queues", "%s", plural(lost, "byte"))},
			Do:      "They end by themselves after net.ipv4.tcp_retries2 (a quarter of an hour); TCP_USER_TIMEOUT, or an idle timeout, ends them sooner.",
			Read:    "lessons/02-epoll-lt/README.md, Step 8: Limits"})
	}
	if half != nil {
		list = append(list, Finding{ID: "half-closed", State: Note, FDs: half,
			Text:    fmt.Sprintf("The program has sent its end on %s, and the peers have not sent theirs for a minute or more; each keeps a descriptor.", plural(len(half), "connection")),
			Figures: []report.Evidence{figure("FIN_WAIT2", "%s", plural(len(half), "socket"))},
			Do:      "Close after a while whether the end comes or not.",
			Read:    "lessons/02-epoll-lt/README.md, Step 6: Closing"})
	}
	return list
}

// rings looks for completions that nobody takes and submissions that nobody hands over.
func (c *kase) rings() []Finding {
	var list []Finding
	for _, r := range c.looks[len(c.looks)-1].Rings {
		stuckCQ, stuckSQ := true, true
		for _, l := range c.looks {
			i := slices.IndexFunc(l.Rings, func(x probe.Ring) bool { return x.FD == r.FD })
			if i < 0 {
				stuckCQ, stuckSQ = false, false
				break
			}
			x := l.Rings[i]
			stuckCQ = stuckCQ && x.CqHead == r.CqHead && x.CqTail != x.CqHead
			stuckSQ = stuckSQ && x.SqHead == r.SqHead && x.SqTail != x.SqHead
		}
		figures := []report.Evidence{
			figure("submission queue", "head %d, tail %d, %d places", r.SqHead, r.SqTail, r.SqEntries),
			figure("completion queue", "head %d, tail %d, %d places, %d more that had no room", r.CqHead, r.CqTail, r.CqEntries, r.Overflow),
		}
		switch {
		case r.Overflow > 0:
			list = append(list, Finding{ID: "completions-overflow", State: Problem, FDs: []int{r.FD},
				Text:    fmt.Sprintf("The completion queue of the io_uring fd %d has run over: %s wait in the kernel's memory.", r.FD, plural(r.Overflow, "completion")),
				Figures: figures, Do: "Take completions before you submit more, make the queue larger (IORING_SETUP_CQSIZE), and enter with IORING_ENTER_GETEVENTS when IORING_SQ_CQ_OVERFLOW is set.",
				Read: "lessons/06-io_uring/README.md, Step 3: Waiting, and when it gets tight"})
		case stuckCQ:
			list = append(list, Finding{ID: "completions-not-taken", State: Problem, FDs: []int{r.FD},
				Text:    fmt.Sprintf("%s of the io_uring fd %d %s there, and none was taken in %s: the loop is held up. %s", plural(int(r.CqTail-r.CqHead), "completion"), r.FD, one(int(r.CqTail-r.CqHead), "lies", "lie"), seconds(c.took), c.doing()),
				Figures: append(figures, c.cpuFigure()), Do: "Find what blocks: " + c.stackHint() + ".",
				Read: "lessons/06-io_uring/README.md, Step 5: One turn"})
		}
		if stuckSQ {
			text := "nobody enters the kernel to hand them over"
			if r.SqThread >= 0 {
				text = "the kernel's thread for them sleeps (IORING_SQ_NEED_WAKEUP), and nobody wakes it"
			}
			list = append(list, Finding{ID: "submissions-not-handed-over", State: Problem, FDs: []int{r.FD},
				Text:    fmt.Sprintf("%s of the io_uring fd %d %s published, and %s.", plural(int(r.SqTail-r.SqHead), "submission"), r.FD, one(int(r.SqTail-r.SqHead), "is", "are"), text),
				Figures: figures, Do: "io_uring_enter with to_submit before the wait; with IORING_SETUP_SQPOLL, IORING_ENTER_SQ_WAKEUP when the flag is set.",
				Read: "lessons/06-io_uring/README.md, Step 2: Submit and complete"})
		}
	}
	return list
}

// files looks at what is deleted and still open.
func (c *kase) files() []Finding {
	var list []Finding
	if strings.HasSuffix(c.Program, " (deleted)") {
		list = append(list, Finding{ID: "program-replaced", State: Note,
			Text:    "The file of its program has been deleted or replaced since it started: it runs the old one.",
			Figures: []report.Evidence{figure("program", "%s", c.Program)}, Do: "Start it again if it was to be updated."})
	}
	last := c.looks[len(c.looks)-1]
	var fds []int
	var bytes int64
	for fd, n := range last.Large {
		if n >= large {
			fds = append(fds, fd)
			bytes += n
		}
	}
	if fds != nil {
		slices.Sort(fds)
		fd, _ := last.fd(fds[0])
		list = append(list, Finding{ID: "deleted-file", State: Note, FDs: fds,
			Text:    fmt.Sprintf("%s, deleted and still open, %s room on the disk that df counts and du does not see.", plural(len(fds), "file"), one(len(fds), "takes", "take")),
			Figures: []report.Evidence{figure("size", "%s", size(bytes)), figure("the first", "fd %d, %s", fd.Num, fd.Target)},
			Do:      "Close them: a log that was rotated away needs its program to open the new one (often SIGHUP or SIGUSR1)."})
	}
	return list
}

// spinning looks for a process that works though nothing happens on its sockets.
func (c *kase) spinning() []Finding {
	last := c.looks[len(c.looks)-1]
	if !c.busy() || len(last.Sockets)+len(last.Epolls)+len(last.Rings) == 0 || c.moved() {
		return nil
	}
	f := Finding{ID: "busy-without-traffic", State: Note,
		Figures: []report.Evidence{c.cpuFigure(), figure("sockets", "%s, not a byte moved, none opened or closed", plural(len(c.tracks), "connection"))},
		Do:      fmt.Sprintf("`strace -f -c -p %d` for a few seconds counts the calls; perf top -p %d shows the functions.", c.PID, c.PID),
		Read:    "lessons/02-epoll-lt/README.md, How it fails in production"}
	if c.computes() {
		f.Text = fmt.Sprintf("It uses %s of a processor outside of the kernel while nothing moves on its connections: it computes.", percent(c.demand))
	} else {
		f.Text = fmt.Sprintf("It uses %s of a processor, much of it in the kernel, while nothing moves on its connections: a wait that returns at once, again and again (select, poll and epoll do if something is ready that nobody takes), or work on files.", percent(c.demand))
	}
	return []Finding{f}
}

// moved tells whether anything happened on the sockets; also if it cannot be known.
func (c *kase) moved() bool {
	first, last := c.looks[0], c.looks[len(c.looks)-1]
	if slices.ContainsFunc(c.looks, func(l Look) bool { return l.Changed }) || !slices.EqualFunc(first.FDs, last.FDs, func(a, b probe.FD) bool { return a.Num == b.Num && a.Target == b.Target }) {
		return true
	}
	for inode, now := range last.Sockets {
		was, ok := first.Sockets[inode]
		if !ok || now.State != "LISTEN" && (!now.Counted || now.Read != was.Read || now.Acked != was.Acked || now.Unread != was.Unread) {
			return true
		}
	}
	return false
}

func plural(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// one chooses the verb after a number of things.
func one(n int, singular, plural string) string {
	if n == 1 {
		return singular
	}
	return plural
}

func seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// numbers lists descriptors, the first few.
func numbers(fds []int) string {
	var parts []string
	for i, fd := range fds {
		if i == 8 {
			return strings.Join(parts, ", ") + fmt.Sprintf(" and %d more", len(fds)-i)
		}
		parts = append(parts, fmt.Sprint(fd))
	}
	return strings.Join(parts, ", ")
}
