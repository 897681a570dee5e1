package workspace

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"iolab/checker/catalogue"
	"iolab/checker/runner"
)

// Skeleton returns the lesson's files as delivered, by name. A file the reader
// has changed comes from the clone's history, in which the version is looked for
// that has the hash the catalogue knows: the reader may have committed work.
func Skeleton(root string, l catalogue.Lesson) (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, hash := range l.Skeleton {
		text, err := os.ReadFile(filepath.Join(l.Dir(root), name))
		if err != nil || catalogue.Hash(text) != hash {
			if text, err = fromHistory(root, "lessons/"+l.Folder+"/"+name, hash); err != nil {
				return nil, err
			}
		}
		files[name] = text
	}
	return files, nil
}

func fromHistory(root, path, hash string) ([]byte, error) {
	fail := func(why string) ([]byte, error) {
		return nil, fmt.Errorf("%s has been edited and its first version cannot be found: %s", path, why)
	}
	if _, err := exec.LookPath("git"); err != nil {
		return fail("there is no git command on PATH")
	}
	git := func(args ...string) ([]byte, error) {
		return exec.Command("git", append([]string{"-C", root}, args...)...).Output()
	}
	if _, err := git("rev-parse", "--git-dir"); err != nil {
		return fail("the lab's folder is not a git clone; download the file again")
	}
	commits, _ := git("log", "--format=%H", "--", path)
	for commit := range strings.FieldsSeq("HEAD " + string(commits)) {
		text, err := git("show", commit+":./"+path)
		if err == nil && catalogue.Hash(text) == hash {
			return text, nil
		}
	}
	return fail("the clone's history does not have it; fetch the whole history with: git fetch --unshallow")
}

// Untouched is the lesson as delivered, whatever the reader has done to it. dir
// is where files for it may be put.
func Untouched(root string, l catalogue.Lesson, dir string) (runner.Subject, error) {
	s := runner.Subject{Lesson: l, Name: "skeleton", Once: true, Overlay: map[string]string{}}
	files, err := Skeleton(root, l)
	if err != nil {
		return s, err
	}
	return s, Overlay(&s, root, files, dir)
}

// Overlay makes files, written to dir, the lesson's only ones in s.
func Overlay(s *runner.Subject, root string, files map[string][]byte, dir string) error {
	s.Overlay = map[string]string{}
	present, err := runner.SourceFiles(s.Lesson.Dir(root))
	if err != nil {
		return err
	}
	for _, name := range present {
		s.Overlay[filepath.Join(s.Lesson.Dir(root), name)] = ""
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
		s.Overlay[filepath.Join(s.Lesson.Dir(root), name)] = path
	}
	return nil
}

// Reset puts the lesson's files back as delivered, after it has copied those of
// the reader that would be lost to a folder of its own under .iolab/backup. It
// returns that folder, and the names of the files it changed; "" and none if all
// are as delivered.
func Reset(root string, l catalogue.Lesson, now time.Time) (backup string, changed []string, err error) {
	files, err := Skeleton(root, l)
	if err != nil {
		return "", nil, err
	}
	present, err := runner.SourceFiles(l.Dir(root))
	if err != nil {
		return "", nil, err
	}
	for name := range files {
		text, err := os.ReadFile(filepath.Join(l.Dir(root), name))
		if errors.Is(err, os.ErrNotExist) || err == nil && !bytes.Equal(text, files[name]) {
			changed = append(changed, name)
		} else if err != nil {
			return "", nil, err
		}
	}
	for _, name := range present { // files of the reader's own
		if _, ok := files[name]; !ok {
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		return "", nil, nil
	}
	slices.Sort(changed)
	backup = filepath.Join(root, ".iolab", "backup", now.Format("2006-01-02T15-04-05"), l.Folder)
	if err := os.MkdirAll(backup, 0o755); err != nil {
		return "", nil, fmt.Errorf("nothing was reset, because no backup can be made: %w", err)
	}
	for _, name := range changed {
		text, err := os.ReadFile(filepath.Join(l.Dir(root), name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(backup, name), text, 0o644)
		}
		if err != nil {
			return "", nil, fmt.Errorf("nothing was reset, because the backup failed: %w", err)
		}
	}
	for _, name := range changed {
		path := filepath.Join(l.Dir(root), name)
		if text, ok := files[name]; ok {
			err = os.WriteFile(path, text, 0o644)
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return backup, changed, err
		}
	}
	return backup, changed, nil
}
