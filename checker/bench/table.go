package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"iolab/checker/catalogue"
)

// The table that texts on this subject print (model, platform, connections, latency), with
// numbers that were measured here.

// Model is a row of it.
type Model struct {
	Model    string `json:"model"`
	Platform string `json:"platform"` // where it is native
	Subject  string `json:"subject"`
	Runs     string `json:"runs"` // how it runs here

	Climb Climb `json:"climb"` // one server process
	Paced Row   `json:"paced"` // at a rate that all keep up with
	Full  Row   `json:"full"`  // as fast as it goes
}

// platforms are where the models are at home.
var platforms = map[int]string{1: "all", 2: "Linux", 3: "Linux", 4: "macOS, BSD", 5: "Windows", 6: "Linux"}

// tableRate is the rate at which the table's latencies are measured: an eighth or so of
// what the slowest model here can do, so that none is measured at its end.
const tableRate = 1000

// tableMost is where the table stops to count connections; bench scale goes on.
const tableMost = 30_000

// wineMost is where it stops under Wine, which takes a while for each.
const wineMost = 2000

// Quoted is the comparison of epoll and io_uring that is often met: 10,000 connections,
// echo.
var Quoted = []struct {
	Model   string
	Rate    float64 // messages a second
	P99, CP float64 // microseconds; per cent of a processor
}{{"epoll", 500_000, 45, 35}, {"io_uring", 800_000, 25, 25}}

// TablePlan is what the table needs to measure: all solutions that run here, and lesson
// 05's as a Windows program, too, where there is Wine.
func TablePlan(rounds int, window time.Duration, cores int) (Plan, error) {
	p := Plan{Rounds: rounds, Window: window, WarmUp: window / 4, Cores: cores}
	for _, l := range catalogue.All() {
		if l.Number == 7 || !l.Ready() || !l.Runs(runtime.GOOS).OK() {
			continue
		}
		s, err := ParseSubject("solution/" + l.ID(0))
		if err != nil {
			return p, err
		}
		p.Subjects = append(p.Subjects, s)
	}
	if s, ok := WineSubject(); ok {
		p.Subjects = append(p.Subjects, s)
	}
	p.Scenarios = []Scenario{
		{Connections: tableConnections, Size: 64, Rate: tableRate},
		{Connections: tableConnections, Size: 64, Depth: 1},
	}
	return p, nil
}

const tableConnections = 900 // as many as select can have with room to spare

// Echo is the often quoted row, measured: epoll and io_uring with as many connections.
type Echo struct {
	Connections int   `json:"connections"`
	Rows        []Row `json:"rows"`
}

// Table measures the table.
func (b *Bench) Table(ctx context.Context, plan Plan, most int) (*Result, error) {
	r, err := b.Run(ctx, plan)
	if err != nil {
		return nil, err
	}
	r.Kind = "table"
	if err := b.build(ctx, plan); err != nil {
		return nil, err
	}
	defer os.RemoveAll(b.dir) // of now: echo builds in another
	n := len(plan.Subjects)
	b.all = 100
	for i, s := range plan.Subjects {
		reach := min(most, tableMost)
		if s.Runs == underWine {
			reach = min(reach, wineMost)
		}
		m := Model{Model: s.Model(), Platform: platforms[s.Lesson], Subject: s.Name, Runs: s.Runs,
			Climb: b.climb(ctx, s, 1, reach), Paced: r.Rows[i], Full: r.Rows[n+i]}
		r.Table = append(r.Table, m)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	r.Rows = nil
	return r, b.echo(ctx, r, plan, min(most, 10_000))
}

// echo measures the quoted row for the subjects of the plan that it is about.
func (b *Bench) echo(ctx context.Context, r *Result, plan Plan, connections int) error {
	if limit := fileLimit(); limit > 0 {
		connections = min(connections, int(limit)-100)
	}
	few := min(20, connections)
	plan.Scenarios = []Scenario{
		{Connections: connections, Size: 64, Depth: 1},
		{Connections: few, Idle: connections - few, Size: 64, Depth: 1},
		{Connections: connections, Size: 64, Rate: 20_000},
	}
	var subjects []Subject
	for _, s := range plan.Subjects {
		if s.Lesson == 3 || s.Lesson == 6 {
			subjects = append(subjects, s)
		}
	}
	if len(subjects) == 0 {
		return nil
	}
	plan.Subjects = subjects
	rows, err := b.Run(ctx, plan)
	if err != nil {
		return err
	}
	r.Echo = &Echo{Connections: connections, Rows: rows.Rows}
	return nil
}

// ShowTable writes the table for people.
func (r *Result) ShowTable(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", r.Machine)
	fmt.Fprintf(w, "%s of %v s each, medians; %s\n", plural(r.Rounds, "round", "rounds"), r.Window, placement(r.Pinned))
	r.showBusy(w)
	fmt.Fprintln(w)
	rows := [][]string{{"model", "at home on", "here", "connections", "p50", "p99", "messages/s", "CPU us", "calls"}}
	for _, m := range r.Table {
		connections := thousands(float64(m.Climb.Connections))
		if strings.HasPrefix(m.Climb.Limit, "none") {
			connections = ">= " + connections
		}
		paced, full := m.Paced.Median(), m.Full.Median()
		calls := 0.0
		for _, n := range full.Calls {
			calls += n
		}
		cells := []string{m.Model, m.Platform, m.Runs, connections, microseconds(paced.P50), microseconds(paced.P99), thousands(full.Rate), figure(full.CPU), figure(calls)}
		if len(m.Paced.Samples) == 0 {
			cells[4], cells[5] = "-", "-"
		}
		if len(m.Full.Samples) == 0 || full.CPU == 0 {
			cells[7] = "-"
		}
		if len(full.Calls) == 0 {
			cells[8] = "-"
		}
		rows = append(rows, cells)
	}
	grid{left: 3, rows: rows}.write(w)
	fmt.Fprintf(w, `
connections   to one server process, each with its echo. What ended it:
`)
	for _, m := range r.Table {
		fmt.Fprintf(w, "              %s: %s%s\n", m.Model, m.Climb.Limit, m.Climb.Problem)
	}
	fmt.Fprintf(w, "p50, p99      of %s, %s messages due each second in all, counted from when they were due\n",
		plural(tableConnections, "connection", "connections"), thousands(tableRate))
	fmt.Fprintf(w, "messages/s    of %s with one message under way on each, as fast as it goes: server and clients each at the end of a processor\n",
		plural(tableConnections, "connection", "connections"))
	fmt.Fprintf(w, "CPU us        processor time of the server for a message then; calls: system calls for a message (those of the emulations: the emulated ones)\n")
	if slices.ContainsFunc(r.Table, func(m Model) bool { return m.Runs == underWine }) {
		fmt.Fprintf(w, "Wine          Windows' program, on Wine: its calls go through a server process, whose time is not counted\n")
	}
	for _, m := range r.Table {
		for _, row := range []Row{m.Paced, m.Full} {
			if row.Problem != "" {
				fmt.Fprintf(w, "%s: %s\n", m.Model, row.Problem)
			}
		}
	}
	if r.Echo != nil {
		r.Echo.show(w)
	}
	fmt.Fprintln(w)
}

func (e *Echo) show(w io.Writer) {
	fmt.Fprintf(w, "\nThe comparison that is often quoted: echo, 10,000 connections\n\n")
	rows := [][]string{{"", "model", "messages/s", "p99", "CPU", "CPU us for a message"}}
	for _, q := range Quoted {
		rows = append(rows, []string{"quoted", q.Model, thousands(q.Rate), microseconds(q.P99), fmt.Sprintf("%.0f%%", q.CP), figure(q.CP / 100 * 1e6 / q.Rate)})
	}
	for _, row := range e.Rows {
		what := fmt.Sprintf("all %s at once", thousands(float64(e.Connections)))
		switch {
		case row.Scenario.Rate > 0:
			what = fmt.Sprintf("%s due a second", thousands(row.Scenario.Rate))
		case row.Scenario.Idle > 0:
			what = fmt.Sprintf("%d of %s at once", row.Scenario.Connections, thousands(float64(e.Connections)))
		}
		if len(row.Samples) == 0 {
			rows = append(rows, []string{what, row.Subject, "-", "-", "-", "-"})
			continue
		}
		m := row.Median()
		rows = append(rows, []string{what, row.Subject, thousands(m.Rate), microseconds(m.P99), fmt.Sprintf("%.0f%%", 100*m.Share), figure(m.CPU)})
	}
	grid{left: 2, rows: rows}.write(w)
	fmt.Fprintln(w)
	for _, line := range e.words() {
		fmt.Fprintln(w, line)
	}
}

// words say what the quoted figures and the measured ones come to.
func (e *Echo) words() []string {
	q := Quoted[0]
	under := q.Rate * q.P99 / 1e6
	words := []string{fmt.Sprintf("Quoted: %s messages a second, nearly all back within %.0f us, are at most %.0f under way at any moment (rate x latency).",
		thousands(q.Rate), q.P99, under),
		fmt.Sprintf("So those cannot have been %s clients with a message each: nearly all of them were silent. The second pair of rows is like that.", thousands(10_000))}
	var epoll, uring []Row
	for _, row := range e.Rows {
		if len(row.Samples) == 0 {
			continue
		}
		if strings.Contains(row.Subject, "io_uring") {
			uring = append(uring, row)
		} else {
			epoll = append(epoll, row)
		}
	}
	for _, a := range epoll {
		for _, b := range uring {
			if a.Scenario != b.Scenario || a.Scenario.Rate > 0 {
				continue
			}
			x, y := a.Median(), b.Median()
			if x.Rate == 0 || x.CPU == 0 {
				continue
			}
			who := fmt.Sprintf("%s of %s active", thousands(float64(a.Scenario.Connections)), thousands(float64(e.Connections)))
			words = append(words, fmt.Sprintf("Here, %s: io_uring has %.2f times epoll's messages a second (quoted: 1.6), and needs %.2f times its processor time for a message.",
				who, y.Rate/x.Rate, y.CPU/x.CPU))
		}
	}
	return append(words, verdict(epoll, uring))
}

// verdict is the answer in one sentence.
func verdict(epoll, uring []Row) string {
	best := 0.0
	for _, a := range epoll {
		for _, b := range uring {
			if x, y := a.Median(), b.Median(); a.Scenario == b.Scenario && a.Scenario.Rate == 0 && x.CPU > 0 && y.CPU > 0 {
				best = max(best, x.CPU/y.CPU)
			}
		}
	}
	switch {
	case best == 0:
		return "There is nothing to compare with here."
	case best >= 1.5:
		return fmt.Sprintf("A ratio of 1.6 is seen here: at best io_uring serves %.2f messages in the processor time in which epoll serves one.", best)
	case best > 1.05:
		return fmt.Sprintf("A ratio of 1.6 is not seen here: at best io_uring serves %.2f messages in the processor time in which epoll serves one. Most of a message's cost is TCP's, the same for both.", best)
	}
	return "A ratio of 1.6 is not seen here, nor any gain worth the name: most of a message's cost is TCP's, the same for both."
}
