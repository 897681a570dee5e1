package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/runner"
	"iolab/checker/workspace"
)

// Hint, reset and solution: help for the reader.

func hintFlags(f *flag.FlagSet) { f.Bool("again", false, "begin again with the step's first hint") }

func runHint(a *app, f *flag.FlagSet, args []string) error {
	l, step, err := a.lesson(args)
	if err != nil {
		return err
	}
	p := workspace.Load(a.root)
	record := p.Of(l)
	if step == 0 {
		var again bool
		if step, again = record.At(l); step == 0 || again {
			return usage("every step of lesson %s has passed; name the one you want a hint for, as in: go run ./checker hint %s", l.Folder, l.ID(1))
		}
	}
	hints, err := l.Hints(a.root, step)
	if err != nil {
		return err
	}
	if len(hints) == 0 {
		return fmt.Errorf("step %s has no hints; its text is in lessons/%s/README.md", l.ID(step), l.Folder)
	}
	shown := record.Hints[step]
	if shown >= len(hints) || value[bool](f, "again") {
		shown = 0
	}
	record.Hints[step] = shown + 1
	if err := p.Save(); err != nil {
		a.note("%v", err)
	}
	if a.json {
		a.printJSON(map[string]any{"lesson": l.Folder, "step": step, "number": shown + 1, "of": len(hints), "text": hints[shown]})
		return nil
	}
	a.showHint(l, step, shown+1, hints)
	return nil
}

func (a *app) showHint(l catalogue.Lesson, step, number int, hints []string) {
	s, _ := l.Step(step)
	a.printf("\n  %s\n\n", a.paint(report.Bold, fmt.Sprintf("%s, %s: hint %d of %d", l.ID(step), s.Title, number, len(hints))))
	for _, line := range reflow(hints[number-1], 76) {
		a.printf("%s\n", strings.TrimRight("    "+line, " "))
	}
	if number < len(hints) {
		a.printf("\n  More: go run ./checker hint %s\n", l.ID(step))
	} else if number > 1 {
		a.printf("\n  That was the last one; the next call begins with the first.\n")
	}
	a.printf("\n")
}

// reflow breaks the paragraphs of a Markdown text at width, and leaves the rest
// (code, lists, tables) as it is.
func reflow(text string, width int) (lines []string) {
	var paragraph string
	end := func() {
		if paragraph != "" {
			lines, paragraph = append(lines, report.Wrap(paragraph, width)...), ""
		}
	}
	fenced := false
	for line := range strings.SplitSeq(text, "\n") {
		fence := strings.HasPrefix(line, "```")
		if fenced || fence || line == "" || strings.ContainsAny(line[:1], " \t|>") || strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "* ") {
			end()
			lines = append(lines, line)
		} else {
			paragraph += line + " "
		}
		fenced = fenced != fence
	}
	end()
	return lines
}

func runReset(a *app, _ *flag.FlagSet, args []string) error {
	if len(args) == 0 {
		return usage("reset needs a lesson, as in: go run ./checker reset 02")
	}
	l, step, err := find(args[0])
	if err != nil {
		return err
	}
	if step != 0 {
		return usage("reset works on whole lessons: go run ./checker reset %s", l.ID(0))
	}
	backup, files, err := workspace.Reset(a.root, l, time.Now())
	if err != nil {
		return err
	}
	p := workspace.Load(a.root)
	if record := p.Of(l); len(files) > 0 {
		record.Before, record.Hints, record.Asked = nil, nil, false
		if err := p.Save(); err != nil {
			a.note("%v", err)
		}
	}
	rel, err := filepath.Rel(a.root, backup)
	if err != nil {
		rel = backup
	}
	switch {
	case a.json:
		a.printJSON(map[string]any{"lesson": l.Folder, "backup": filepath.ToSlash(rel), "files": append([]string{}, files...)})
	case len(files) == 0:
		a.printf("lesson %s is as it was delivered; nothing to reset\n", l.Folder)
	default:
		a.printf("lesson %s is as it was delivered: %s\n", l.Folder, strings.Join(files, ", "))
		a.printf("your files are kept in %s\n", filepath.ToSlash(rel))
		a.printf("to have them back: cp %s/*.go lessons/%s/\n", filepath.ToSlash(rel), l.Folder)
	}
	return nil
}

func solutionFlags(f *flag.FlagSet) {
	f.Bool("diff", true, "show the difference")
	f.Bool("run", false, "run the lesson's tests against the solution instead")
	wineFlag(f)
	limitFlags(f)
}

func runSolution(a *app, f *flag.FlagSet, args []string) error {
	if len(args) == 0 {
		return usage("solution needs a lesson, as in: go run ./checker solution 02")
	}
	l, step, err := find(args[0])
	if err != nil {
		return err
	}
	if value[bool](f, "run") {
		if err := runnable(l); err != nil {
			return err
		}
		lim, err := limits(f)
		if err != nil {
			return err
		}
		s, err := runner.Solution(a.root, l)
		if err != nil {
			return err
		}
		if s.Wine = value[bool](f, "wine"); s.Wine {
			if err := winable(l, false); err != nil {
				return err
			}
		}
		return a.runSteps(s, step, lim)
	}

	p := workspace.Load(a.root)
	record := p.Of(l)
	if record.Ever(l) < len(l.Steps) && !record.Asked {
		record.Asked = true
		if err := p.Save(); err != nil {
			a.note("%v", err)
		}
		if a.json {
			a.printJSON(map[string]any{"lesson": l.Folder, "shown": false, "diff": ""})
			return nil
		}
		a.printf("You have passed %d of %d steps of lesson %s. The solution is worth more afterwards;\n", record.Ever(l), len(l.Steps), l.Folder)
		a.printf("there may be a hint left (go run ./checker hint). To see it all the same, ask again:\n\n")
		a.printf("    go run ./checker solution %s\n\n", l.ID(0))
		return nil
	}
	text, err := a.difference(l)
	if err != nil {
		return err
	}
	if a.json {
		a.printJSON(map[string]any{"lesson": l.Folder, "shown": true, "diff": text})
		return nil
	}
	for line := range strings.Lines(text) {
		a.printf("%s\n", a.paint(diffColor(line), strings.TrimRight(line, "\n")))
	}
	return nil
}

// difference is what turns the reader's files into the solution.
func (a *app) difference(l catalogue.Lesson) (string, error) {
	names := map[string]bool{}
	for _, dir := range []string{l.Dir(a.root), l.Solution(a.root)} {
		files, err := runner.SourceFiles(dir)
		if err != nil {
			return "", err
		}
		for _, f := range files {
			names[f] = true
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(names)) {
		mine, err := readIfThere(filepath.Join(l.Dir(a.root), name))
		if err != nil {
			return "", err
		}
		theirs, err := readIfThere(filepath.Join(l.Solution(a.root), name))
		if err != nil {
			return "", err
		}
		b.Write(diff.Diff("lessons/"+l.Folder+"/"+name, mine, "solutions/"+l.Folder+"/"+name, theirs))
	}
	return b.String(), nil
}

func readIfThere(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

func diffColor(line string) string {
	switch {
	case strings.HasPrefix(line, "diff "), strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
		return report.Bold
	case strings.HasPrefix(line, "+"):
		return report.Green
	case strings.HasPrefix(line, "-"):
		return report.Red
	}
	return ""
}
