package inspect

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"iolab/checker/report"
)

// Options say how a report is shown.
type Options struct {
	report.Options
	All bool // every socket and entry, not the first few
}

// few is how many entries of a list are shown if not all are.
const few = 8

type page struct {
	Options
	b strings.Builder
}

// Text is r as a person reads it.
func Text(r Report, o Options) string {
	p := &page{Options: o}
	if p.Width < 60 {
		p.Width = 80
	}
	p.printf("\n  %s  pid %d, looked at %d times in %.1f s\n", p.bold(p.clean(r.Name)), r.PID, r.Looks, r.Seconds)
	if command := p.clean(strings.Join(r.Command, " ")); command != "" && command != r.Name {
		p.printf("  %s\n", p.faint(cut(command, p.Width-2)))
	}
	for _, n := range r.Notes {
		p.row("note", n)
	}
	p.printf("\n")
	p.figures(r)
	for _, e := range r.Epolls {
		p.epoll(r, e)
	}
	p.sockets(r)
	for _, x := range r.Rings {
		p.ring(x)
	}
	p.findings(r)
	return p.b.String()
}

func (p *page) figures(r Report) {
	text := percent(r.CPU) + " of one"
	if r.Demand > r.CPU+0.1 {
		text += fmt.Sprintf(", %s with the time that its threads waited for one", percent(r.Demand))
	}
	p.row("processor", text+"; "+plural(r.Threads, "thread"))
	p.row("", countText(r.Doing))
	for _, t := range r.Busiest {
		if t.Demand >= 0.01 {
			p.row("", fmt.Sprintf("thread %d %s: %s (%s in the kernel), %s", t.ID, p.clean(t.Name), percent(t.CPU), percent(t.System), t.Where))
		}
	}
	p.row("memory", size(r.Memory)+" resident")
	d := r.Descriptors
	text = fmt.Sprintf("%d of %s (hard limit %s", d.Open, d.Soft, d.Hard)
	if d.NrOpen > 0 {
		text += fmt.Sprintf(", fs.nr_open %d", d.NrOpen)
	}
	p.row("descriptors", text+"): "+countText(d.Kinds))
	for _, l := range r.Listeners {
		text := fmt.Sprintf("fd %d  %s: %d wait to be accepted", l.FD, l.Local, l.Waiting)
		if l.Backlog >= 0 {
			text += fmt.Sprintf(", %d may", l.Backlog)
		}
		if l.Drops >= 0 {
			text += fmt.Sprintf("; dropped: %d since it listens, %d just now", l.Drops, l.Dropped)
		}
		p.row("listener", text)
	}
	if r.ListenOverflows+r.ListenDrops > 0 {
		p.row("", fmt.Sprintf("all listeners of this network namespace meanwhile: ListenOverflows +%d, ListenDrops +%d", r.ListenOverflows, r.ListenDrops))
	}
	if len(r.Sockets) > 0 {
		states := map[string]int{}
		unread, unsent := 0, 0
		var read, acked uint64
		for _, s := range r.Sockets {
			states[s.State]++
			unread += s.Unread
			unsent += s.Unsent
			read += s.Read
			acked += s.Acked
		}
		p.row("connections", countText(states))
		p.row("", fmt.Sprintf("queued: %d bytes unread, %d unsent; moved: %d read, %d acknowledged", unread, unsent, read, acked))
	}
}

// epoll shows an interest list: those first that a finding names.
func (p *page) epoll(r Report, e EpollReport) {
	counts := map[string]int{}
	for _, i := range e.Entries {
		counts[short(i.Events)]++
	}
	p.row("epoll", fmt.Sprintf("fd %d: %s", e.FD, plural(len(e.Entries), "entry")))
	if len(e.Entries) == 0 {
		return
	}
	if len(counts) > 1 || len(e.Entries) > few && !p.All {
		for _, line := range report.Wrap(countText(counts), p.Width-indent) {
			p.printf("%s%s\n", strings.Repeat(" ", indent), line)
		}
	}
	p.printf("%s\n", p.faint(fmt.Sprintf("%sfd   recv-q send-q  events, data: what", strings.Repeat(" ", indent))))
	for i, x := range r.named(e.Entries) {
		if i == few && !p.All {
			p.printf("%s%s\n", strings.Repeat(" ", indent), p.faint(fmt.Sprintf("%d more: -all", len(e.Entries)-i)))
			break
		}
		ghost := ""
		if x.Ghost {
			ghost = "  (closed)"
		}
		p.printf("%s%-4d %5d  %5d  %s, %s: %s%s\n", strings.Repeat(" ", indent), x.FD, x.Unread, x.Unsent, short(x.Events), x.Data, p.clean(x.What), ghost)
	}
}

// short leaves out the two bits that the kernel adds to every entry.
func short(events string) string {
	s := strings.TrimPrefix(strings.ReplaceAll("|"+strings.ReplaceAll(events, "EPOLLERR|EPOLLHUP", ""), "||", "|"), "|")
	return strings.TrimSuffix(s, "|")
}

// named are the entries with those first that a finding names.
func (r Report) named(entries []EpollEntry) []EpollEntry {
	named := map[int]bool{}
	for _, f := range r.Findings {
		for _, fd := range f.FDs {
			named[fd] = true
		}
	}
	list := slices.Clone(entries)
	slices.SortStableFunc(list, func(a, b EpollEntry) int {
		if named[a.FD] != named[b.FD] {
			if named[a.FD] {
				return -1
			}
			return 1
		}
		return a.FD - b.FD
	})
	return list
}

// sockets shows those that no interest list has.
func (p *page) sockets(r Report) {
	var list []SocketReport
	for _, s := range r.Sockets {
		if len(s.Watched) == 0 {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return
	}
	p.row("not watched", fmt.Sprintf("%s in no interest list", plural(len(list), "TCP socket")))
	p.printf("%s\n", p.faint(fmt.Sprintf("%sfd   recv-q send-q", strings.Repeat(" ", indent))))
	for i, s := range list {
		if i == few && !p.All {
			p.printf("%s%s\n", strings.Repeat(" ", indent), p.faint(fmt.Sprintf("%d more: -all", len(list)-i)))
			break
		}
		what := "tcp without a connection"
		if s.Local != "" {
			what = fmt.Sprintf("tcp %s %s -> %s", s.State, s.Local, s.Remote)
		}
		p.printf("%s%-4d %5d  %5d  %s\n", strings.Repeat(" ", indent), s.FD, s.Unread, s.Unsent, what)
	}
}

func (p *page) ring(x RingReport) {
	p.row("io_uring", fmt.Sprintf("fd %d: SQ head %d tail %d of %d, CQ head %d tail %d of %d, overflow %d",
		x.FD, x.SqHead, x.SqTail, x.SqEntries, x.CqHead, x.CqTail, x.CqEntries, x.Overflow))
	text := "nothing waits for its file"
	if len(x.Waiting) > 0 {
		text = "wait for their files: " + countText(x.Waiting)
	}
	text += fmt.Sprintf("; registered: %d files, %d buffers", x.Files, x.Buffers)
	if x.SqThread >= 0 {
		text += fmt.Sprintf("; SQPOLL thread %d", x.SqThread)
	}
	p.row("", text)
}

func (p *page) findings(r Report) {
	p.printf("\n")
	if len(r.Findings) == 0 {
		p.printf("  %s  nothing wrong is to be seen from outside\n\n", p.paint(report.Green, p.sign("✓", "ok")))
		return
	}
	for _, f := range r.Findings {
		sign, color := p.sign("✗", "!!"), report.Red
		if f.State == Note {
			sign, color = p.sign("•", "* "), report.Yellow
		}
		p.printf("  %s  %s\n", p.paint(color, sign), p.bold(f.ID))
		p.paragraph("", f.Text)
		for _, e := range f.Figures {
			p.paragraph(e.Name+": ", e.Text)
		}
		if len(f.FDs) > 0 {
			p.paragraph("descriptors: ", numbers(f.FDs))
		}
		p.paragraph("Do: ", capital(f.Do))
		if f.Read != "" {
			p.paragraph("Read: ", f.Read)
		}
		p.printf("\n")
	}
}

// indent is where the second column begins.
const indent = 16

func (p *page) row(name, text string) {
	for i, line := range report.Wrap(p.clean(text), p.Width-indent) {
		if i > 0 {
			name = ""
		}
		p.printf("  %-*s%s\n", indent-2, name, line)
	}
}

func (p *page) paragraph(name, text string) {
	for _, line := range report.Wrap(p.clean(name+text), p.Width-6) {
		p.printf("     %s\n", line)
	}
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.b, format, args...) }

func (p *page) sign(unicode, ascii string) string {
	if p.ASCII {
		return ascii
	}
	return unicode
}

func (p *page) paint(color, s string) string { return report.Paint(p.Color, color, s) }
func (p *page) bold(s string) string         { return p.paint(report.Bold, s) }
func (p *page) faint(s string) string        { return p.paint(report.Faint, s) }

func capital(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if r, n := utf8.DecodeRuneInString(s); !strings.ContainsAny(word, "./_()`") {
		return string(unicode.ToUpper(r)) + s[n:]
	}
	return s
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-3]) + "..."
	}
	return s
}

// clean is s for this page.
func (p *page) clean(s string) string { return Clean(s, p.ASCII) }

// Clean replaces what would play tricks on a terminal, such as control characters and those
// that turn the direction of writing: names of programs, threads and files are anybody's.
// With ascii it leaves nothing but ASCII.
func Clean(s string, ascii bool) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || r == utf8.RuneError || ascii && r > unicode.MaxASCII {
			return '?'
		}
		return r
	}, s)
}
