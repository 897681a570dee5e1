// Package proof is the tests of package verify on the lessons of this clone. Each lesson
// has two folders here, one for its mutants, and so two packages and two test binaries: go
// test gives each its ten minutes, and runs them side by side.
package proof

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/checker/catalogue"
	"iolab/checker/verify"
	"iolab/checker/workspace"
)

// Main runs a lesson's tests, as many at once as there are CPUs: go test runs other
// packages beside it.
func Main(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		flag.Set("test.parallel", strconv.Itoa(max(2, runtime.GOMAXPROCS(0))))
	}
	os.Exit(m.Run())
}

// find returns the clone and the lesson with that number, and skips where it does not run.
func find(t *testing.T, number int) (string, catalogue.Lesson) {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	root, err := catalogue.Root(dir)
	require.NoError(t, err)
	for _, l := range catalogue.All() {
		if l.Number == number {
			if !l.Ready() || !l.Runs(runtime.GOOS).OK() {
				t.Skip("lesson " + l.Folder + " does not run here")
			}
			workspace.Touch(root, l)
			return root, l
		}
	}
	t.Fatalf("there is no lesson %d", number)
	return "", catalogue.Lesson{}
}

// Lesson proves the skeleton, and the path of a reader who writes one step after the
// other. The solutions themselves are proved by go test ./solutions/...
func Lesson(t *testing.T, number int) {
	root, l := find(t, number)
	t.Run("skeleton and solution export the same", func(t *testing.T) {
		require.NoError(t, verify.SameAPI(root, l))
	})
	t.Run("the untouched skeleton is not started", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, verify.SkeletonNotStarted(context.Background(), root, l))
	})
	if testing.Short() {
		return
	}
	for k := range l.Steps {
		t.Run(fmt.Sprintf("written up to step %d", k), func(t *testing.T) {
			t.Parallel()
			require.NoError(t, verify.Path(context.Background(), root, l, k))
		})
	}
}

// Variants proves that each variant passes every step.
func Variants(t *testing.T, number int) {
	root, l := find(t, number)
	variants, err := verify.Variants(root, l)
	require.NoError(t, err)
	for _, v := range variants {
		t.Run(v.Name, func(t *testing.T) {
			require.NoError(t, v.Applies(root))
			if testing.Short() {
				t.Skip("takes long")
			}
			if !v.Here() {
				t.Skip("is built on " + v.Only + " only")
			}
			t.Parallel()
			require.NoError(t, v.Check(context.Background(), root), v.Way)
		})
	}
}

// SecondTry is what is logged of a mutant that was not caught, or taken for another, at
// the first.
const SecondTry = "a second try was needed: "

// Mutants proves that each mutant fails its step with its cause. Where IOLAB_PROOF is
// "before", as in .ci/run, it proves too that it passes the step before, but for a mistake
// that an earlier lesson has as well. (All the steps before are tried by `checker verify`,
// which takes its time.)
//
// Some mistakes are races, and beside a hundred other tests two symptoms of one mistake may
// change places. So a mutant has a second try, which is not kept quiet: .ci/ran prints it.
// Solutions and variants have none.
func Mutants(t *testing.T, number int) {
	root, l := find(t, number)
	known := map[string]bool{}
	for _, earlier := range catalogue.All() {
		if earlier.Number < number && earlier.Ready() {
			mutants, err := verify.Mutants(root, earlier)
			require.NoError(t, err)
			for _, m := range mutants {
				known[m.Name] = true
			}
		}
	}
	mutants, err := verify.Mutants(root, l)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(mutants), 8, "a lesson should have at least 8 mutants")
	for _, m := range mutants {
		t.Run(m.Name, func(t *testing.T) {
			require.NoError(t, m.Applies(root))
			if testing.Short() {
				t.Skip("takes long")
			}
			if !m.Here() {
				t.Skip("can be told on " + m.Only + " only")
			}
			t.Parallel()
			before := 0
			if os.Getenv("IOLAB_PROOF") == "before" && !known[m.Name] {
				before = 1
			}
			if err := m.Check(context.Background(), root, before); err != nil {
				t.Log(SecondTry, err)
				require.NoError(t, m.Check(context.Background(), root, before), m.Mistake)
			}
		})
	}
}
