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
	r := doctor.Examine(dir)
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		e.Encode(r)
	} else {
		fmt.Println()
		for _, c := range r.Checks {
			show(c, *ascii, !*plain)
		}
		fmt.Println()
		showSettings(r.Settings, !*plain)
	}
	for _, c := range r.Checks {
		if c.State == doctor.Problem {
			os.Exit(3)
		}
	}
}

// indent is where the second column begins, width the page's.
const indent, width = 20, 80

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
	for i, line := range report.Wrap(c.Value, width-indent) {
		if i == 0 {
			fmt.Printf("  %s  %-13s %s\n", report.Paint(color, s[2], sign), c.Name, line)
			continue
		}
		fmt.Printf("%s%s\n", strings.Repeat(" ", indent), line)
	}
	for _, text := range []string{c.Means, c.Cure} {
		if text == "" {
			continue
		}
		if text == c.Cure && c.Means != "" {
			text = "cure: " + text
		}
		for _, line := range report.Wrap(text, width-indent) {
			fmt.Printf("%s%s\n", strings.Repeat(" ", indent), report.Paint(color, report.Faint, line))
		}
	}
}

// showSettings lists those that are too low for runs with many connections.
func showSettings(all []doctor.Setting, color bool) {
	low := false
	for _, s := range all {
		if s.Enough {
			continue
		}
		if !low {
			fmt.Println("  For runs with 100,000 connections and more, as root; the lab never sets them:")
			fmt.Println()
			low = true
		}
		wanted := s.Wanted
		if strings.Contains(wanted, " ") {
			wanted = `"` + wanted + `"`
		}
		fmt.Printf("    sysctl -w %s=%s\n", s.Name, wanted)
		for _, line := range report.Wrap(s.Does+" (now "+s.Now+")", width-6) {
			fmt.Printf("      %s\n", report.Paint(color, report.Faint, line))
		}
	}
	if low {
		fmt.Println()
	}
}
