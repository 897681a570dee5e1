// Command arena is what `go run ./checker arena` runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"iolab/checker/arena"
	"iolab/checker/catalogue"
	"iolab/checker/gameserver"
)

func main() {
	o := arena.Options{Out: os.Stdout, Err: os.Stderr}
	flag.BoolVar(&o.JSON, "json", false, "")
	flag.BoolVar(&o.Solution, "solution", false, "")
	flag.StringVar(&o.Engine, "engine", "", "")
	flag.IntVar(&o.Bots, "bots", 1000, "")
	flag.IntVar(&o.Port, "port", 0, "")
	flag.BoolVar(&o.NoOpen, "no-open", false, "")
	flag.DurationVar(&o.For, "for", 0, "")
	botsOf := flag.String("bots-of", "", "be the bots of the server at this address")
	flag.Parse() // the checker has checked them
	if *botsOf != "" {
		exit(arena.BotsMain(*botsOf))
	}
	dir, err := os.Getwd()
	if err == nil {
		o.Root, err = catalogue.Root(dir)
	}
	if err != nil {
		exit(err)
	}
	self, err := os.Executable()
	if err != nil {
		exit(err)
	}
	o.BotsArgs = []string{self, "-bots-of"}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	err = arena.Run(ctx, o)
	if ctx.Err() != nil {
		err = nil // asked to end
	}
	exit(err)
}

// exit ends with the status that err means to the checker.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "arena:", err)
	}
	os.Exit(gameserver.Status(err))
}
