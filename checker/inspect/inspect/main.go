// Command inspect is what `go run ./checker inspect PID` runs. Built alone it needs
// nothing of the lab, so it can be copied to a server:
//
//	CGO_ENABLED=0 go build -o inspect ./checker/inspect/inspect
//
// Its exit status is 0 if it found no problem, 1 if it did, 2 if the command line is
// wrong and 3 if the process cannot be looked at.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"iolab/checker/inspect"
	"iolab/checker/report"
)

func main() {
	asJSON := flag.Bool("json", false, "print JSON")
	ascii := flag.Bool("ascii", false, "print nothing but ASCII")
	plain := flag.Bool("no-color", os.Getenv("NO_COLOR") != "" || !terminal(), "no colours; so by default where the output is no terminal, or NO_COLOR is set")
	period := flag.Duration("for", time.Second, "look for this long")
	all := flag.Bool("all", false, "show every socket and entry")
	watch := flag.Bool("watch", false, "look again and again, until Ctrl-C")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "inspect [FLAGS] PID")
		flag.PrintDefaults()
	}
	flag.Parse()
	fail := func(code int, err error) {
		if *asJSON {
			encode(map[string]any{"error": err.Error(), "exit": code})
		} else {
			fmt.Fprintln(os.Stderr, "inspect:", inspect.Clean(err.Error(), *ascii))
		}
		os.Exit(code)
	}
	if flag.NArg() != 1 {
		fail(2, errors.New("one process id is needed: inspect [FLAGS] PID"))
	}
	pid, err := strconv.Atoi(flag.Arg(0))
	if err != nil || pid <= 0 {
		fail(2, fmt.Errorf("%q is no process id; pidof NAME and ss -ltnp show them", flag.Arg(0)))
	}
	if *period < 100*time.Millisecond || *period > time.Hour {
		fail(2, errors.New("-for is a time between 100ms and 1h: states that only pass by would be taken for faults in less"))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for {
		r, err := inspect.Inspect(ctx, pid, *period)
		switch {
		case ctx.Err() != nil:
			os.Exit(130)
		case err != nil:
			fail(3, err)
		}
		switch {
		case *asJSON:
			encode(r)
		default:
			if *watch && !*plain {
				fmt.Print("\x1b[H\x1b[2J")
			}
			fmt.Print(inspect.Text(r, inspect.Options{Options: report.Options{Color: !*plain, ASCII: *ascii}, All: *all}))
		}
		switch {
		case *watch:
		case r.Failed():
			os.Exit(1)
		default:
			return
		}
	}
}

// terminal tells whether the output is a terminal that understands colours.
func terminal() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

func encode(v any) {
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	e.Encode(v)
}
