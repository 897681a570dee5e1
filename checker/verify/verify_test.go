package verify

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/checker/catalogue"
)

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

func TestVariantsAreWholeOrPairs(t *testing.T) {
	l := catalogue.Lesson{Folder: "01-select", Steps: []catalogue.Step{{Number: 1}}}
	v, err := parseVariant(l, "v", []byte("Another way.\n-- s.go --\na\n-- t.go --\nb\n"))
	require.NoError(t, err)
	assert.Equal(t, "Another way.", v.Way)
	assert.Equal(t, map[string][]byte{"s.go": []byte("a\n"), "t.go": []byte("b\n")}, v.files)
	v, err = parseVariant(l, "v", []byte("Another way.\n-- s.go find --\na\n-- s.go replace --\nb\n"))
	require.NoError(t, err)
	assert.Equal(t, []edit{{"s.go", "a\n", "b\n"}}, v.edits)
	_, err = parseVariant(l, "v", []byte("-- s.go --\n"))
	assert.ErrorContains(t, err, "sentence")
	_, err = parseMutant(l, "m", []byte("A mistake.\nstep: 1\ncause: c\n-- s.go --\na\n"))
	assert.ErrorContains(t, err, "pairs")
}
