// Package scan makes the manifest from the lessons' folders. It is apart from
// package catalogue because it needs a Go parser and the checker does not.
package scan

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"iolab/checker/catalogue"
)

var testName = regexp.MustCompile(`^TestStep(\d\d)_`)

// systems are those for which the manifest says whether they have a test.
var systems = []string{"linux", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly", "windows"}

// JSON is the manifest of the lessons under root, as it is stored.
func JSON(root string) ([]byte, error) {
	m, err := Manifest(root)
	if err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

// Manifest reads the lessons under root. A lesson without tests is still to come.
func Manifest(root string) (catalogue.Manifest, error) {
	m := catalogue.Manifest{Lessons: []catalogue.Entry{}}
	for _, l := range catalogue.All() {
		tests, err := filepath.Glob(filepath.Join(l.Dir(root), "*_test.go"))
		if err != nil || len(tests) == 0 {
			continue
		}
		e, err := entry(l, l.Dir(root))
		if err != nil {
			return m, fmt.Errorf("lessons/%s: %w", l.Folder, err)
		}
		m.Lessons = append(m.Lessons, e)
	}
	return m, nil
}

func entry(l catalogue.Lesson, dir string) (catalogue.Entry, error) {
	e := catalogue.Entry{Folder: l.Folder, Tests: map[string]string{}, Skeleton: map[string]string{}}
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		return e, err
	}
	sections, err := catalogue.Sections(string(readme))
	if err != nil {
		return e, fmt.Errorf("README.md: %w", err)
	}
	for _, s := range sections {
		if s.Asks == "" {
			return e, fmt.Errorf("README.md: step %d has no paragraph that begins **The tests:**", s.Step)
		}
		e.Steps = append(e.Steps, catalogue.Step{Number: s.Step, Title: s.Title, Asks: s.Asks})
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return e, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return e, err
		}
		name := filepath.Base(file)
		if !strings.HasSuffix(name, "_test.go") {
			e.Skeleton[name] = catalogue.Hash(text)
			continue
		}
		e.Tests[name] = catalogue.Hash(text)
		if err := addTests(&e, dir, name, text); err != nil {
			return e, err
		}
	}
	for _, s := range e.Steps {
		if len(s.Tests) == 0 {
			return e, fmt.Errorf("README.md has a step %d, but there is no test named TestStep%02d_", s.Number, s.Number)
		}
	}
	return e, nil
}

func addTests(e *catalogue.Entry, dir, name string, text []byte) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	var only []string
	for _, goos := range systems {
		ctx := build.Default
		ctx.GOOS, ctx.CgoEnabled = goos, false
		if ok, err := ctx.MatchFile(dir, name); err != nil {
			return err
		} else if ok {
			only = append(only, goos)
		}
	}
	if len(only) == len(systems) {
		only = nil
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestMain" {
			continue
		}
		m := testName.FindStringSubmatch(f.Name.Name)
		if m == nil {
			return fmt.Errorf("%s: %s is no step's test: it should be named TestStepNN_…", name, f.Name.Name)
		}
		n, _ := strconv.Atoi(m[1])
		i := slices.IndexFunc(e.Steps, func(s catalogue.Step) bool { return s.Number == n })
		if i < 0 {
			return fmt.Errorf("%s: %s belongs to no step: README.md has no heading \"### Step %d: …\"", name, f.Name.Name, n)
		}
		e.Steps[i].Tests = append(e.Steps[i].Tests, catalogue.Test{Name: f.Name.Name, Only: only})
	}
	return nil
}
