// Package workspace is the reader's side of the clone: what was passed so far
// (under .iolab, which git ignores), which files that holds for, and the lesson's
// files as they were delivered.
package workspace

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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
	Files string                 `json:"files"`           // hash of the files that Steps is true of
	Steps map[int]report.Outcome `json:"steps,omitempty"` // how each step ended with them
	Best  int                    `json:"best,omitempty"`  // steps passed in a row, with these files or earlier ones
	Hints map[int]int            `json:"hints,omitempty"` // hints shown, by step
	Asked bool                   `json:"asked,omitempty"` // for the solution, once
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
	r.Best = max(r.Best, r.Done(l))
}

// Done is the number of steps passed in a row, from the first.
func (r *Record) Done(l catalogue.Lesson) int {
	n := 0
	for _, s := range l.Steps {
		if !passes(r.Steps[s.Number]) {
			break
		}
		n++
	}
	return n
}

// passes: a step that this machine cannot show does not hold the reader up.
func passes(o report.Outcome) bool { return o == runner.Passed || o == report.Unavailable }

// Next is the first step that has not passed, 0 if all have.
func (r *Record) Next(l catalogue.Lesson) int {
	if n := r.Done(l); n < len(l.Steps) {
		return l.Steps[n].Number
	}
	return 0
}

// Touch reads all that a lesson's results depend on, the solution too, so that the
// go command does not take an old result of a test for a new one: it knows only
// what the test's own process has read.
func Touch(root string, l catalogue.Lesson) { fingerprint(root, l, "solutions/"+l.Folder) }

// Fingerprint is the hash of everything that a lesson's results depend on.
func Fingerprint(root string, l catalogue.Lesson) string { return fingerprint(root, l) }

func fingerprint(root string, l catalogue.Lesson, more ...string) string {
	h := sha256.New()
	fmt.Fprintln(h, runtime.GOOS, runtime.GOARCH)
	tops := []string{"go.mod", "lessons/" + l.Folder, "lessons/engine", "checker/conformance", "checker/labtest", "checker/probe", "checker/report"}
	for _, top := range append(tops, more...) {
		filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "go.mod") {
				return nil
			}
			text, err := os.ReadFile(path)
			if err == nil {
				name, _ := filepath.Rel(root, path)
				fmt.Fprintln(h, filepath.ToSlash(name), len(text))
				h.Write(text)
			}
			return nil
		})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Current is the lesson to go on with: the first one that runs here and is not
// done. ok is false if there is none.
func (p *Progress) Current() (l catalogue.Lesson, ok bool) {
	all := catalogue.All()
	i := slices.IndexFunc(all, func(l catalogue.Lesson) bool {
		return l.Ready() && l.Runs(runtime.GOOS).OK() && p.Of(l).Next(l) != 0
	})
	if i < 0 {
		return l, false
	}
	return all[i], true
}
