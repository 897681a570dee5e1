package load

import (
	"fmt"
	"os"
	"time"

	"iolab/checker/probe"
)

// silence watches for a server that answers nothing. It notes when the last message came
// back, and what the server has used of the processors since.
type silence struct {
	server int // process id, 0 if unknown
	all    int64
	since  time.Duration // when the last one came back, or the watch began
	from   activity      // soon after that
}

// activity is what the server has had of the processors at a moment.
type activity struct {
	at     time.Duration // zero: not looked yet
	used   time.Duration
	waited time.Duration // ready to run, with no processor free
	known  bool
}

// look is what the server has had until now.
func look(server int, now time.Duration) activity {
	a := activity{at: now}
	if server == 0 {
		return a
	}
	u, err := probe.ProcessUsage(server)
	a.used, a.known = u.Total(), err == nil
	a.waited = waited(server)
	return a
}

// waited is how long the threads of process pid have been ready to run without a
// processor, zero where the system does not say.
func waited(pid int) (sum time.Duration) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, _ := os.ReadDir(dir)
	for _, t := range threads {
		text, _ := os.ReadFile(dir + "/" + t.Name() + "/schedstat")
		var used, waited int64
		if _, err := fmt.Sscan(string(text), &used, &waited); err == nil {
			sum += time.Duration(waited)
		}
	}
	return sum
}

// begin begins to watch at now, when all messages had come back.
func (s *silence) begin(all int64, now time.Duration) { s.all, s.since, s.from = all, now, activity{} }

// heard notes that all messages have come back until now, and returns for how long there
// was none.
func (s *silence) heard(all int64, now time.Duration) time.Duration {
	if all != s.all {
		s.begin(all, now)
	}
	if s.from.at == 0 && now-s.since > glance {
		s.from = look(s.server, now)
	}
	return now - s.since
}

// glance is how long nothing comes back before the server is looked at: in a load that
// goes well it is never.
const glance = 300 * time.Millisecond

// doing says what the server has done since, as the end of a sentence.
func (s *silence) doing(now time.Duration) string {
	is := look(s.server, now)
	took := is.at - s.from.at
	if s.from.at == 0 || !s.from.known || !is.known || took <= 0 {
		return ""
	}
	return fmt.Sprintf("; in %.1f s of that the server ", took.Seconds()) + verdict(took, is.used-s.from.used, is.waited-s.from.waited)
}

// verdict says what a server did that answered nothing in the time took.
func verdict(took, used, waited time.Duration) string {
	text := fmt.Sprintf("used %.2f s of processor", used.Seconds())
	switch {
	case waited > took/2:
		return text + fmt.Sprintf(" and waited %.1f s for one: the machine is busy", waited.Seconds())
	case used > took/2:
		return text + ": it runs all the time and answers nothing, as in an endless loop"
	case used < took/50:
		return text + ": it sleeps, waits for what does not come, or has lost these messages"
	}
	return text
}

// unanswered is the error of messages that do not come back.
type unanswered struct {
	messages, conns int64
	oldest          time.Duration // for how long
	last            time.Duration // since the last message of all came back
	never           bool          // none ever did
	doing           string
}

func (u unanswered) Error() string {
	what, is := fmt.Sprintf("%d messages", u.messages), "are"
	if u.messages == 1 {
		what, is = "1 message", "is"
	}
	on := fmt.Sprintf("%d connections", u.conns)
	if u.conns == 1 {
		on = "1 connection"
	}
	last := fmt.Sprintf("the last answer on any connection came %.1f s ago", u.last.Seconds())
	if u.never {
		last = "and nothing has come back since the load began"
	}
	return fmt.Sprintf("the server does not answer: %s on %s %s not back, the oldest after %.1f s, %s%s",
		what, on, is, u.oldest.Seconds(), last, u.doing)
}
