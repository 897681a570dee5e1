// Command ran reads the output of `go test -json` and fails if a test that the lab
// counts on did not run and pass: every step of every solution, every mutant, every
// script. A test that is skipped, renamed or lost would otherwise go unnoticed.
//
// On the machines where .ci/run gates a landing nothing may be unavailable.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"iolab/checker/catalogue"
	"iolab/checker/verify/proof"
)

func main() {
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "ran:", err)
		os.Exit(1)
	}
}

func check(file string) error {
	passed, failed, skipped, err := read(file)
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range expected() {
		if !passed[name] {
			missing = append(missing, name)
		}
	}
	for _, name := range failed {
		fmt.Println("failed:", name)
	}
	for _, name := range missing {
		fmt.Println("did not pass:", name)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", len(passed), len(failed), skipped)
	if len(failed)+len(missing) > 0 {
		return fmt.Errorf("%d tests failed, %d that are expected did not pass", len(failed), len(missing))
	}
	return nil
}

// read returns the tests that passed, those that failed, whose output it prints (as that of
// mutants that needed a second try), and how many were skipped.
func read(file string) (passed map[string]bool, failed []string, skipped int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, 0, err
	}
	defer f.Close()
	passed = map[string]bool{}
	output := map[string]*strings.Builder{}
	for d := json.NewDecoder(f); ; {
		var e struct{ Action, Package, Test, Output string }
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return passed, failed, skipped, nil
		case err != nil:
			return nil, nil, 0, fmt.Errorf("%s: %w", file, err)
		}
		name := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			if output[name] == nil {
				output[name] = new(strings.Builder)
			}
			output[name].WriteString(e.Output)
		case "pass":
			if e.Test != "" {
				passed[name] = true
			}
			if b := output[name]; b != nil && strings.Contains(b.String(), proof.SecondTry) {
				fmt.Print(b.String())
			}
		case "skip":
			if e.Test != "" {
				skipped++
			}
		case "fail":
			failed = append(failed, name)
			if b := output[name]; b != nil {
				fmt.Print(b.String())
			}
		}
	}
}

// expected are the tests that must pass, from the catalogue and from the files that
// they are made of.
func expected() []string {
	var names []string
	for _, l := range catalogue.All() {
		if !l.Ready() || !l.Runs(runtime.GOOS).OK() {
			continue
		}
		lesson := fmt.Sprintf("iolab/checker/verify/proof/lesson%02d ", l.Number)
		mutants := fmt.Sprintf("iolab/checker/verify/proof/mutants%02d ", l.Number)
		names = append(names, lesson+"TestLesson")
		for _, step := range l.Steps {
			names = append(names, "iolab/solutions TestSolutions/"+l.Folder+"/"+l.ID(step.Number))
		}
		for kind, test := range map[string]string{"mutants": mutants + "TestMutants/", "variants": lesson + "TestVariants/"} {
			files, _ := filepath.Glob("checker/testdata/" + kind + "/" + l.Folder + "/*.txtar")
			for _, file := range files {
				names = append(names, test+base(file))
			}
		}
	}
	if runtime.GOOS == "linux" {
		names = append(names, "iolab/solutions TestUnderWine/iocp", "iolab/solutions TestUnderWine/05-iocp")
	}
	if runtime.GOOS == "linux" { // these skip themselves where there is no Chromium
		for _, test := range []string{"TestThePageShowsTheWorldMove", "TestEveryControlByKeyboardAlone", "TestEverythingHasAName", "TestTheArenaAtWork"} {
			names = append(names, "iolab/checker/arena "+test)
		}
		names = append(names, "iolab/checker/play TestTwoPeopleOnOneMachine", "iolab/checker/play TestEveryWayOutPutsTheTerminalRight")
	}
	scripts, _ := filepath.Glob("checker/testdata/script/*.txtar")
	for _, s := range scripts {
		names = append(names, "iolab/checker TestScripts/"+base(s))
	}
	return names
}

func base(file string) string { return strings.TrimSuffix(filepath.Base(file), ".txtar") }
