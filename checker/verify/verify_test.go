package verify

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
	"iolab/checker/workspace"
)

// TestMain lets twice as many steps run at once as there are CPUs: most of their
// time is spent waiting.
func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
	os.Exit(m.Run())
}

func root(t *testing.T) string {
	dir, err := os.Getwd()
	require.NoError(t, err)
	dir, err = catalogue.Root(dir)
	require.NoError(t, err)
	return dir
}

// here are the lessons of this clone that run on this system.
func here() (lessons []catalogue.Lesson) {
	for _, l := range catalogue.All() {
		if l.Ready() && l.Runs(runtime.GOOS).OK() {
			lessons = append(lessons, l)
		}
	}
	return lessons
}

// The solutions themselves are proved by go test ./solutions/...
func TestLessons(t *testing.T) {
	root := root(t)
	for _, l := range here() {
		workspace.Touch(root, l)
		t.Run(l.Folder, func(t *testing.T) {
			t.Parallel()
			t.Run("skeleton and solution export the same", func(t *testing.T) {
				require.NoError(t, SameAPI(root, l))
			})
			t.Run("the untouched skeleton is not started", func(t *testing.T) {
				t.Parallel()
				require.NoError(t, SkeletonNotStarted(context.Background(), root, l))
			})
			if testing.Short() {
				return
			}
			for k := range l.Steps {
				t.Run(fmt.Sprintf("written up to step %d", k), func(t *testing.T) {
					t.Parallel()
					require.NoError(t, Path(context.Background(), root, l, k))
				})
			}
		})
	}
}

// A mistake that an earlier lesson has too is tried at its own step only; that the
// steps before it pass is left to `checker verify`, which takes its time.
func TestMutants(t *testing.T) {
	root := root(t)
	known := map[string]bool{}
	for _, l := range here() {
		workspace.Touch(root, l)
		mutants, err := Mutants(root, l)
		require.NoError(t, err)
		quick := map[string]bool{}
		for _, m := range mutants {
			quick[m.Name], known[m.Name] = known[m.Name], true
		}
		t.Run(l.Folder, func(t *testing.T) {
			t.Parallel()
			assert.GreaterOrEqual(t, len(mutants), 8, "a lesson should have at least 8 mutants")
			for _, m := range mutants {
				t.Run(m.Name, func(t *testing.T) {
					_, err := m.source(root)
					require.NoError(t, err)
					if testing.Short() {
						t.Skip("takes long")
					}
					if !m.Here() {
						t.Skip("can be told on " + m.Only + " only")
					}
					t.Parallel()
					require.NoError(t, m.Check(context.Background(), root, quick[m.Name]), m.Mistake)
				})
			}
		})
	}
}

const solution = `package p

import (
	"fmt"
	"os"

	"iolab/lessons/engine"
)

type E struct{ n int }

func (e *E) A(count int) error { fmt.Println(count); return nil }

func (e *E) B() { os.Exit(1) }

var _ engine.ErrNotImplemented
`

const skeleton = `package p

import "iolab/lessons/engine"

type E struct{}

func (e *E) A(n int) error { panic(engine.NotImplemented("01.1", "A")) }

func (e *E) B() { panic(engine.NotImplemented("01.2", "B")) }
`

func TestStubsReplaceBodiesAndImportsFollow(t *testing.T) {
	l := catalogue.Lesson{Number: 1, Steps: []catalogue.Step{{Number: 1}, {Number: 2}}}
	s, err := parse("skeleton.go", []byte(skeleton))
	require.NoError(t, err)
	funcs := s.funcs()
	require.Equal(t, 1, unwritten(funcs["E.A"], l))
	require.Equal(t, 2, unwritten(funcs["E.B"], l))

	stubs := map[string][]byte{"E.B": s.slice(bodyOf(funcs["E.B"]))}
	s, err = parse("solution.go", []byte(solution))
	require.NoError(t, err)
	text, err := s.withBodies(stubs)
	require.NoError(t, err)
	assert.Contains(t, string(text), `func (e *E) A(count int) error { fmt.Println(count); return nil }`)
	assert.Contains(t, string(text), `func (e *E) B() { panic(engine.NotImplemented("01.2", "B")) }`)
	assert.Contains(t, string(text), `"fmt"`)
	assert.NotContains(t, string(text), `"os"`)
	assert.Empty(t, stubs)
}

func TestExportedNamesOnly(t *testing.T) {
	mine, err := exported(map[string][]byte{"server.go": []byte(skeleton)})
	require.NoError(t, err)
	theirs, err := exported(map[string][]byte{"server.go": []byte(solution)})
	require.NoError(t, err)
	assert.Contains(t, mine, "func (e *E) A(int) error")
	assert.NotContains(t, mine, "NotImplemented")
	assert.Equal(t, "func (e *E) A(int) error\nfunc (e *E) B()\npackage p\ntype E struct{}\n", mine)
	assert.NotEqual(t, mine, theirs) // the solution's E has fields, and says so
}

func TestMutantsHaveAHeaderAndPairs(t *testing.T) {
	l := catalogue.Lesson{Folder: "01-select", Steps: []catalogue.Step{{Number: 1}}}
	m, err := parseMutant(l, "m", []byte("A mistake\nin two lines.\nstep: 1\ncause: c\n-- s.go find --\na\n-- s.go replace --\nb\n"))
	require.NoError(t, err)
	assert.Equal(t, "A mistake in two lines.", m.Mistake)
	assert.Equal(t, []edit{{"s.go", "a\n", "b\n"}}, m.edits)
	for text, want := range map[string]string{
		"A mistake.\nstep: 2\ncause: c\n-- s.go find --\n-- s.go replace --\n": "step: N",
		"step: 1\ncause: c\n-- s.go find --\n-- s.go replace --\n":             "sentence",
		"A mistake.\nstep: 1\ncause: c\n":                                      "pairs",
		"A mistake.\nstep: 1\ncause: c\n-- s.go find --\n-- t.go replace --\n": "no pair",
	} {
		_, err := parseMutant(l, "m", []byte(text))
		assert.ErrorContains(t, err, want)
	}
}
