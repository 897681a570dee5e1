package bench

import (
	"fmt"
	"io"
	"strings"

	"iolab/checker/bench/svg"
)

// PlotScale draws how far each climb came.
func (r *Result) PlotScale(w io.Writer) error {
	chart := svg.Bars{Title: "Connections to one server, each with its echo", X: "connections", Note: r.Machine.Short()}
	for _, c := range r.Climbs {
		limit, _, _ := strings.Cut(c.Limit, ":")
		chart.Bars = append(chart.Bars, svg.Bar{Name: c.Subject, Value: float64(c.Connections),
			Group: fmt.Sprintf("%s; what gave: %s", plural(c.Processes, "process", "processes"), limit), Text: thousands(float64(c.Connections))})
	}
	return chart.Write(w)
}

// Plot draws what a message costs each subject, scenario by scenario.
func (r *Result) Plot(w io.Writer) error {
	chart := svg.Bars{Title: "What a message costs the server", X: "processor time of the server for a message (µs), median and spread of the rounds", Note: r.Machine.Short()}
	for _, group := range r.scenarios() {
		for _, row := range group {
			m := row.Median()
			if m.CPU == 0 {
				continue
			}
			least, most := row.Spread(cpuOf)
			chart.Bars = append(chart.Bars, svg.Bar{Name: row.Subject, Value: m.CPU, Low: least, High: most,
				Group: row.Scenario.String(), Text: figure(m.CPU)})
		}
	}
	return chart.Write(w)
}
