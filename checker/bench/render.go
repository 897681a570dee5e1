package bench

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Show writes r for people.
func (r *Result) Show(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", r.Machine)
	fmt.Fprintf(w, "%s of %v s each, medians; %s\n", plural(r.Rounds, "round", "rounds"), r.Window, placement(r.Pinned))
	r.showBusy(w)
	for _, group := range r.scenarios() {
		fmt.Fprintf(w, "\n%s\n\n", group[0].Scenario)
		grid{left: 1, rows: lines(group)}.write(w)
		for _, row := range group {
			for _, n := range row.notes() {
				fmt.Fprintf(w, "  %s: %s\n", row.Subject, n)
			}
		}
	}
	if len(r.Memory) > 0 {
		fmt.Fprintf(w, "\nGrowth of the server's own memory (RSS) for silent connections\n\n")
		rows := [][]string{{"subject", "once, KB", "connections", "KB for all", "bytes for each", ""}}
		for _, m := range r.Memory {
			row := []string{m.Subject, "-", thousands(float64(m.Connections)), "-", "-", ""}
			if m.Problem != "" {
				row[5] = "not known: " + m.Problem
			} else {
				row[1], row[3], row[4] = thousands(float64(m.Fixed)/1024), thousands(float64(m.Grown)/1024), thousands(m.PerConn)
			}
			rows = append(rows, row)
		}
		grid{left: 1, rows: rows}.write(w)
		fmt.Fprintf(w, "\n  once: with the first messages, however many connections there are: a ring's buffers, for one. bytes for each:\n"+
			"  the rest over the connections, with what a Go heap holds of garbage: up to 4 MB, or as much as is live\n")
	}
	fmt.Fprintln(w)
}

// showBusy says so if the machine had other work.
func (r *Result) showBusy(w io.Writer) {
	if r.Busy > max(0.5, float64(r.Machine.Cores-r.Cores-1)) {
		fmt.Fprintf(w, "the machine had other work: before this, %s threads ran or wanted to on %s. Trust little but the processor time for a message\n",
			figure(r.Busy), plural(r.Machine.Cores, "processor", "processors"))
	}
}

func placement(pinned bool) string {
	if pinned {
		return "server and load on processors of their own"
	}
	return "server and load share the processors: latencies and messages a second say little"
}

// scenarios are the rows, in groups of one scenario each.
func (r *Result) scenarios() (groups [][]Row) {
	for _, row := range r.Rows {
		if n := len(groups); n > 0 && groups[n-1][0].Scenario == row.Scenario {
			groups[n-1] = append(groups[n-1], row)
		} else {
			groups = append(groups, []Row{row})
		}
	}
	return groups
}

func lines(group []Row) [][]string {
	rows := [][]string{{"subject", "runs", "messages/s", "p50", "p99", "p99.9", "CPU us", "(all rounds)", "user", "system", "calls"}}
	for _, row := range group {
		if len(row.Samples) == 0 {
			continue
		}
		m := row.Median()
		least, most := row.Spread(cpuOf)
		calls := "-"
		if len(m.Calls) > 0 {
			var sum float64
			for _, n := range m.Calls {
				sum += n
			}
			calls = figure(sum)
		}
		cpu, spread, user, system := "-", "-", "-", "-"
		if m.CPU > 0 {
			cpu, spread, user, system = figure(m.CPU), figure(least)+"-"+figure(most), figure(m.User), figure(m.System)
		}
		rows = append(rows, []string{row.Subject, row.Runs, thousands(m.Rate), microseconds(m.P50), microseconds(m.P99), microseconds(m.P999),
			cpu, spread, user, system, calls})
	}
	return rows
}

// notes are what has to be known about the row's figures.
func (r Row) notes() (notes []string) {
	if r.Problem != "" {
		notes = append(notes, r.Problem)
	}
	if len(r.Samples) == 0 {
		return notes
	}
	if r.Empty > 0 {
		notes = append(notes, fmt.Sprintf("in %s no message came back in the window, and all of them later: the machine was busy, or the window is too short", plural(r.Empty, "round", "rounds")))
	}
	m := r.Median()
	if len(m.Calls) > 0 {
		var words []string
		for _, name := range slices.SortedFunc(maps.Keys(m.Calls), func(a, b string) int {
			if m.Calls[a] != m.Calls[b] {
				return int(math.Copysign(1, m.Calls[b]-m.Calls[a]))
			}
			return strings.Compare(a, b)
		}) {
			if m.Calls[name] >= 0.001 {
				words = append(words, name+" "+figure(m.Calls[name]))
			}
		}
		if len(words) > 1 {
			notes = append(notes, "calls for a message: "+strings.Join(words, ", "))
		}
	}
	if m.Share > 0 && m.LoadShare > 0.95 && m.Share < 0.9 {
		notes = append(notes, fmt.Sprintf("the load was at its end (%.0f%% of a processor, %s us for a message), the server was not (%.0f%%): it could serve more",
			100*m.LoadShare, figure(m.LoadCPU), 100*m.Share))
	}
	if note := m.overload(r.Scenario.Rate, len(r.Samples)); note != "" {
		notes = append(notes, note)
	}
	if m.LateP99 > max(m.P50, 200) {
		notes = append(notes, fmt.Sprintf("the clients themselves were late (p99 %s): the machine was busy", microseconds(m.LateP99)))
	}
	if m.Lost > 0 {
		notes = append(notes, fmt.Sprintf("%s not back five seconds after the end of a round; their latency is taken to be the wait", plural(int(m.Lost), "message was", "messages were")))
	}
	if m.Connects > 0 {
		notes = append(notes, thousands(m.Connects)+" new connections a second")
	}
	return notes
}

// overload says so if not all that was due at rate in the windows of so many rounds was
// answered in them, and who did not keep up. What is under way at the end of a window is no
// overload: at most a hundredth of a second's messages, or of all.
func (m Sample) overload(rate float64, rounds int) string {
	missing := m.Due - m.Answered
	if float64(missing) <= max(float64(m.Due)/100, rate/100*float64(rounds)) {
		return ""
	}
	who := "the server does not keep up"
	if m.Due-m.Sent > missing/2 {
		who = "the clients do not keep up: they sent " + thousands(float64(m.Sent))
	}
	return fmt.Sprintf("overloaded: %s of %s messages that were due in the windows were answered in them; %s. Messages a second, CPU and calls are those of what came back in the windows",
		thousands(float64(m.Answered)), thousands(float64(m.Due)), who)
}

// Ceiling says what the load generator itself costs.
func (r *Result) Ceiling() string {
	least, share := math.Inf(1), 0.0
	for _, row := range r.Rows {
		if m := row.Median(); m.LoadCPU > 0 {
			least, share = min(least, m.LoadCPU), max(share, m.LoadShare)
		}
	}
	if math.IsInf(least, 1) {
		return ""
	}
	return fmt.Sprintf("The load generator needed %s us of processor for a message where that was least, so %s messages a second are its ceiling; it used at most %.0f%% of its processor.",
		figure(least), thousands(1e6/least), 100*share)
}

// ShowChanges writes what Compare found.
func ShowChanges(w io.Writer, a, b *Result, changes []Change, notes []string) {
	fmt.Fprintf(w, "\nA  %s\nB  %s\n", a.Name(), b.Name())
	for _, n := range notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
	var last Scenario
	var rows [][]string
	flush := func() {
		if len(rows) > 1 {
			fmt.Fprintf(w, "\n%s\n\n", last)
			grid{left: 2, rows: rows}.write(w)
		}
		rows = [][]string{{"subject", "figure", "A", "B", "change", "chance", ""}}
	}
	flush()
	for _, c := range changes {
		if c.Scenario != last {
			flush()
			last = c.Scenario
		}
		chance, word := fmt.Sprintf("%.2g", c.Chance), "the rounds may differ so by chance"
		switch {
		case c.Few:
			chance, word = "-", "not enough rounds to say"
		case c.Clear:
			word = "clear"
		}
		rows = append(rows, []string{c.Subject, c.What, figure(c.A), figure(c.B), fmt.Sprintf("%+.1f%%", c.Percent), chance, word})
	}
	flush()
	fmt.Fprintf(w, `
chance: how often rounds that measure the same come out as far apart as these (the exact test of
their ranks, Mann and Whitney's, both sides). "clear" is 1 in 20 or less, so of the %s here
%.0f may be called clear by chance alone. With 4 rounds in each it can be as low as 2 in 70, with 3
it is never below 1 in 10. What changed between the two runs as a whole (other work on the machine,
its temperature) is in no round: measure again before you believe it.

`, plural(len(changes), "figure", "figures"), math.Ceil(float64(len(changes))/20))
}

// grid is a table of text: the first left columns, and a last one without a title, to the
// left, the others to the right.
type grid struct {
	left int
	rows [][]string
}

func (g grid) write(w io.Writer) {
	if len(g.rows) < 2 {
		return
	}
	width := make([]int, len(g.rows[0]))
	for _, row := range g.rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range g.rows {
		line := " "
		for i, cell := range row {
			space := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i < g.left || g.rows[0][i] == "" {
				line += " " + cell + space
			} else {
				line += "  " + space + cell
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// figure is x to three digits.
func figure(x float64) string {
	switch {
	case x == 0:
		return "0"
	case math.Abs(x) >= 1000:
		return thousands(x)
	case math.Abs(x) >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case math.Abs(x) >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case math.Abs(x) >= 0.1:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
	return strconv.FormatFloat(x, 'f', 3, 64)
}

// thousands is x as a whole number with commas.
func thousands(x float64) string {
	text := strconv.FormatFloat(math.Round(math.Abs(x)), 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	if x <= -0.5 {
		text = "-" + text
	}
	return text
}

// microseconds is a duration, given in microseconds, in a unit that fits.
func microseconds(us float64) string {
	switch {
	case us >= 1e6:
		return figure(us/1e6) + " s"
	case us >= 1e3:
		return figure(us/1e3) + " ms"
	}
	return figure(us) + " us"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(float64(n)) + " " + many
}
