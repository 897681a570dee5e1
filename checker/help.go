package main

import (
	"flag"
	"strings"

	"iolab/checker/report"
)

func runHelp(a *app, _ *flag.FlagSet, args []string) error {
	if len(args) == 0 {
		a.help()
		return nil
	}
	if args[0] == "json" {
		a.printf("%s", jsonHelp)
		return nil
	}
	v, err := findVerb(args[0])
	if err == nil {
		a.helpVerb(v)
	}
	return err
}

func (a *app) help() {
	a.printf("%s\n\n", a.paint(report.Bold, "go run ./checker [COMMAND] [ARGUMENTS] [FLAGS]"))
	for _, v := range verbs {
		left := strings.TrimSpace(v.name + " " + v.args)
		if len(left) > 22 {
			a.printf("  %s\n  %-22s  %s\n", left, "", v.summary)
		} else {
			a.printf("  %-22s  %s\n", left, v.summary)
		}
	}
	a.printf(`
A lesson is written 2, 02, 02-epoll-lt or epoll-lt, a step 02.4 or 2.4.

Every command takes -json, -ascii and -no-color (or NO_COLOR=1 in the environment).
Exit status: 0 passed, 1 a step failed, 2 wrong command line, 3 cannot run here,
130 interrupted. "go run" shows all but 0 as 1.
`)
}

func (v verb) usage() string { return strings.TrimSpace("go run ./checker " + v.name + " " + v.args) }

func (a *app) helpVerb(v verb) {
	a.printf("%s\n\n  %s\n", a.paint(report.Bold, v.usage()), v.summary)
	if v.detail != "" {
		a.printf("  %s\n", strings.ReplaceAll(v.detail, "\n", "\n  "))
	}
	if v.raw != nil {
		return
	}
	f := v.flagSet(a)
	f.SetOutput(a.out)
	a.printf("\n")
	f.PrintDefaults()
}

const jsonHelp = `-json prints one JSON object on standard output. Fields are only ever added.

error     {"error": "...", "exit": 2}           in place of any of these

map       {"os", "next": "01.3", "notes": [], "lessons": [LESSON]}
list      {"lessons": [LESSON]}
LESSON    {"number", "folder", "title", "ready", "runs": "native|emulated|",
           "why", "done", "before", "steps": [{"number", "title", "asks",
           "outcome", "before", "tests": [{"name", "only": ["linux"]}]}]}
          ready: false while the lesson is still to come; done: steps that have
          passed with the present files; before: steps that passed when they ran
          last, with these files or earlier ones, and in a step: whether it is one;
          only: the systems that have the test
run       {"lesson", "subject": "yours|solution", "outcome", "notes": [],
           "steps": [STEP]}                     also solution -run
STEP      {"step", "title", "outcome", "seconds", "output", "reports": [REPORT]}
REPORT    {"lesson", "step", "test", "outcome", "problem", "story": [{"did",
           "got"}], "evidence": [{"name", "text"}], "cause": {"id", "text", "read"}}
outcome   passed, failed, not-started, unavailable; "" if it did not run
watch     one RUN object a line for each run
hint      {"lesson", "step", "number", "of", "text"}
reset     {"lesson", "backup", "files": []}
solution  {"lesson", "shown", "diff"}
bench     {"kind", "time", "machine", "rounds", "window_seconds", "pinned",
           "rows": [{"subject", "runs", "scenario", "samples": [], "problem"}],
           "memory": [{"subject", "connections", "grown_bytes",
           "bytes_per_connection", "fixed_bytes", "problem"}],
           "table": [{"model", "platform", "runs", "climb", "paced", "full"}],
           "echo": {"connections", "rows"}, "climbs": [{"subject", "processes",
           "clients", "connections", "again", "limit", "seconds", "own_bytes",
           "kernel_bytes"}], "error", "exit"}   plots: {"result", "files"}
          times in microseconds; a processor time of one for a message is one second
          for a million; a sample of an open loop has "due", "sent" and "answered", of
          the messages that were due in the window, and "lost"; error and exit: a part
          was not measured, or not kept; -check-syscalls: {"checked": [{"subject",
          "call", "counted", "kernel", "ok"}], "error", "exit"}; compare: {"a", "b",
          "notes", "changes": [{"subject", "scenario", "what", "a", "b", "percent",
          "chance", "clear", "few"}]}
doctor    {"checks": [{"name", "state": "ok|warning|problem|info", "value",
           "means", "cure"}], "settings": [{"name", "now", "wanted", "does",
           "enough"}]}
inspect   {"pid", "name", "command", "looks", "seconds", "notes": [], "cpu",
           "demand", "threads", "busiest": [{"id", "name", "cpu", "demand",
           "system", "where"}], "doing": {"running": 1}, "memory", "descriptors": {"open", "soft", "hard",
           "nr_open", "kinds": {"tcp": 3}}, "listeners": [{"fd", "local",
           "waiting", "backlog", "drops", "dropped"}], "sockets": [{"fd",
           "state", "local", "remote", "unread", "end_unread", "unsent", "read",
           "acked", "watched": [{"epoll", "events", "data"}]}], "epoll": [{"fd",
           "entries": [{"fd", "events", "data", "what", "ghost", "unread",
           "unsent"}]}], "rings": [{"fd", "sq_head", "sq_tail", "sq_entries",
           "cq_head", "cq_tail", "cq_entries", "overflow", "waiting": {"recv":
           3}, "files", "buffers", "sq_thread"}], "listen_overflows",
           "listen_drops", "findings": [{"id", "state": "problem|note", "text",
           "figures": [{"name", "text"}], "do", "read", "fds": []}]}
          cpu and demand in processors, memory in bytes; backlog, drops and
          sq_thread -1: not known, or none; with -watch one object after another
arena     {"url", "addr"}                      the page's address, and the server's; again if that changes
verify    one object a line: {"lesson", "check", "ok", "seconds", "problem"}
`
