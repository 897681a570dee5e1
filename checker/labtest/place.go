package labtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// location is the lesson that a test runs in: where its causes send the reader.
type location struct {
	folder string // such as "01-select"
	readme string // its text
}

// here is the working folder's, which go test makes the package's.
var here = func() location {
	dir, err := os.Getwd()
	if err != nil {
		return location{}
	}
	text, _ := os.ReadFile("README.md")
	return location{filepath.Base(dir), string(text)}
}()

var (
	alternative = regexp.MustCompile(`^([\d,]+): (.*)$`)
	stepNamed   = regexp.MustCompile(`^Step "(.*)"$`)
)

// place is the first of read's alternatives, which are separated by " | ", that is to
// be found from this lesson: one may begin with the numbers of the lessons that it is
// for, and Step "…" is a step of the lesson's README that begins so.
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
		return inFile(part)
	}
	return ""
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
