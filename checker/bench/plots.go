package bench

import (
	"context"
	"io"
	"time"

	"iolab/checker/bench/svg"
)

// The figures that the lessons show: what a message of one client costs the server beside
// more and more silent ones.

// plotIdle are the numbers of silent connections. select ends before the larger ones.
var plotIdle = []int{0, 100, 300, 500, 700, 900, 2000, 5000, 10_000}

// Figures are the files that a plots result draws, relative to the lab's root.
var Figures = map[string]func(*Result, io.Writer) error{
	"lessons/01-select/cost.svg":   func(r *Result, w io.Writer) error { return r.figure(w, 900, "01-select") },
	"lessons/02-epoll-lt/cost.svg": func(r *Result, w io.Writer) error { return r.figure(w, 10_000, "01-select", "02-epoll-lt") },
}

// PlotsPlan is what the figures need.
func PlotsPlan(rounds int, window time.Duration) (Plan, error) {
	p := Plan{Rounds: rounds, Window: window, WarmUp: window / 4, Cores: 1}
	for _, name := range []string{"solution/01", "solution/02"} {
		s, err := ParseSubject(name)
		if err != nil {
			return p, err
		}
		p.Subjects = append(p.Subjects, s)
	}
	for _, idle := range plotIdle {
		if limit := fileLimit(); limit == 0 || idle+100 < int(limit) {
			p.Scenarios = append(p.Scenarios, Scenario{Connections: 1, Idle: idle, Depth: 1, Size: 64})
		}
	}
	return p, nil
}

// Plots measures what the figures need.
func (b *Bench) Plots(ctx context.Context, plan Plan) (*Result, error) {
	r, err := b.Run(ctx, plan)
	if err != nil {
		return nil, err
	}
	r.Kind = "plots"
	return r, nil
}

// figure draws the cost of a message of the subjects of some lessons, beside up to most
// silent connections.
func (r *Result) figure(w io.Writer, most int, folders ...string) error {
	chart := svg.Lines{
		Title: "What one client's message costs the server, beside silent connections",
		X:     "silent connections",
		Y:     "processor time for a message (µs)",
		Note:  r.Machine.Short(),
	}
	for _, folder := range folders {
		s, err := ParseSubject("solution/" + folder)
		if err != nil {
			return err
		}
		line := svg.Line{Name: s.Model()}
		for _, row := range r.Rows {
			if row.Subject != s.Name || row.Scenario.Idle > most || len(row.Samples) == 0 {
				continue
			}
			least, greatest := row.Spread(cpuOf)
			line.Points = append(line.Points, svg.Point{X: float64(row.Scenario.Idle), Y: row.Median().CPU, Low: least, High: greatest})
		}
		chart.Lines = append(chart.Lines, line)
	}
	return chart.Write(w)
}

// Measured tells whether there is something to draw: processor time of another process is
// not to be had everywhere.
func (r *Result) Measured() bool {
	for _, row := range r.Rows {
		if row.Median().CPU > 0 {
			return true
		}
	}
	return false
}
