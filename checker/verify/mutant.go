package verify

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/tools/txtar"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/runner"
	"iolab/checker/workspace"
)

// Mutant is a solution with one mistake in it.
type Mutant struct {
	Name    string
	Mistake string // in a sentence
	Step    int    // that must fail
	Cause   string // ID that a report of that step must have
	Only    string // the GOOS on which it can be told; empty: wherever the lesson runs
	lesson  catalogue.Lesson
	edits   []edit
}

type edit struct{ file, find, replace string }

// Mutants reads the mutants of a lesson.
func Mutants(root string, l catalogue.Lesson) ([]Mutant, error) {
	files, err := filepath.Glob(filepath.Join(root, "checker/testdata/mutants", l.Folder, "*.txtar"))
	if err != nil {
		return nil, err
	}
	var all []Mutant
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		m, err := parseMutant(l, strings.TrimSuffix(filepath.Base(file), ".txtar"), text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func parseMutant(l catalogue.Lesson, name string, text []byte) (Mutant, error) {
	m := Mutant{Name: name, lesson: l}
	a := txtar.Parse([]byte(strings.ReplaceAll(string(text), "\r\n", "\n")))
	for line := range strings.Lines(string(a.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "step":
			m.Step, _ = strconv.Atoi(value)
		case "cause":
			m.Cause = value
		case "only":
			m.Only = value
		default:
			m.Mistake = strings.TrimSpace(m.Mistake + " " + strings.TrimSpace(line))
		}
	}
	if _, ok := l.Step(m.Step); !ok {
		return m, fmt.Errorf("its header should have a line \"step: N\" with a step of lesson %s", l.Folder)
	}
	if m.Mistake == "" || m.Cause == "" {
		return m, fmt.Errorf("its header should have a sentence and a line \"cause: id\"")
	}
	if len(a.Files) == 0 || len(a.Files)%2 != 0 {
		return m, fmt.Errorf("it should have pairs of files, NAME find and NAME replace")
	}
	for i := 0; i < len(a.Files); i += 2 {
		find, ok1 := strings.CutSuffix(a.Files[i].Name, " find")
		replace, ok2 := strings.CutSuffix(a.Files[i+1].Name, " replace")
		if !ok1 || !ok2 || find != replace {
			return m, fmt.Errorf("%q and %q are no pair NAME find, NAME replace", a.Files[i].Name, a.Files[i+1].Name)
		}
		m.edits = append(m.edits, edit{find, string(a.Files[i].Data), string(a.Files[i+1].Data)})
	}
	return m, nil
}

// Here says whether the mistake can be told on this system.
func (m Mutant) Here() bool { return m.Only == "" || m.Only == runtime.GOOS }

// Applies says whether the mutant still fits the solution: each text to find is there once.
func (m Mutant) Applies(root string) error {
	_, err := m.source(root)
	return err
}

// source is the solution with the mistake.
func (m Mutant) source(root string) (map[string][]byte, error) {
	files, err := sources(m.lesson.Solution(root))
	if err != nil {
		return nil, err
	}
	for _, e := range m.edits {
		text := string(files[e.file])
		if n := strings.Count(text, e.find); n != 1 {
			return nil, fmt.Errorf("the text to find should be in solutions/%s/%s once, and is there %d times:\n%s", m.lesson.Folder, e.file, n, e.find)
		}
		files[e.file] = []byte(strings.Replace(text, e.find, e.replace, 1))
	}
	return files, nil
}

func sources(dir string) (map[string][]byte, error) {
	names, err := runner.SourceFiles(dir)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files[name] = []byte(strings.ReplaceAll(string(text), "\r\n", "\n"))
	}
	return files, nil
}

// AllBefore is for [Mutant.Check]: every step before the mutant's own.
const AllBefore = math.MaxInt

// Check wants the mutant to pass the steps before its own, the last so many of them, and
// to fail its own with its cause.
func (m Mutant) Check(ctx context.Context, root string, before int) error {
	files, err := m.source(root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "iolab-mutant-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := runner.Subject{Lesson: m.lesson, Name: "mutant-" + m.Name, Once: true}
	if err := workspace.Overlay(&s, root, files, dir); err != nil {
		return err
	}
	b, err := runner.Build(ctx, root, s)
	if err != nil {
		return err
	}
	defer b.Remove()
	for _, step := range m.lesson.Steps {
		if step.Number > m.Step || m.Step-step.Number > before {
			continue
		}
		r, err := b.Step(ctx, step.Number, limits(false))
		switch {
		case err != nil:
			return err
		case r.Outcome == report.Unavailable:
			continue
		case step.Number < m.Step && r.Outcome != runner.Passed:
			return unexpected(r, fmt.Sprintf("pass: the mistake (%s) is step %d's", m.Mistake, m.Step))
		case step.Number < m.Step:
			continue
		case r.Outcome != report.Failed:
			return unexpected(r, "fail: "+m.Mistake)
		}
		// The first report is the one that the reader sees.
		if cause := r.Reports[0].Cause; cause != nil && cause.ID == m.Cause {
			return nil
		}
		return unexpected(r, fmt.Sprintf("name the cause %q", m.Cause))
	}
	return nil
}
