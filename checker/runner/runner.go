// Package runner builds a lesson's tests around one subject (the reader's files,
// the solution, a mutant of it) and runs its steps, each in a process of its own
// with limits on time, memory and descriptors.
//
// It trusts nothing that the subject's process says of itself except a PASS event
// for every test that the catalogue expects: a step that crashed, left early or
// never ran is not passed.
package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"iolab/checker/catalogue"
	"iolab/checker/probe/slowness"
	"iolab/checker/report"
	"iolab/checker/wine"
)

// Passed is the outcome of a step whose tests all passed; the other outcomes are
// package report's.
const Passed report.Outcome = "passed"

// Subject is what the lesson's tests are run against.
type Subject struct {
	Lesson  catalogue.Lesson
	Name    string            // names the test binary: "yours", "solution", …
	Overlay map[string]string // absolute path to the file that stands in its place, "" for none
	Race    bool
	Once    bool // will not be built again: keep nothing
	// Wine builds the subject for Windows and runs it under Wine, on Linux.
	Wine bool
}

// Limits bound each process of a step.
type Limits struct {
	Time   time.Duration
	Memory int64 // bytes resident, of the process and its children
	Files  uint64
	// Processes is how many processes a step's tests are shared among; 0 is 1. Tests
	// mostly wait, so that a step takes a part of the time on few processors too.
	Processes int
}

// DefaultLimits are far from what any step needs. Under -race take Time twice.
var DefaultLimits = Limits{Time: 60 * time.Second, Memory: 2 << 30, Files: 1 << 16, Processes: 4}

// Patient is l with as much more time as this machine is slow now: see [slowness.Now].
func (l Limits) Patient() Limits {
	l.Time *= time.Duration(slowness.Now())
	return l
}

// Result is how one step ended.
type Result struct {
	Step    int             `json:"step"`
	Title   string          `json:"title"`
	Outcome report.Outcome  `json:"outcome"`
	Seconds float64         `json:"seconds"`
	Reports []report.Report `json:"reports,omitempty"`
	Output  string          `json:"output,omitempty"` // what the subject printed, its last part
}

// Binary is a lesson's test built around a subject.
type Binary struct {
	Subject
	root, path string
	remove     func()
	wine       *wine.Session
}

// ErrNoGo is returned by Build if there is no go command.
var ErrNoGo = errors.New("there is no go command on PATH: install Go from https://go.dev/dl/, or add its bin folder to PATH")

// CompileError is the compiler's complaint about the subject.
type CompileError struct {
	Lesson string
	Lines  []string // the compiler's, with paths from the root of the clone
	Why    string   // what they mean, if that is known
}

func (e *CompileError) Error() string {
	return "lesson " + e.Lesson + " does not compile:\n" + strings.Join(e.Lines, "\n")
}

// Report is the error as a report on step.
func (e *CompileError) Report(step int) report.Report {
	why := e.Why
	if why == "" {
		why = "The first line names the file, the line and what the compiler expected; the lines after it may be the same mistake again."
	}
	return report.Report{Lesson: e.Lesson, Step: step, Outcome: report.Failed,
		Problem:  "the lesson's files should compile, but do not",
		Evidence: []report.Evidence{{Name: "the compiler says", Text: strings.Join(e.Lines, "\n")}},
		Cause:    &report.Cause{ID: report.DoesNotCompile, Text: why}}
}

var twoPackages = regexp.MustCompile(`found packages (\w+) \((\S+)\) and (\w+) \((\S+)\)`)

// setupError is the go command's complaint about the folder as a whole, if that is what
// out is.
func (s Subject) setupError(out string) *CompileError {
	dir := "lessons/" + s.Lesson.Folder + "/"
	if m := twoPackages.FindStringSubmatch(out); m != nil {
		e := &CompileError{Lesson: s.Lesson.Folder, Why: "All files of the folder have to begin with the same line, package " + s.Lesson.Package + "."}
		for _, i := range []int{1, 3} {
			if m[i] != s.Lesson.Package && m[i] != s.Lesson.Package+"_test" {
				e.Lines = append(e.Lines, fmt.Sprintf("%s%s: its package is %s, and should be %s", dir, m[i+1], m[i], s.Lesson.Package))
			}
		}
		return e
	}
	if strings.Contains(out, "no non-test Go files") || strings.Contains(out, "no Go files") {
		return &CompileError{Lesson: s.Lesson.Folder, Lines: []string{dir + s.Lesson.MainFile() + " is missing"},
			Why: "The file that you write in is not there. The command in the note brings back what you committed last, go run ./checker reset " + s.Lesson.ID(0) + " the skeleton."}
	}
	return nil
}

// Build builds s. The binary is kept under .iolab/cache if that can be written,
// so that a second build of the same files costs nothing.
func Build(ctx context.Context, root string, s Subject) (*Binary, error) {
	b := &Binary{Subject: s, root: root, remove: func() {}}
	if s.Wine && wine.Find() == "" {
		return nil, wine.ErrMissing
	}
	dir := filepath.Join(root, ".iolab", "cache")
	if err := os.MkdirAll(dir, 0o755); s.Once || err != nil || !writable(dir) {
		if dir, err = os.MkdirTemp("", "iolab-"); err != nil {
			return nil, err
		}
		b.remove = func() { os.RemoveAll(dir) }
	}
	name := s.Lesson.Folder + "-" + s.Name
	var env []string
	if s.Wine {
		name, env = name+"-wine", []string{"GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0"}
	}
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w"}
	if s.Race {
		args, name = append(args, "-race"), name+"-race"
	}
	if len(s.Overlay) > 0 {
		file := filepath.Join(dir, name+".overlay.json")
		text, err := json.Marshal(map[string]any{"Replace": s.Overlay})
		if err == nil {
			err = os.WriteFile(file, text, 0o644)
		}
		if err != nil {
			return nil, err
		}
		args = append(args, "-overlay", file)
	}
	b.path = filepath.Join(dir, name+".test")
	args = append(args, "-o", b.path, "./lessons/"+s.Lesson.Folder)
	out, err := goCommand(ctx, root, env, args...)
	if err == nil {
		if _, err := os.Stat(b.path); err != nil {
			return nil, fmt.Errorf("lesson %s has no tests here: %s", s.Lesson.Folder, strings.TrimSpace(out))
		}
		if s.Wine {
			b.wine, err = wine.Start()
		}
		return b, err
	}
	b.Remove()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if lines := compilerLines(s.lessonPaths(root, out)); len(lines) > 0 {
		return nil, &CompileError{Lesson: s.Lesson.Folder, Lines: lines}
	}
	if errors.Is(err, ErrNoGo) {
		return nil, err
	}
	if e := s.setupError(out); e != nil {
		return nil, e
	}
	return nil, fmt.Errorf("go test -c of lesson %s failed (%v):\n%s", s.Lesson.Folder, err, strings.TrimSpace(out))
}

// Remove deletes the binary if it is not in the cache, and ends its Wine.
func (b *Binary) Remove() {
	if b.wine != nil {
		_ = b.wine.Close()
		b.wine = nil
	}
	b.remove()
}

func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".try-")
	if err != nil {
		return false
	}
	f.Close()
	os.Remove(f.Name())
	return true
}

// goCommand runs the go command in root, with env beside the environment, and returns its
// output.
func goCommand(ctx context.Context, root string, env []string, args ...string) (string, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return "", ErrNoGo
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err = RunGroup(cmd)
	return out.String(), err
}

// BuildMain builds the program in the package folder pkg of the clone as path.
func BuildMain(ctx context.Context, root, pkg, path string) error {
	out, err := goCommand(ctx, root, nil, "build", "-o", path, pkg)
	if err != nil && !errors.Is(err, ErrNoGo) && ctx.Err() == nil {
		return fmt.Errorf("%s does not build:\n%s", pkg, strings.TrimSpace(out))
	}
	return err
}

// lessonPaths names the lesson's files where the compiler names those that stand
// in for them.
func (s Subject) lessonPaths(root, out string) string {
	for lesson, file := range s.Overlay {
		if file == "" {
			continue
		}
		name, _ := filepath.Rel(root, lesson)
		if rel, err := filepath.Rel(root, file); err == nil {
			out = strings.ReplaceAll(out, rel+":", name+":")
		}
		out = strings.ReplaceAll(out, file+":", name+":")
	}
	return out
}

var compilerLine = regexp.MustCompile(`^\S+\.go:\d+`)

// compilerLines are the lines of the go command's output that point into a file,
// each with those that continue it.
func compilerLines(out string) []string {
	var lines []string
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case compilerLine.MatchString(line):
			lines = append(lines, filepath.ToSlash(line))
		case strings.HasPrefix(line, "\t") && len(lines) > 0:
			lines = append(lines, line)
		}
	}
	return lines
}

// Step runs one step. The error is not nil only if the step could not be run at
// all; whatever the subject does is in the result.
func (b *Binary) Step(ctx context.Context, n int, limits Limits) (Result, error) {
	step, ok := b.Lesson.Step(n)
	if !ok {
		return Result{}, fmt.Errorf("lesson %s has no step %d", b.Lesson.Folder, n)
	}
	if b.wine != nil {
		limits.Processes = 1 // starting one there takes longer than most tests
	}
	parts := split(step, limits.Processes)
	results, errs := make([]Result, len(parts)), make([]error, len(parts))
	start := time.Now()
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() { results[i], errs[i] = b.run(ctx, p, limits) })
	}
	wg.Wait()
	r := merge(step, results)
	r.Seconds = time.Since(start).Seconds()
	return r, errors.Join(errs...)
}

// part is what one process runs of a step.
type part struct {
	catalogue.Step        // with those of its tests that are this part's
	run, skip      string // the testing package's flags
}

// split deals a step's tests out in turn, so that neighbours, which often wait for the
// same thing, wait side by side. The first part takes those too that the catalogue does
// not know.
func split(step catalogue.Step, n int) []part {
	n = max(1, min(n, len(step.Tests)))
	parts := make([]part, n)
	names := make([][]string, n)
	for i := range parts {
		parts[i].Step = step
		parts[i].Tests = nil
	}
	for i, t := range step.Tests {
		p := &parts[i%n]
		p.Tests = append(p.Tests, t)
		names[i%n] = append(names[i%n], t.Name)
	}
	only := func(names []string) string { return "^(" + strings.Join(names, "|") + ")$" }
	for i := range parts {
		parts[i].run = only(names[i])
	}
	parts[0].run = fmt.Sprintf("^TestStep%02d_", step.Number)
	if n > 1 {
		parts[0].skip = only(slices.Concat(names[1:]...))
	}
	return parts
}

// merge makes of the results of a step's parts what one process would have said,
// which ends at the first test that fails.
func merge(step catalogue.Step, results []Result) Result {
	r := Result{Step: step.Number, Title: step.Title}
	place := func(rep report.Report) int {
		return slices.IndexFunc(step.Tests, func(t catalogue.Test) bool { return t.Name == rep.Test })
	}
	for _, p := range results {
		r.Reports = append(r.Reports, p.Reports...)
	}
	slices.SortStableFunc(r.Reports, func(a, b report.Report) int { return place(a) - place(b) })
	first := slices.IndexFunc(r.Reports, ends)
	if first >= 0 {
		r.Reports = r.Reports[:first+1]
	}
	for _, p := range results {
		if first < 0 || slices.ContainsFunc(p.Reports, func(rep report.Report) bool { return rep.Test == r.Reports[first].Test }) {
			r.Output += p.Output
		}
	}
	r.Outcome = outcome(r.Reports)
	return r
}

// ends says whether the testing package stops at what rep tells.
func ends(rep report.Report) bool { return rep.Outcome != report.Unavailable }

// outcome is the one that counts most among those of reports.
func outcome(reports []report.Report) report.Outcome {
	for _, o := range []report.Outcome{report.Failed, report.NotStarted, report.Unavailable} {
		if slices.ContainsFunc(reports, func(rep report.Report) bool { return rep.Outcome == o }) {
			return o
		}
	}
	return Passed
}

// run runs one part of a step in a process of its own.
func (b *Binary) run(ctx context.Context, p part, limits Limits) (Result, error) {
	step := p.Step
	dir, err := os.MkdirTemp("", "iolab-step-")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir)
	reportFile := filepath.Join(dir, "reports")

	args := []string{"-test.run=" + p.run, "-test.skip=" + p.skip, "-test.v=test2json",
		"-test.failfast", "-test.paniconexit0", "-test.timeout=" + testTimeout(limits.Time).String()}
	cmd := exec.Command(b.path, args...)
	cmd.Env = append(os.Environ(), "IOLAB_REPORT="+reportFile)
	var file *os.File
	if b.wine != nil {
		args[len(args)-1] = "-test.timeout=" + limits.Time.String() // the testing package's own alarm: SIGQUIT shows nothing here
		limits.Time += lastWords
		cmd = b.wine.Command(b.path, args...)
		cmd.Env = append(cmd.Env, "IOLAB_REPORT="+wine.Path(reportFile))
		if file, err = os.Create(filepath.Join(dir, "output")); err != nil {
			return Result{}, err
		}
		defer file.Close()
		cmd.Stdout, cmd.Stderr = file, file
	}
	cmd.Dir = b.Lesson.Dir(b.root)
	// GOTRACEBACK=crash asks the runtime for the stacks of goroutines that are
	// running, too: of a busy loop nothing else would be seen.
	cmd.Env = append(cmd.Env, "GOTRACEBACK=crash")
	out := &output{}
	end, err := runLimited(ctx, cmd, out, limits)
	if err == nil && file != nil {
		_, err = io.Copy(out, io.NewSectionReader(file, 0, 1<<40))
	}
	if err != nil {
		return Result{}, err
	}
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	out.flush()
	r := Result{Step: step.Number, Title: step.Title, Output: out.text()}
	r.Reports = readReports(reportFile)
	for i := range r.Reports {
		if rep := &r.Reports[i]; rep.Outcome == report.Failed && rep.Test == out.last {
			if text := out.lastPrinted(10); text != "" {
				rep.Evidence = append(rep.Evidence, report.Evidence{Name: "printed during this test", Text: text})
			}
		}
	}
	b.judge(&r, step, end, out, limits)
	return r, nil
}

func readReports(file string) []report.Report {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	var reports []report.Report
	for d := json.NewDecoder(f); ; {
		var r report.Report
		if d.Decode(&r) != nil {
			return reports
		}
		reports = append(reports, r)
	}
}

// judge sets the outcome, and adds a report if an expected test has neither passed
// nor said why. The step ends with its first failure, so tests that did not begin are
// only suspicious when there is none.
func (b *Binary) judge(r *Result, step catalogue.Step, end ending, out *output, limits Limits) {
	told := map[string]bool{}
	for i := range r.Reports {
		r.Reports[i].Step = step.Number
		told[r.Reports[i].Test] = true
	}
	silent, missing := "", ""
	for _, t := range step.Tests {
		if !t.On(b.goos()) || told[t.Name] || out.verdict[t.Name] == "PASS" {
			continue
		}
		if b.gone(t.Name) {
			r.Reports = append(r.Reports, b.goneReport(t.Name, step.Number))
			continue
		}
		if missing == "" {
			missing = t.Name
		}
		if out.started[t.Name] && silent == "" {
			silent = t.Name
		}
	}
	failed := slices.ContainsFunc(r.Reports, ends)
	if silent == "" && !failed {
		silent = missing
	}
	if silent != "" || end.how != exited {
		r.Reports = append(r.Reports, b.synthesize(silent, step.Number, end, out, limits))
	}
	r.Outcome = outcome(r.Reports)
}

// goos is the system that the subject is built for.
func (b *Binary) goos() string {
	if b.Wine {
		return "windows"
	}
	return runtime.GOOS
}

// gone says whether the lesson's test files no longer have the test.
func (b *Binary) gone(test string) bool {
	files, _ := filepath.Glob(filepath.Join(b.Lesson.Dir(b.root), "*_test.go"))
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.Contains(string(text), "func "+test+"(") {
			return false
		}
	}
	return true
}

func (b *Binary) goneReport(test string, step int) report.Report {
	return report.Report{Lesson: b.Lesson.Folder, Step: step, Test: test, Outcome: report.Failed,
		Problem: "the step's test should have run, but is no longer in the lesson's test file",
		Cause: &report.Cause{ID: "test-deleted",
			Text: "a step counts as passed only when its tests have run; put the file back with: " + Cure(b.Lesson, "")}}
}

// Cure is the command that brings back a file of the lesson, or all its tests.
func Cure(l catalogue.Lesson, file string) string {
	if file == "" {
		file = "*_test.go"
	}
	return "git checkout -- lessons/" + l.Folder + "/" + file
}

// Notes are what the reader should know of the lesson's files: which are missing,
// which tests are not as delivered, and how to get them back.
func Notes(root string, l catalogue.Lesson) []string {
	notes := []string{}
	for _, name := range slices.Sorted(maps.Keys(l.Tests)) {
		text, err := os.ReadFile(filepath.Join(l.Dir(root), name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			notes = append(notes, fmt.Sprintf("lessons/%s/%s is missing; bring it back with: %s", l.Folder, name, Cure(l, name)))
		case err != nil:
			notes = append(notes, err.Error())
		case catalogue.Hash(text) != l.Tests[name]:
			notes = append(notes, fmt.Sprintf("lessons/%s/%s was edited, so its results are not the lab's; undo it with: %s", l.Folder, name, Cure(l, name)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Skeleton)) {
		if _, err := os.Stat(filepath.Join(l.Dir(root), name)); errors.Is(err, os.ErrNotExist) {
			notes = append(notes, fmt.Sprintf("lessons/%s/%s is missing; bring it back with: %s", l.Folder, name, Cure(l, name)))
		}
	}
	return notes
}

// Yours is the reader's own version of the lesson.
func Yours(l catalogue.Lesson) Subject { return Subject{Lesson: l, Name: "yours"} }

// Solution is the lesson with the files of its solution.
func Solution(root string, l catalogue.Lesson) (Subject, error) {
	s := Subject{Lesson: l, Name: "solution", Overlay: map[string]string{}}
	files, err := SourceFiles(l.Solution(root))
	if err != nil {
		return s, err
	}
	if len(files) == 0 {
		return s, fmt.Errorf("solutions/%s has no Go files", l.Folder)
	}
	mine, err := SourceFiles(l.Dir(root))
	if err != nil {
		return s, err
	}
	for _, name := range mine {
		s.Overlay[filepath.Join(l.Dir(root), name)] = "" // away with what the solution does not have
	}
	for _, name := range files {
		s.Overlay[filepath.Join(l.Dir(root), name)] = filepath.Join(l.Solution(root), name)
	}
	return s, nil
}

// SourceFiles are the names of the Go files in dir that are not tests.
func SourceFiles(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	var names []string
	for _, p := range paths {
		if !strings.HasSuffix(p, "_test.go") {
			names = append(names, filepath.Base(p))
		}
	}
	return names, err
}
