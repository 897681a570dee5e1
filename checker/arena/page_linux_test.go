package arena

import (
	"context"
	"encoding/json"
	"math"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// view is the fake's world after n twentieths of a second.
func (f *fake) view(n int) View {
	v := View{Run: 1, Engine: "epoll-et", How: "native", MaxBots: 19000, Wanted: 400, Budget: 1000.0 / 60,
		Engines: []Engines{{"yours", []string{"select", "epoll-et"}}, {"solutions", []string{"solutions/select"}}},
		Say:     "400 players at 60 ticks a second.", Topic: "steady", Tick: uint64(3 * n), Players: 400,
		Frozen: []uint32{17}, Client: 17, Sample: uint64(n / 2)}
	v.Stats = Stats{Tick: 1, TickP99: 2 + math.Sin(float64(n)/7), Late: .2, Rate: 60, BytesOut: 3e6, CPU: 40, Calls: 9000, Overruns: uint64(n / 100)}
	for id := range uint32(400) {
		a := float64(n)/40 + float64(id)
		r := .05 + .45*float64(id)/400
		v.Where = appendPlayer(v.Where, id+1, uint16(65535*(.5+r*math.Cos(a))), uint16(65535*(.5+r*math.Sin(a))))
	}
	return v
}

// run publishes until the test is over.
func (f *fake) run(t *testing.T) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped })
	go func() {
		defer close(stopped)
		for n := 1; ; n++ {
			text, err := json.Marshal(f.view(n))
			if err != nil {
				panic(err)
			}
			f.publish(text)
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
}

func TestThePageShowsTheWorldMove(t *testing.T) {
	f := newFake()
	f.run(t)
	w := serve(t, f)
	b := startBrowser(t)
	b.size(1280, 860, 1)
	b.open(w.url())
	b.await("now.size === 400 && samples.length > 3")
	// What is drawn moves.
	b.await("(() => { const w = $('world'), blank = document.createElement('canvas'); blank.width = w.width; blank.height = w.height; return w.toDataURL() !== blank.toDataURL() })()")
	first := eval[string](b, "$('world').toDataURL()")
	b.await("$('world').toDataURL() !== " + strconv.Quote(first))
	b.await("$('tiles').textContent.includes('60.0')")
	assert.Equal(t, "400 players at 60 ticks a second.", eval[string](b, "$('sentence').textContent"))
	assert.Equal(t, "epoll-et native", eval[string](b, "document.querySelector('.engine').innerText"))
	if path := os.Getenv("IOLAB_FAKE_PICTURE"); path != "" { // to look at while one writes the page
		b.await("samples.length > 60")
		require.NoError(t, os.WriteFile(path, b.screenshot(), 0o644))
		b.prefer(map[string]string{"prefers-color-scheme": "dark"})
		b.await("samples.length > 70")
		require.NoError(t, os.WriteFile(path+"-dark.png", b.screenshot(), 0o644))
		b.size(420, 1500, 1)
		b.await("samples.length > 80")
		require.NoError(t, os.WriteFile(path+"-narrow.png", b.screenshot(), 0o644))
	}
	b.clean(w.url())
}

// focus is what has the keyboard.
const focus = "document.activeElement.id || document.activeElement.innerText"

func TestEveryControlByKeyboardAlone(t *testing.T) {
	f := newFake()
	f.run(t)
	w := serve(t, f)
	b := startBrowser(t)
	b.open(w.url())
	b.await("view && $('client').value && $('engines').options.length === 3")
	did := func(answer string) {
		b.keys("Enter")
		b.await("$('answer').textContent === " + strconv.Quote(answer))
	}
	to := func(name string) {
		b.keys("Tab")
		require.Equal(t, name, eval[string](b, focus))
	}
	retype := func(text string) {
		eval[any](b, "document.activeElement.select()")
		b.keys(text)
	}

	to("Skip to the controls")
	b.keys("Enter")
	to("bots")
	retype("250")
	did("bots done")
	retype("13") // which this fake refuses
	did("13 bots are too many")
	require.Equal(t, "bad", eval[string](b, "$('answer').className"))
	b.forgive("status of 422")
	to("Set")
	to("engines")
	b.keys("ArrowDown")
	to("Restart")
	did("engine done")
	to("client")
	retype("18")
	did("freeze done")
	to("Freeze")
	to("All")
	did("freeze done")
	to("Thaw")
	did("thaw done")
	to("stall")
	retype("750")
	did("stall done")
	to("Stall")
	to("Reset")
	did("reset done")

	assert.Equal(t, []string{"bots n=250", "bots n=13", "engine name=solutions%2Fselect", "freeze client=18", "freeze all=yes&client=18", "thaw client=18", "stall ms=750", "reset "}, f.wasAsked())
	// What an empty field asks for is said by the browser, and nothing is sent.
	eval[any](b, "$('stall').focus()")
	retype("")
	b.keys("Backspace", "Enter")
	b.await("!$('stall').validity.valid")
	assert.Len(t, f.wasAsked(), 8)
	b.clean(w.url())
}

func TestEverythingHasAName(t *testing.T) {
	f := newFake()
	f.run(t)
	w := serve(t, f)
	b := startBrowser(t)
	b.open(w.url())
	b.await("samples.length > 2 && $('engines').options.length")
	nameless := `[...document.querySelectorAll('input, select, button, canvas, section')].filter(e =>
		!(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby') && !(e.tagName === 'BUTTON' && e.innerText)).map(e => e.outerHTML)`
	assert.Empty(t, eval[[]string](b, nameless))
	assert.Equal(t, "en", eval[string](b, "document.documentElement.lang"))
	assert.Equal(t, "polite", eval[string](b, "$('live').getAttribute('aria-live')"))
	b.await("$('live').textContent === $('sentence').textContent")
	assert.Equal(t, 1, eval[int](b, "document.querySelectorAll('h1').length"))
	// Text stands out from what it is on, in both themes (WCAG AA: 4.5 to 1).
	for _, theme := range []string{"light", "dark"} {
		b.prefer(map[string]string{"prefers-color-scheme": theme})
		b.await("matchMedia('(prefers-color-scheme: " + theme + ")').matches")
		for _, pair := range [][2]string{{"text", "back"}, {"text", "panel"}, {"text", "field"}, {"faint", "panel"}, {"faint", "back"}, {"on-accent", "accent"}, {"bad", "panel"}, {"warn", "panel"}, {"frozen", "field"}} {
			ratio := eval[float64](b, contrast(pair[0], pair[1]))
			least := 4.5
			if pair[0] == "frozen" {
				least = 3 // a ring, not a text
			}
			assert.GreaterOrEqual(t, ratio, least, "%s on %s, %s", pair[0], pair[1], theme)
		}
	}
	b.clean(w.url())
}

// contrast is an expression for that of two of the page's colours.
func contrast(a, b string) string {
	return `(() => { const l = name => { const c = getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim().slice(1);
		const [r, g, b] = [0, 2, 4].map(i => parseInt(c.slice(i, i + 2), 16) / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
		return .2126 * r + .7152 * g + .0722 * b };
		const [x, y] = [l("` + a + `"), l("` + b + `")]; return (Math.max(x, y) + .05) / (Math.min(x, y) + .05) })()`
}

func TestNarrowWindowsDoNotScrollSideways(t *testing.T) {
	f := newFake()
	f.run(t)
	w := serve(t, f)
	b := startBrowser(t)
	for _, width := range []int{320, 480, 768, 1024, 1280, 2560} {
		b.size(width, 800, 1)
		b.open(w.url())
		b.await("samples.length > 1")
		assert.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"), width)
		assert.Greater(t, eval[int](b, "$('world').clientHeight"), 150, "width %d", width)
	}
	b.clean(w.url())
}

func TestLessMotionWhereItIsAskedFor(t *testing.T) {
	f := newFake()
	f.run(t)
	w := serve(t, f)
	b := startBrowser(t)
	b.prefer(map[string]string{"prefers-reduced-motion": "reduce"})
	b.open(w.url())
	b.await("samples.length > 3")
	// Count the pictures that are drawn while forty views come.
	begin := time.Now()
	pictures := eval[int](b, `new Promise(done => { let n = 0; const draw = drawWorld; drawWorld = t => { n++; draw(t) };
		let views = 0; stream.addEventListener('message', () => { if (++views === 40) done(n) }) })`)
	assert.LessOrEqual(t, pictures, 10+int(time.Since(begin).Seconds()), "about one a second, of forty views (more where the machine is slow)")
	b.clean(w.url())
}

func TestThePageSaysThatTheArenaHasEnded(t *testing.T) {
	f := newFake()
	f.run(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := newWeb(l.Addr(), f)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serveWeb(ctx, l, w) }()
	b := startBrowser(t)
	b.open(w.url())
	b.await("samples.length > 1")
	cancel()
	require.NoError(t, <-ended, "an open stream does not hold the end up")
	b.await("$('sentence').textContent.startsWith('The arena has ended')")
	b.await("$('live').textContent.startsWith('The arena has ended')")
}

func TestManyWindowsKeepTheirControls(t *testing.T) {
	f := newFake()
	f.run(t)
	w := serve(t, f)
	b := startBrowser(t)
	const windows = 7 // one more than a browser has connections
	var sessions []string
	for i := range windows {
		if i > 0 {
			b.window()
		}
		b.open(w.url())
		b.await("view")
		sessions = append(sessions, b.session)
	}
	// Of the newest, of the oldest that still watches, and of one that does not any more.
	for _, i := range []int{windows - 1, windows - maxStreams, 0} {
		b.session = sessions[i]
		b.await("$('client').value")
		eval[any](b, "document.querySelector('form[action=freeze] button').click()")
		b.await("$('answer').textContent === 'freeze done'")
	}
	b.await("$('sentence').textContent.startsWith('5 newer windows show the arena')")
	b.await("$('live').textContent.startsWith('5 newer windows show the arena')")
	b.session = sessions[windows-maxStreams]
	assert.Equal(t, "400 players at 60 ticks a second.", eval[string](b, "$('sentence').textContent"))
	b.clean(w.url())
}
