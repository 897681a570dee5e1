package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestCountsSayOfHowMany(t *testing.T) {
	r := result{Engine: "solutions/select", Ticks: 600, Late2ms: 12, Overruns: 3, Dropped: 5, LastTicks: 590, LastP50: time.Millisecond, Bytes: 100.4, CPU: 0.5}
	text := row(r)
	assert.Equal(t, []string{"12/600", "3/600", "5/605"}, strings.Fields(text)[7:10])
	assert.Contains(t, text, " 590/600 ")
	assert.Equal(t, len(header()), len(text))
	assert.True(t, strings.HasSuffix(text, "50%"), "the lines of engines end so")
	r.LastTicks = 0
	assert.Contains(t, row(r), " - ", "of no tick is it known")
	assert.Equal(t, "solutions/select     no luck", row(result{Engine: r.Engine, Error: "no luck"}))
}
