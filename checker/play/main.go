package play

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"iolab/checker/catalogue"
	"iolab/checker/gameserver"
)

// Main is the whole program. It returns the exit status.
func Main(args []string) int {
	o := Options{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	flags := flag.NewFlagSet("play", flag.ContinueOnError) // the checker has the texts for them
	flags.BoolVar(&o.ASCII, "ascii", false, "")
	flags.BoolVar(&o.Plain, "no-color", false, "")
	flags.StringVar(&o.Addr, "addr", "", "")
	flags.BoolVar(&o.Solution, "solution", false, "")
	flags.StringVar(&o.Engine, "engine", "", "")
	flags.DurationVar(&o.For, "for", 0, "")
	if flags.Parse(args) != nil {
		return 2
	}
	// Caught to the end of the process and never given back: a second signal must neither
	// keep the terminal from being put right nor change the exit status.
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	dir, err := os.Getwd()
	if err == nil && o.Addr == "" {
		o.Root, err = catalogue.Root(dir)
	}
	if err == nil {
		err = Run(ctx, o)
	}
	if ctx.Err() != nil {
		err = ErrInterrupted
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrInterrupted):
		return 130
	}
	fmt.Fprintln(os.Stderr, "play:", err)
	return gameserver.Status(err)
}
