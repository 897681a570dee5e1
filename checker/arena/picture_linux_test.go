package arena

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPicture makes the README's picture:
//
//	IOLAB_PICTURE=$PWD/checker/arena/testdata/arena.png go test -run TestPicture ./checker/arena
func TestPicture(t *testing.T) {
	file := os.Getenv("IOLAB_PICTURE")
	if file == "" {
		t.Skip("makes the README's picture when IOLAB_PICTURE names its file")
	}
	url, _ := start(t, Options{Bots: 1000})
	b := startBrowser(t)
	b.size(1280, 800, 1)
	b.prefer(map[string]string{"prefers-color-scheme": "dark"})
	b.open(url)
	b.await("view && view.players >= 1000")
	time.Sleep(30 * time.Second) // the charts fill
	b.await("$('client').value")
	eval[any](b, "document.querySelector('form[action=freeze] button').click()")
	b.await("$('sentence').textContent.includes('replaced')")
	time.Sleep(time.Second)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	picture := small(t, b.screenshot())
	require.NoError(t, os.WriteFile(file, picture, 0o644))
	assert.Less(t, len(picture), 200<<10)
	b.clean(url)
}

// small is the picture in its 256 most frequent colours.
func small(t *testing.T, picture []byte) []byte {
	img, err := png.Decode(bytes.NewReader(picture))
	require.NoError(t, err)
	pixels := map[color.Color]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			pixels[img.At(x, y)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(pixels), func(a, b color.Color) int { return pixels[b] - pixels[a] })
	palette := color.Palette(colors[:min(len(colors), 256)])
	nearest := map[color.Color]uint8{}
	for _, c := range colors {
		nearest[c] = uint8(palette.Index(c))
	}
	paletted := image.NewPaletted(img.Bounds(), palette)
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			paletted.SetColorIndex(x, y, nearest[img.At(x, y)])
		}
	}
	var out bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, paletted))
	return out.Bytes()
}
