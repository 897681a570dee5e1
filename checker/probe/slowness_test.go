package probe

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSlownessIsOneUntilManyWantToRun(t *testing.T) {
	assert.GreaterOrEqual(t, Slowness(), 1)
	for load, want := range map[float64]int{0: 1, 4: 1, 7.9: 1, 8: 2, 12.5: 3, 1000: 6} {
		assert.Equal(t, want, slowness(load, 2), "load %v", load)
	}
}
