//go:build linux

// Command oneflag runs your server of lesson 02 twice: as it is, and with EPOLLET
// added in every epoll_ctl. The files themselves are not touched: go build -overlay
// puts changed copies in their place.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"iolab/checker/catalogue"
	"iolab/checker/runner"
	"iolab/checker/workspace"
)

// oneFlag takes the place of unix.EpollCtl. An entry without interest stays as it is.
const oneFlag = `
package %s

import "golang.org/x/sys/unix"

func oneFlag(epfd, op, fd int, event *unix.EpollEvent) error {
	if event != nil && event.Events != 0 {
		changed := *event
		changed.Events |= unix.EPOLLET
		event = &changed
	}
	return unix.EpollCtl(epfd, op, fd, event)
}
`

// notWritten is the exit status of a play in which a step of the server was not
// written yet.
const notWritten = 3

var errNotWritten = errors.New("a step of the server is not written yet")

func main() {
	solution := flag.Bool("solution", false, "take the solution of lesson 02 instead of your own server")
	title := flag.String("play", "", "for this command's own use: play the scenes under this `title`")
	flag.Parse()
	if *title != "" {
		play(*title)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *solution); err != nil {
		fmt.Fprintln(os.Stderr, "oneflag:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, solution bool) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	root, err := catalogue.Root(dir)
	if err != nil {
		return err
	}
	lesson, _, err := catalogue.Find("02")
	if err != nil {
		return err
	}
	source, who := lesson.Dir(root), "your server of lesson 02"
	if solution {
		source, who = lesson.Solution(root), "the solution of lesson 02"
	}
	for _, edge := range []bool{false, true} {
		title := who + ", level-triggered"
		if edge {
			title = "the same, with EPOLLET in every epoll_ctl"
		}
		err := show(ctx, root, lesson, source, title, edge)
		if errors.Is(err, errNotWritten) && !solution {
			fmt.Println("your server of lesson 02 is not written so far; the solution's takes its place")
			return run(ctx, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// show builds this command around the server in folder source, and has it play.
func show(ctx context.Context, root string, lesson catalogue.Lesson, source, title string, edge bool) error {
	dir, err := os.MkdirTemp("", "iolab-oneflag-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files, err := copies(source, lesson.Package, edge)
	if err != nil {
		return err
	}
	s := runner.Subject{Lesson: lesson}
	if err := workspace.Overlay(&s, root, files, dir); err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": s.Overlay})
	if err != nil {
		return err
	}
	overlayFile, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "oneflag")
	if err := os.WriteFile(overlayFile, overlay, 0o644); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlayFile, "-o", program, "./lessons/03-epoll-et/oneflag")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w:\n%s", err, out)
	}
	cmd := exec.CommandContext(ctx, program, "-play", title)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == notWritten {
		return errNotWritten
	}
	os.Stdout.Write(out)
	return err
}

// copies are the files of folder source; with edge set, oneFlag is called wherever they
// call unix.EpollCtl.
func copies(source, pkg string, edge bool) (map[string][]byte, error) {
	names, err := runner.SourceFiles(source)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return nil, err
		}
		if edge {
			text = []byte(strings.ReplaceAll(string(text), "unix.EpollCtl(", "oneFlag("))
		}
		files[name] = text
	}
	if edge {
		files["oneflag.go"] = fmt.Appendf(nil, oneFlag, pkg)
	}
	return files, nil
}
