package verify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"iolab/checker/catalogue"
)

var (
	goCommand = regexp.MustCompile(`\bgo (run|test|build|vet|generate) [^\n` + "`" + `]*`)
	stepID    = regexp.MustCompile(`\b0[1-7]\.\d\b`)
	flagName  = regexp.MustCompile(`flags\.\w+(?:Var)?\((?:&[\w.]+, )?"([a-z-]+)"`)
	endOf     = regexp.MustCompile(`\s(#|\||&&|&|;|>|2>|·).*`)
	// placeholder is what the reader is to replace: LESSON, NN-name, [FLAGS], …
	placeholder = regexp.MustCompile(`[A-Z]{2}|…|\[|\.\.\.$|<`)
)

// Commands wants every go command that the READMEs quote to name packages, verbs,
// flags, lessons and steps that exist. verbs are the checker's, each with its
// flags; nil flags are another program's.
func Commands(root string, verbs map[string][]string) error {
	readmes, err := filepath.Glob(filepath.Join(root, "lessons/*/README.md"))
	if err != nil {
		return err
	}
	server, err := serverFlags(root)
	if err != nil {
		return err
	}
	var problems []error
	for _, file := range append(readmes, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, file)
		q := quoted{root: root, verbs: verbs, server: server}
		for i, line := range strings.Split(string(text), "\n") {
			for _, c := range goCommand.FindAllString(line, -1) {
				words := strings.Fields(endOf.ReplaceAllString(c, ""))
				for i, w := range words { // in a sentence
					words[i] = strings.TrimRight(w, `"',:;)`)
				}
				if err := q.check(words); err != nil {
					problems = append(problems, fmt.Errorf("%s:%d: %q: %w", filepath.ToSlash(name), i+1, c, err))
				}
			}
			for _, id := range stepID.FindAllString(line, -1) {
				if l, _, err := catalogue.Find(id); err != nil && (l.Folder == "" || l.Ready()) {
					problems = append(problems, fmt.Errorf("%s:%d: %w", filepath.ToSlash(name), i+1, err))
				}
			}
		}
	}
	return errors.Join(problems...)
}

// serverFlags are the flags of the lab's one server, and those that a lesson's adds,
// from their source.
func serverFlags(root string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "solutions/*/server/main.go"))
	if err != nil {
		return nil, err
	}
	names := []string{"h", "help"}
	for _, file := range append(files, filepath.Join(root, "lessons/engine/serve/serve.go")) {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range flagName.FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names, nil
}

type quoted struct {
	root   string
	verbs  map[string][]string
	server []string
}

// check checks one command, in words.
func (q quoted) check(words []string) error {
	kind, args := words[1], words[2:]
	for i, arg := range args {
		switch {
		case !strings.HasPrefix(arg, "./") && !strings.HasPrefix(arg, "iolab/"):
			continue // a flag of the go command, or its value
		case placeholder.MatchString(strings.TrimSuffix(arg, "/...")):
			return nil
		}
		arg = strings.TrimSuffix(strings.TrimPrefix(arg, "iolab/"), "/...")
		if info, err := os.Stat(filepath.Join(q.root, arg)); err != nil || !info.IsDir() && !strings.HasSuffix(arg, ".go") {
			return fmt.Errorf("there is no package folder %s", arg)
		}
		if kind != "run" {
			continue
		}
		switch rest := args[i+1:]; {
		case arg == "./checker":
			return q.verb(rest)
		case strings.HasSuffix(arg, "/server"):
			return flags(rest, q.server)
		}
		return nil
	}
	return nil
}

func (q quoted) verb(words []string) error {
	if len(words) == 0 || placeholder.MatchString(words[0]) {
		return nil
	}
	name := "map"
	if !strings.HasPrefix(words[0], "-") {
		name, words = words[0], words[1:]
	}
	known, ok := q.verbs[name]
	if !ok {
		return fmt.Errorf("the checker has no command %q", name)
	}
	for _, w := range words {
		if strings.HasPrefix(w, "-") || placeholder.MatchString(w) || name == "help" || name == "bench" || name == "inspect" {
			continue
		}
		if l, _, err := catalogue.Find(w); err != nil && (l.Folder == "" || l.Ready()) {
			return err
		}
		break
	}
	if known == nil { // serve
		return flags(words, append(q.server, "solution"))
	}
	return flags(words, known)
}

func flags(words, known []string) error {
	for _, w := range words {
		name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
		if strings.HasPrefix(w, "-") && name != "" && !slices.Contains(known, name) {
			return fmt.Errorf("there is no flag %s", w)
		}
	}
	return nil
}
