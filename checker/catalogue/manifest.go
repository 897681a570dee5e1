package catalogue

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

//go:generate go run iolab/checker/catalogue/generate

//go:embed manifest.json
var manifestJSON []byte

// delivered is the manifest this checker was built with; for a lab that
// IOLAB_ROOT names it is that lab's own.
var delivered = func() (m Manifest) {
	data, where := manifestJSON, "checker/catalogue/manifest.json"
	if root := os.Getenv("IOLAB_ROOT"); root != "" {
		where = filepath.Join(root, where)
		if text, err := os.ReadFile(where); err == nil {
			data = text
		}
	}
	if err := json.Unmarshal(data, &m); err != nil {
		panic(where + ": " + err.Error())
	}
	return m
}()

// Manifest is what the lessons' folders contain, as delivered: the checker
// expects this, whatever has become of the folders since.
type Manifest struct {
	Lessons []Entry `json:"lessons"`
}

// Entry is the manifest's part on one lesson.
type Entry struct {
	Folder   string            `json:"folder"`
	Steps    []Step            `json:"steps"`
	Tests    map[string]string `json:"tests"`
	Skeleton map[string]string `json:"skeleton"`
}

// Hash is the hash of a text file, the same for either kind of line end. It tells a file
// that was edited from one that was not, and keeps nobody out: a cryptographic one would
// cost a second of compilation before the first map.
func Hash(text []byte) string {
	h := fnv.New128a()
	h.Write(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))
	return hex.EncodeToString(h.Sum(nil))
}

// Section is one step's part of a lesson's README.
type Section struct {
	Step  int
	Title string
	Asks  string
	Hints []string
}

var (
	stepHeading = regexp.MustCompile(`^### Step (\d+): (.+)$`)
	hintStart   = regexp.MustCompile(`^<details><summary>Hint[^<]*</summary>\s*(.*)$`)
	fence       = regexp.MustCompile("^\\s*(```|~~~)")
)

const testsMark = "**The tests:**"

// Sections reads the steps of a lesson's README.
func Sections(readme string) ([]Section, error) {
	var sections []Section
	var hint, asks *strings.Builder
	fenced := false
	for line := range strings.Lines(strings.ReplaceAll(readme, "\r\n", "\n")) {
		line = strings.TrimRight(line, "\n")
		if fence.MatchString(line) {
			fenced = !fenced
		}
		if m := stepHeading.FindStringSubmatch(line); m != nil && !fenced {
			n, _ := strconv.Atoi(m[1])
			if n != len(sections)+1 {
				return nil, fmt.Errorf("heading %q: step %d should come next", line, len(sections)+1)
			}
			sections = append(sections, Section{Step: n, Title: strings.TrimSpace(m[2])})
			hint, asks = nil, nil
			continue
		}
		if len(sections) == 0 {
			continue
		}
		s := &sections[len(sections)-1]
		if !fenced && hint == nil && strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "####") {
			break // the lesson goes on after its steps
		}
		if m := hintStart.FindStringSubmatch(line); m != nil && !fenced {
			hint, line = &strings.Builder{}, m[1]
		}
		switch {
		case hint != nil && !fenced && strings.HasSuffix(strings.TrimSpace(line), "</details>"):
			hint.WriteString("\n" + strings.TrimSuffix(strings.TrimSpace(line), "</details>"))
			s.Hints = append(s.Hints, strings.Trim(hint.String(), "\n"))
			hint = nil
		case hint != nil:
			hint.WriteString("\n" + line)
		case strings.HasPrefix(line, testsMark):
			asks = &strings.Builder{}
			asks.WriteString(strings.TrimPrefix(line, testsMark))
		case asks != nil && strings.TrimSpace(line) != "":
			asks.WriteString(" " + line)
		default:
			asks = nil
		}
		if asks != nil {
			s.Asks = strings.Join(strings.Fields(asks.String()), " ")
		}
	}
	return sections, nil
}

// Hints returns the hints of one step, from the lesson's README.
func (l Lesson) Hints(root string, step int) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(l.Dir(root), "README.md"))
	if err != nil {
		return nil, err
	}
	sections, err := Sections(string(text))
	if err != nil {
		return nil, err
	}
	for _, s := range sections {
		if s.Step == step {
			return s.Hints, nil
		}
	}
	return nil, nil
}
