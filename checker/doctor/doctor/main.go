// Command doctor is what `go run ./checker doctor` runs.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"iolab/checker/catalogue"
	"iolab/checker/doctor"
	"iolab/checker/report"
)

func main() {
	asJSON := flag.Bool("json", false, "print JSON")
	ascii := flag.Bool("ascii", false, "print nothing but ASCII")
	plain := flag.Bool("no-color", false, "no colours")
	flag.Parse()
	dir, err := os.Getwd()
	if err == nil {
		dir, err = catalogue.Root(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "doctor:", err)
		os.Exit(3)
	}
	checks := doctor.Examine(dir)
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		e.Encode(map[string]any{"checks": checks})
	} else {
		fmt.Println()
		for _, c := range checks {
			show(c, *ascii, !*plain)
		}
		fmt.Println()
	}
	for _, c := range checks {
		if c.State == doctor.Problem {
			os.Exit(3)
		}
	}
}

func show(c doctor.Check, ascii, color bool) {
	signs := map[doctor.State][3]string{
		doctor.OK:      {"✓ ", "ok", report.Green},
		doctor.Warning: {"! ", "! ", report.Yellow},
		doctor.Problem: {"✗ ", "!!", report.Red},
		doctor.Info:    {"  ", "  ", ""},
	}
	s := signs[c.State]
	sign := s[0]
	if ascii {
		sign = s[1]
	}
	fmt.Printf("  %s  %-13s %s\n", report.Paint(color, s[2], sign), c.Name, c.Value)
	if c.Cure != "" {
		for _, line := range report.Wrap(c.Cure, 80-20-6) {
			fmt.Printf("%s%s\n", strings.Repeat(" ", 20), report.Paint(color, report.Faint, line))
		}
	}
}
