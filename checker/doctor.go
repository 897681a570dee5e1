package main

import (
	"flag"
	"fmt"
	"strings"

	"iolab/checker/doctor"
	"iolab/checker/report"
)

func runDoctor(a *app, _ *flag.FlagSet, _ []string) error {
	checks := doctor.Examine(a.root)
	problems := 0
	for _, c := range checks {
		if c.State == doctor.Problem {
			problems++
		}
	}
	if a.json {
		a.printJSON(map[string]any{"checks": checks})
	} else {
		a.printf("\n")
		for _, c := range checks {
			a.showCheck(c)
		}
		a.printf("\n")
	}
	if problems > 0 {
		return statusError{code: exitCannot}
	}
	return nil
}

func (a *app) showCheck(c doctor.Check) {
	sign, color := "  ", ""
	switch c.State {
	case doctor.OK:
		sign, color = a.sign("✓ ", "ok"), report.Green
	case doctor.Warning:
		sign, color = a.sign("! ", "! "), report.Yellow
	case doctor.Problem:
		sign, color = a.sign("✗ ", "!!"), report.Red
	}
	a.printf("  %s  %-13s %s\n", a.paint(color, sign), c.Name, c.Value)
	if c.Cure != "" {
		for _, line := range report.Wrap(c.Cure, 80-20-6) {
			a.printf("%s%s\n", strings.Repeat(" ", 20), a.paint(report.Faint, fmt.Sprint(line)))
		}
	}
}
