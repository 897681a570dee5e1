package arena

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ask sends one and returns the status and the body.
func ask(t *testing.T, method, url, body string, change ...func(*http.Request)) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, f := range change {
		f(r)
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text), resp.Header
}

func TestOnlyTheTokenOpensThePage(t *testing.T) {
	f := newFake()
	w := serve(t, f)
	status, text, _ := ask(t, "GET", w.url(), "")
	assert.Equal(t, 200, status)
	assert.Contains(t, text, "<title>iolab arena</title>")

	base := "http://" + w.hosts[0] + "/"
	other := strings.Repeat("A", len(w.token))
	for _, path := range []string{"", "index.html", "arena.js", "events", w.token[1:] + "/", w.token + "x/", other + "/", other + "/events", "x/" + w.token + "/", "../" + w.token + "/"} {
		status, text, h := ask(t, "GET", base+path, "")
		assert.Equal(t, 403, status, path)
		assert.NotContains(t, text, w.token, path)
		assert.NotEmpty(t, h.Get("Content-Security-Policy"), path)
	}
	for _, path := range []string{"bots", other + "/bots"} {
		status, _, _ := ask(t, "POST", base+path, "n=5")
		assert.Equal(t, 403, status, path)
	}
	assert.Empty(t, f.wasAsked())
}

func TestEachRunHasAnotherToken(t *testing.T) {
	a, b := serve(t, newFake()), serve(t, newFake())
	assert.NotEqual(t, a.token, b.token)
	assert.GreaterOrEqual(t, len(a.token), 26, "128 bits in base 32")
}

func TestOnlyItsOwnNameIsAnsweredTo(t *testing.T) {
	w := serve(t, newFake())
	for host, want := range map[string]int{
		w.hosts[0]: 200, w.hosts[1]: 200,
		"rebound.example:" + w.hosts[0][10:]: 403, "rebound.example": 403, "127.0.0.1": 403, "127.0.0.1:1": 403, "[::1]" + w.hosts[0][9:]: 403,
	} {
		status, _, _ := ask(t, "GET", w.url(), "", func(r *http.Request) { r.Host = host })
		assert.Equal(t, want, status, host)
	}
}

func TestOtherSitesCannotPressTheButtons(t *testing.T) {
	f := newFake()
	w := serve(t, f)
	for name, header := range map[string]http.Header{
		"another site":               {"Sec-Fetch-Site": {"cross-site"}},
		"another server on loopback": {"Sec-Fetch-Site": {"same-site"}},
		"an old browser":             {"Origin": {"http://127.0.0.1:1"}},
	} {
		status, _, _ := ask(t, "POST", w.url()+"stall", "ms=500", func(r *http.Request) {
			for k, v := range header {
				r.Header[k] = v
			}
		})
		assert.Equal(t, 403, status, name)
	}
	assert.Empty(t, f.wasAsked())
	status, _, _ := ask(t, "POST", w.url()+"stall", "ms=500", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") })
	assert.Equal(t, 200, status)
}

func TestControlsArePosts(t *testing.T) {
	f := newFake()
	w := serve(t, f)
	for _, name := range controls {
		status, text, _ := ask(t, "POST", w.url()+name, "a=1")
		assert.Equal(t, 200, status, name)
		assert.Equal(t, name+" done\n", text)
		status, _, _ = ask(t, "GET", w.url()+name, "")
		assert.NotEqual(t, 200, status, "GET "+name)
	}
	assert.Len(t, f.wasAsked(), len(controls))

	status, text, _ := ask(t, "POST", w.url()+"bots", "n=13")
	assert.Equal(t, 422, status)
	assert.Equal(t, "13 bots are too many\n", text)
	status, _, _ = ask(t, "POST", w.url()+"bots", "n="+strings.Repeat("1", 2*maxForm))
	assert.Equal(t, 400, status, "a form without end")
	status, _, _ = ask(t, "POST", w.url()+"other", "")
	assert.Equal(t, 405, status)
}

func TestThePolicyAllowsNothingForeign(t *testing.T) {
	w := serve(t, newFake())
	for _, file := range []string{"", "arena.js", "arena.css", "icon.svg"} {
		status, text, h := ask(t, "GET", w.url()+file, "")
		assert.Equal(t, 200, status)
		p := h.Get("Content-Security-Policy")
		assert.Contains(t, p, "default-src 'none'")
		assert.NotContains(t, p, "unsafe")
		assert.NotContains(t, p, "http")
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
		assert.Equal(t, "no-referrer", h.Get("Referrer-Policy"), "the address holds the token")
		assert.Equal(t, "no-store", h.Get("Cache-Control"))
		text = strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "") // a name, not an address
		for _, foreign := range []string{"http:", "https:", `="//`, "url("} {
			assert.NotContains(t, text, foreign, file)
		}
	}
}

func TestTheStreamIsServerSentEvents(t *testing.T) {
	f := newFake()
	w := serve(t, f)
	f.publish([]byte(`{"tick":1}`))
	resp, err := http.Get(w.url() + "events")
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	in := bufio.NewReader(resp.Body)
	read := func() (lines []string) {
		for {
			line, err := in.ReadString('\n')
			require.NoError(t, err)
			if line == "\n" {
				return lines
			}
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	assert.Equal(t, []string{"retry: 1000"}, read())
	assert.Equal(t, []string{"id: 1", `data: {"tick":1}`}, read())
	text, err := json.Marshal(View{Say: "a\nb\r\n\ndata: c"})
	require.NoError(t, err)
	f.publish(text)
	event := read()
	require.Len(t, event, 2, "no text can end a line of the stream")
	var v View
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(event[1], "data: ")), &v))
	assert.Equal(t, "a\nb\r\n\ndata: c", v.Say)
}

func TestASlowWindowGetsTheLatest(t *testing.T) {
	h := newHub()
	h.publish([]byte("1"))
	_, seen, err := h.Next(t.Context(), 0)
	require.NoError(t, err)
	h.publish([]byte("2"))
	h.publish([]byte("3"))
	view, seen, err := h.Next(t.Context(), seen)
	require.NoError(t, err)
	assert.Equal(t, "3", string(view))
	assert.EqualValues(t, 3, seen)
}

func TestWindowsAreLimited(t *testing.T) {
	f := newFake()
	w := serve(t, f)
	f.publish([]byte("{}"))
	var open []*http.Response
	for range maxStreams {
		resp, err := http.Get(w.url() + "events")
		require.NoError(t, err)
		defer resp.Body.Close()
		assert.Equal(t, 200, resp.StatusCode)
		open = append(open, resp)
	}
	status, text, _ := ask(t, "GET", w.url()+"events", "")
	assert.Equal(t, 503, status)
	assert.Contains(t, text, "close one")
	open[0].Body.Close()
	require.Eventually(t, func() bool {
		f.publish([]byte("{}"))
		resp, err := http.Get(w.url() + "events")
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode == 200
	}, waitFor, poll, "a closed window makes room")
}

func TestTheURLIsThePrintedOne(t *testing.T) {
	w := serve(t, newFake())
	u, err := url.Parse(w.url())
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1", u.Hostname())
	assert.Equal(t, "/"+w.token+"/", u.Path)
}
