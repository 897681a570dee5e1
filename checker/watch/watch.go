// Package watch says when files have changed.
package watch

import (
	"context"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long a save may take: editors write, rename and touch.
	settle = 60 * time.Millisecond
	// pollEvery is the pace of looking where there are no notifications, and
	// backstop where there are: on network and shared folders they may not come.
	pollEvery = 250 * time.Millisecond
	backstop  = time.Second
)

// Changes sends a value after every change to a Go file in dirs or below, until
// ctx is done. Changes that come before the last one was received are one. With
// poll set it does without notifications.
func Changes(ctx context.Context, dirs []string, poll bool) <-chan struct{} {
	changes := make(chan struct{}, 1)
	var events <-chan fsnotify.Event
	var errors <-chan error
	pace := pollEvery
	w, err := notifier(dirs, poll)
	if err == nil {
		events, errors, pace = w.Events, w.Errors, backstop
	}
	go func() {
		if w != nil {
			defer w.Close()
		}
		tick := time.NewTicker(pace)
		defer tick.Stop()
		var settled <-chan time.Time
		last := snapshot(dirs)
		for {
			select {
			case <-ctx.Done():
				return
			case <-events:
				settled = time.After(settle)
				continue
			case <-errors: // an overflow, for one: the backstop looks
				continue
			case <-settled:
			case <-tick.C:
			}
			now := snapshot(dirs)
			if now == last {
				continue
			}
			last = now
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	}()
	return changes
}

// notifier watches the folders, not the files: editors replace files.
func notifier(dirs []string, poll bool) (*fsnotify.Watcher, error) {
	if poll {
		return nil, fmt.Errorf("not wanted")
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				err = w.Add(path)
			}
			return err
		})
		if err != nil {
			w.Close()
			return nil, err
		}
	}
	return w, nil
}

// snapshot is a hash of the names, sizes and times of the Go files in dirs.
func snapshot(dirs []string) uint64 {
	h := fnv.New64a()
	for _, dir := range dirs {
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
				return nil
			}
			if info, err := d.Info(); err == nil {
				fmt.Fprintln(h, path, info.Size(), info.ModTime().UnixNano())
			}
			return nil
		})
	}
	return h.Sum64()
}
