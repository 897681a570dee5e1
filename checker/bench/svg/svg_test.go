package svg

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wellFormed wants the picture to be XML, and returns the text in it.
func wellFormed(t *testing.T, picture []byte) string {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(picture))
	var text bytes.Buffer
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		require.NoError(t, err, string(picture))
		if chars, ok := token.(xml.CharData); ok {
			text.Write(chars)
		}
	}
}

func TestLinesAreWellFormedAndLabelled(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Lines{Title: "a < b & \"c\"", X: "connections", Y: "CPU (us)", Note: "here",
		Lines: []Line{{"select", []Point{{0, 1, 0, 0}, {900, 200, 190, 230}}}, {"epoll", []Point{{0, 1, 0, 0}, {900, 1, 0, 0}}}}}.Write(&out))
	text := wellFormed(t, out.Bytes())
	for _, want := range []string{`a < b & "c"`, "connections", "CPU (us)", "select", "epoll", "here", "200"} {
		assert.Contains(t, text, want)
	}
	assert.Contains(t, out.String(), "prefers-color-scheme: dark")
	assert.NotContains(t, out.String(), "NaN")
}

func TestBarsAreWellFormedAndLabelled(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Bars{Title: "cost", X: "CPU (us)", Bars: []Bar{
		{Name: "net", Value: 5, Low: 4, High: 6, Group: "50 connections", Text: "5.0"}, {Name: "epoll", Value: 3, Group: "1,000 connections"}}}.Write(&out))
	text := wellFormed(t, out.Bytes())
	for _, want := range []string{"cost", "CPU (us)", "net", "50 connections", "5.0"} {
		assert.Contains(t, text, want)
	}
}

func TestNothingToDrawIsStillAPicture(t *testing.T) {
	for _, c := range []interface{ Write(io.Writer) error }{Lines{}, Bars{}, Lines{Lines: []Line{{"x", []Point{{0, 0, 0, 0}}}}}, Bars{Bars: []Bar{{Value: 0}}}} {
		var out bytes.Buffer
		require.NoError(t, c.Write(&out))
		wellFormed(t, out.Bytes())
		assert.NotContains(t, out.String(), "NaN")
		assert.NotContains(t, out.String(), "Inf")
	}
}

func TestTicksCoverTheValues(t *testing.T) {
	for _, most := range []float64{0.003, 0.7, 1, 3.2, 9.99, 10, 55, 199, 900, 12_345, 1e6} {
		step, end := ticks(most)
		assert.GreaterOrEqual(t, end*1.001, most)
		assert.LessOrEqual(t, end/step, 7.0)
		assert.GreaterOrEqual(t, end/step, 2.0)
	}
	step, end := ticks(math.NaN())
	assert.Equal(t, 1.0, step)
	assert.Equal(t, 1.0, end)
	assert.Equal(t, "12,000", label(12000))
	assert.Equal(t, "0.3", label(0.1+0.2))
}
