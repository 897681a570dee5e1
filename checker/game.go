package main

import (
	"flag"
	"fmt"
	"time"

	"iolab/checker/runner"
)

// Arena and play: programs around lesson 07's server, which the checker builds and runs
// in the foreground.

func arenaFlags(f *flag.FlagSet) {
	f.Bool("solution", false, "the solution's server and engines, not yours")
	f.String("engine", "", "serve on this `engine`: epoll-et, or lessons/epoll-et for yours, or solutions/epoll-et")
	f.Int("bots", 1000, "how many bots join")
	f.Int("port", 0, "the page's `port` on 127.0.0.1; 0: one that is free")
	f.Bool("no-open", false, "print the page's address, and do not open a browser")
	f.Duration("for", 0, "end after this `time`; 0: at Ctrl-C")
}

func runArena(a *app, f *flag.FlagSet, _ []string) error {
	solution := value[bool](f, "solution")
	if err := a.gameHere(); err != nil {
		return err
	}
	return a.foreground("./checker/arena/arena", []string{
		fmt.Sprintf("-json=%v", a.json), fmt.Sprintf("-solution=%v", solution), "-engine=" + value[string](f, "engine"),
		fmt.Sprintf("-bots=%d", value[int](f, "bots")), fmt.Sprintf("-port=%d", value[int](f, "port")),
		fmt.Sprintf("-no-open=%v", value[bool](f, "no-open")), fmt.Sprintf("-for=%v", value[time.Duration](f, "for")),
	})
}

func playFlags(f *flag.FlagSet) {
	f.String("addr", "", "join the server at this `host:port`; without it one is started")
	f.Bool("solution", false, "start the solution's server, not yours")
	f.String("engine", "", "start it on this `engine`: epoll-et, or lessons/epoll-et for yours, or solutions/epoll-et")
	f.Duration("for", 0, "leave after this `time` in the game; 0: when you press q")
}

func runPlay(a *app, f *flag.FlagSet, _ []string) error {
	addr := value[string](f, "addr")
	if addr != "" && (value[bool](f, "solution") || value[string](f, "engine") != "") {
		return usage("play: -solution and -engine are for a server that is started, and -addr names one that runs")
	}
	if addr == "" {
		if err := a.gameHere(); err != nil {
			return err
		}
	}
	return a.program("./checker/play/play", []string{
		fmt.Sprintf("-ascii=%v", a.ascii), fmt.Sprintf("-no-color=%v", a.plain), "-addr=" + addr,
		fmt.Sprintf("-solution=%v", value[bool](f, "solution")), "-engine=" + value[string](f, "engine"),
		fmt.Sprintf("-for=%v", value[time.Duration](f, "for")),
	}, runner.OnTerminal)
}

// gameHere says why lesson 07's server cannot be built, if it cannot.
func (a *app) gameHere() error {
	l, _, err := find("07")
	if err == nil {
		err = runnable(l)
	}
	return err
}
