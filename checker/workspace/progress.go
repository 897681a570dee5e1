// Package workspace is the reader's side of the clone: what was passed so far
// (under .iolab, which git ignores), which files that holds for, and the lesson's
// files as they were delivered.
package workspace

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/runner"
)

// Progress is what is remembered between two runs. Deleting its file loses the
// memory and nothing else.
type Progress struct {
	Lessons map[string]*Record `json:"lessons"` // by folder

	root string
}

// Record is what is remembered of one lesson.
type Record struct {
	Files  string                 `json:"files"`            // hash of the files that Steps is true of
	Steps  map[int]report.Outcome `json:"steps,omitempty"`  // how each step ended with them
	Before map[int]bool           `json:"before,omitempty"` // steps that passed when they ran last, with these files or earlier ones
	Hints  map[int]int            `json:"hints,omitempty"`  // hints shown, by step
	Asked  bool                   `json:"asked,omitempty"`  // for the solution, once
}

func file(root string) string { return filepath.Join(root, ".iolab", "progress.json") }

// Load reads the progress. What cannot be read counts as forgotten.
func Load(root string) *Progress {
	p := &Progress{}
	if text, err := os.ReadFile(file(root)); err == nil && json.Unmarshal(text, p) != nil {
		p = &Progress{}
	}
	p.root = root
	if p.Lessons == nil {
		p.Lessons = map[string]*Record{}
	}
	return p
}

// Save writes the progress, whole or not at all.
func (p *Progress) Save() error {
	err := p.save()
	if err != nil {
		return fmt.Errorf("progress is not remembered: %w", err)
	}
	return nil
}

func (p *Progress) save() error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(file(p.root))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "progress-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), file(p.root))
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// Of returns the record of l. If the files have changed since, its steps are
// forgotten: they were true of other files.
func (p *Progress) Of(l catalogue.Lesson) *Record {
	r := p.Lessons[l.Folder]
	if r == nil {
		r = &Record{}
		p.Lessons[l.Folder] = r
	}
	if hash := Fingerprint(p.root, l); r.Files != hash {
		r.Files, r.Steps = hash, nil
	}
	if r.Steps == nil {
		r.Steps = map[int]report.Outcome{}
	}
	if r.Before == nil {
		r.Before = map[int]bool{}
	}
	if r.Hints == nil {
		r.Hints = map[int]int{}
	}
	return r
}

// Set notes how a step ended with the files whose fingerprint is files. If they
// have changed meanwhile, the result is of no use and is dropped.
func (p *Progress) Set(l catalogue.Lesson, files string, step int, o report.Outcome) {
	r := p.Of(l)
	if r.Files != files {
		return
	}
	r.Steps[step] = o
	if passes(o) {
		r.Before[step] = true
	} else {
		delete(r.Before, step)
	}
}

// Done is the number of steps that have passed with the present files.
func (r *Record) Done(l catalogue.Lesson) int {
	return count(l, func(step int) bool { return passes(r.Steps[step]) })
}

// Ever is the number of steps that passed when they ran last, with the present files or
// earlier ones.
func (r *Record) Ever(l catalogue.Lesson) int {
	return count(l, func(step int) bool { return r.Before[step] })
}

func count(l catalogue.Lesson, holds func(step int) bool) (n int) {
	for _, s := range l.Steps {
		if holds(s.Number) {
			n++
		}
	}
	return n
}

// passes: a step that this machine cannot show does not hold the reader up.
func passes(o report.Outcome) bool { return o == runner.Passed || o == report.Unavailable }

// At is the step that the reader is at: the first that did not pass when it ran last,
// or never ran. If there is none, but the files have changed since some of them passed,
// it is the first of those, and again is true. It is 0 if all pass with the present
// files.
func (r *Record) At(l catalogue.Lesson) (step int, again bool) {
	for _, s := range l.Steps {
		if !r.Before[s.Number] {
			return s.Number, false
		}
		if step == 0 && !passes(r.Steps[s.Number]) {
			step = s.Number
		}
	}
	return step, step != 0
}

// Touch reads all that a lesson's results depend on, the solution too, so that the
// go command does not take an old result of a test for a new one: it knows only
// what the test's own process has read.
func Touch(root string, l catalogue.Lesson) { fingerprint(root, l, "solutions/"+l.Folder) }

// Fingerprint is the hash of everything that a lesson's results depend on: of Go files
// without their comments and the way they are laid out.
func Fingerprint(root string, l catalogue.Lesson) string { return fingerprint(root, l) }

func fingerprint(root string, l catalogue.Lesson, more ...string) string {
	h := fnv.New128a()
	fmt.Fprintln(h, runtime.GOOS, runtime.GOARCH)
	tops := []string{"go.mod", "lessons/" + l.Folder, "lessons/engine", "checker/conformance", "checker/labtest", "checker/probe", "checker/report"}
	for _, top := range append(tops, more...) {
		filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "go.mod") {
				return nil
			}
			text, err := os.ReadFile(path)
			if err == nil {
				text = plain(text)
				name, _ := filepath.Rel(root, path)
				fmt.Fprintln(h, filepath.ToSlash(name), len(text))
				h.Write(text)
			}
			return nil
		})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Current is the lesson to go on with: the first one that runs here and has a step that
// is not done; if there is none, the first whose files have changed since it passed. ok
// is false if there is none either.
func (p *Progress) Current() (l catalogue.Lesson, ok bool) {
	for _, next := range catalogue.All() {
		if !next.Ready() || !next.Runs(runtime.GOOS).OK() {
			continue
		}
		step, again := p.Of(next).At(next)
		if step != 0 && !again {
			return next, true
		}
		if step != 0 && !ok {
			l, ok = next, true
		}
	}
	return l, ok
}
