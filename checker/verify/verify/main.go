// Command verify is what `go run ./checker verify` runs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/verify"
)

func main() {
	o := verify.Options{}
	var asJSON, ascii, plain bool
	var commands string
	flag.BoolVar(&o.Quick, "quick", false, "leave out the reader's path and a mutant's earlier steps")
	flag.BoolVar(&o.Race, "race", false, "run the solutions with the race detector, too")
	flag.IntVar(&o.Count, "count", 1, "run the solutions this many times")
	flag.BoolVar(&asJSON, "json", false, "print one JSON object a check")
	flag.BoolVar(&ascii, "ascii", false, "print nothing but ASCII")
	flag.BoolVar(&plain, "no-color", false, "no colours")
	flag.StringVar(&commands, "commands", "", "the checker's commands and flags, as `JSON`")
	flag.Parse()
	if commands != "" {
		if err := json.Unmarshal([]byte(commands), &o.Commands); err != nil {
			fail(2, err)
		}
	}
	dir, err := os.Getwd()
	if err == nil {
		o.Root, err = catalogue.Root(dir)
	}
	if err != nil {
		fail(3, err)
	}
	for _, l := range catalogue.All() {
		if flag.NArg() > 0 && l.Folder != flag.Arg(0) {
			continue
		}
		if l.Ready() && l.Runs(runtime.GOOS).OK() {
			o.Lessons = append(o.Lessons, l)
		}
	}
	good, bad := "✓ ", "✗ "
	if ascii {
		good, bad = "ok", "!!"
	}
	o.Report = func(c verify.Check) {
		if asJSON {
			line, _ := json.Marshal(c)
			fmt.Printf("%s\n", line)
			return
		}
		sign := report.Paint(!plain, report.Green, good)
		if !c.OK {
			sign = report.Paint(!plain, report.Red, bad)
		}
		fmt.Printf("  %s  %-12s %-50s %7.1f s\n", sign, c.Lesson, c.Check, c.Seconds)
		for _, u := range c.Unavailable {
			fmt.Printf("        unavailable here: %s\n", u)
		}
		if c.Problem != "" {
			fmt.Printf("        %s\n", strings.ReplaceAll(c.Problem, "\n", "\n        "))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := verify.Run(ctx, o)
	switch {
	case ctx.Err() != nil:
		os.Exit(130)
	case err != nil:
		fail(3, err)
	case failed > 0:
		fail(1, fmt.Errorf("%d checks failed", failed))
	}
}

func fail(code int, err error) {
	fmt.Fprintln(os.Stderr, "verify:", err)
	os.Exit(code)
}
