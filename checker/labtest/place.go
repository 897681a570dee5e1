package labtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// location is the lesson that a test runs in: where its causes send the reader.
type location struct {
	folder string            // such as "01-select"
	readme string            // its text
	source map[string]string // and that of its Go files
}

// here is the working folder's, which go test makes the package's.
var here = func() location {
	dir, err := os.Getwd()
	if err != nil {
		return location{}
	}
	return locate(dir)
}()

// locate reads the lesson in the folder dir.
func locate(dir string) location {
	l := location{folder: filepath.Base(dir), source: map[string]string{}}
	text, _ := os.ReadFile(filepath.Join(dir, "README.md"))
	l.readme = string(text)
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && !strings.HasSuffix(file, "_test.go") {
			l.source[filepath.Base(file)] = string(text)
		}
	}
	return l
}

// declaring is the file of the lesson that declares name, which may be TYPE.MEMBER; ""
// if none does.
func (l location) declaring(name string) string {
	name = name[strings.LastIndexByte(name, '.')+1:]
	declaration := regexp.MustCompile(`(?m)^(type |func (\(.*\) )?)` + regexp.QuoteMeta(name) + `\b`)
	for _, file := range slices.Sorted(maps.Keys(l.source)) {
		if declaration.MatchString(l.source[file]) {
			return file
		}
	}
	return ""
}

var (
	alternative = regexp.MustCompile(`^([\d,]+): (.*)$`)
	stepNamed   = regexp.MustCompile(`^Step "(.*)"$`)
)

// place is the first of read's alternatives, which are separated by " | ", that is to
// be found from this lesson: one may begin with the numbers of the lessons that it is
// for, Step "…" is a step of the lesson's README that begins so, and "… in the lesson" is
// something that one of its files declares. Where none fits it is the README itself.
func (l location) place(read string) string {
	for part := range strings.SplitSeq(read, " | ") {
		if m := alternative.FindStringSubmatch(part); m != nil {
			if number, _, _ := strings.Cut(l.folder, "-"); !slices.Contains(strings.Split(m[1], ","), number) {
				continue
			}
			part = m[2]
		}
		if m := stepNamed.FindStringSubmatch(part); m != nil {
			heading := regexp.MustCompile(`(?m)^### Step (\d+): (` + regexp.QuoteMeta(m[1]) + `.*)$`).FindStringSubmatch(l.readme)
			if heading == nil {
				continue
			}
			return fmt.Sprintf("lessons/%s/README.md, step %s, %s", l.folder, heading[1], heading[2])
		}
		if name, ok := strings.CutSuffix(part, " in the lesson"); ok {
			file := l.declaring(name)
			if file == "" {
				continue
			}
			return fmt.Sprintf("%s in lessons/%s/%s", name, l.folder, file)
		}
		return inFile(part)
	}
	return "lessons/" + l.folder + "/README.md"
}

// inFile names the file of the contract that has what is to be read.
func inFile(part string) string {
	pieces := strings.Split(part, "; ")
	for i, p := range pieces {
		if name, ok := strings.CutSuffix(p, " in lessons/engine"); ok {
			file := "engine.go"
			if strings.HasPrefix(name, "Stats") {
				file = "stats.go"
			}
			pieces[i] = name + " in lessons/engine/" + file
		}
	}
	return strings.Join(pieces, "; ")
}
