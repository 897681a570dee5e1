package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"

	"iolab/checker/catalogue"
	"iolab/checker/runner"
	"iolab/checker/workspace"
)

// changed is a lesson's solution with other text in it, or other files altogether.
type changed struct {
	lesson catalogue.Lesson
	edits  []edit
	files  map[string][]byte // nil: the solution's
}

type edit struct{ file, find, replace string }

// each calls f with every file of kind that the lesson has.
func each(root, kind string, l catalogue.Lesson, f func(name string, text []byte) error) error {
	files, err := filepath.Glob(filepath.Join(root, "checker/testdata", kind, l.Folder, "*.txtar"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := f(strings.TrimSuffix(filepath.Base(file), ".txtar"), text); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// parseChanged reads a header (lines "key: word", and a sentence), and pairs of files,
// NAME find and NAME replace, or whole files.
func parseChanged(l catalogue.Lesson, text []byte) (header map[string]string, sentence string, c changed, err error) {
	header, c = map[string]string{}, changed{lesson: l}
	a := txtar.Parse([]byte(strings.ReplaceAll(string(text), "\r\n", "\n")))
	for line := range strings.Lines(string(a.Comment)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ":"); key {
		case "step", "cause", "only":
			header[key] = strings.TrimSpace(value)
		default:
			sentence = strings.TrimSpace(sentence + " " + strings.TrimSpace(line))
		}
	}
	if len(a.Files) == 0 {
		return header, sentence, c, errors.New("it should have pairs of files, NAME find and NAME replace, or whole ones")
	}
	if !strings.Contains(a.Files[0].Name, " ") {
		c.files = map[string][]byte{}
		for _, f := range a.Files {
			c.files[f.Name] = f.Data
		}
		return header, sentence, c, nil
	}
	for i := 0; i < len(a.Files); i += 2 {
		find, ok := strings.CutSuffix(a.Files[i].Name, " find")
		if !ok || i+1 == len(a.Files) || a.Files[i+1].Name != find+" replace" {
			return header, sentence, c, fmt.Errorf("%q is no pair, NAME find and NAME replace", a.Files[i].Name)
		}
		c.edits = append(c.edits, edit{find, string(a.Files[i].Data), string(a.Files[i+1].Data)})
	}
	return header, sentence, c, nil
}

// Applies says whether it still fits the solution: each text to find is there once.
func (c changed) Applies(root string) error {
	_, err := c.source(root)
	return err
}

// source is its files.
func (c changed) source(root string) (map[string][]byte, error) {
	if c.files != nil {
		return c.files, nil
	}
	files, err := sources(c.lesson.Solution(root))
	if err != nil {
		return nil, err
	}
	for _, e := range c.edits {
		text := string(files[e.file])
		if n := strings.Count(text, e.find); n != 1 {
			return nil, fmt.Errorf("the text to find should be in solutions/%s/%s once, and is there %d times:\n%s", c.lesson.Folder, e.file, n, e.find)
		}
		files[e.file] = []byte(strings.Replace(text, e.find, e.replace, 1))
	}
	return files, nil
}

// build builds the lesson's tests on it; remove removes them.
func (c changed) build(ctx context.Context, root, name string) (_ *runner.Binary, remove func(), err error) {
	files, err := c.source(root)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "iolab-changed-")
	if err != nil {
		return nil, nil, err
	}
	s := runner.Subject{Lesson: c.lesson, Name: name, Once: true}
	if err = workspace.Overlay(&s, root, files, dir); err == nil {
		var b *runner.Binary
		if b, err = runner.Build(ctx, root, s); err == nil {
			return b, func() { b.Remove(); os.RemoveAll(dir) }, nil
		}
	}
	os.RemoveAll(dir)
	return nil, nil, err
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
