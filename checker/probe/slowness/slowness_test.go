package slowness

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestItIsOneUntilManyWantToRun(t *testing.T) {
	assert.GreaterOrEqual(t, Now(), 1)
	for load, want := range map[float64]int{0: 1, 4: 1, 7.9: 1, 8: 2, 12.5: 3, 1000: 6} {
		assert.Equal(t, want, factor(load, 2), "load %v", load)
	}
}
