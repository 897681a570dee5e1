package arena

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/checker/gameserver"
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

func TestOneWindowTooManyEndsTheOldest(t *testing.T) {
	f := newFake()
	w := serve(t, f)
	f.publish([]byte("{}"))
	watch := func() *bufio.Reader {
		resp, err := http.Get(w.url() + "events")
		require.NoError(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		require.Equal(t, 200, resp.StatusCode)
		in := bufio.NewReader(resp.Body)
		hears(t, in, "data: {}\n")
		return in
	}
	oldest, second := watch(), watch()
	for range maxStreams - 2 {
		watch()
	}
	newest := watch()
	hears(t, oldest, "event: crowded\n")
	hears(t, oldest, "data: 5\n")
	_, err := io.ReadAll(oldest)
	require.NoError(t, err, "and its stream ends")
	f.publish([]byte("1"))
	hears(t, second, "data: 1\n")
	hears(t, newest, "data: 1\n")
}

// hears reads up to a line.
func hears(t *testing.T, in *bufio.Reader, want string) {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		require.NoError(t, err, "%q should come", want)
		if line == want {
			return
		}
	}
}

func TestAWindowThatIsClosedMakesRoom(t *testing.T) {
	w := newWeb(&net.TCPAddr{}, newFake())
	first, _ := w.enter(t.Context())
	for range 3 * maxStreams {
		_, leave := w.enter(t.Context())
		leave()
	}
	assert.NoError(t, first.Err())
	assert.Len(t, w.streams, 1)
}

func TestTheBrowsersAddressIsForOneUse(t *testing.T) {
	w := serve(t, newFake())
	once := w.onceURL()
	assert.NotContains(t, once, w.token, "it may be read by anybody")
	for _, wrong := range []string{once + "x", once[:len(once)-1], "http://" + w.hosts[0] + "/once/", "http://" + w.hosts[0] + "/once"} {
		status, text, _ := ask(t, "GET", wrong, "")
		assert.Equal(t, 403, status, wrong)
		assert.NotContains(t, text, w.token)
	}
	status, _, _ := ask(t, "POST", once, "")
	assert.Equal(t, 403, status)
	status, _, _ = ask(t, "GET", once, "", func(r *http.Request) { r.Host = "rebound.example" })
	assert.Equal(t, 403, status)

	status, text, _ := ask(t, "GET", once, "")
	assert.Equal(t, 200, status, "what was wrong has not spent it")
	assert.Contains(t, text, "<title>iolab arena</title>")
	status, text, h := ask(t, "GET", once, "")
	assert.Equal(t, 403, status)
	assert.Contains(t, text, "was for one use")
	assert.NotContains(t, text+fmt.Sprint(h), w.token)
	status, _, _ = ask(t, "GET", "http://"+w.hosts[0]+"/once/", "") // which is what is left of it
	assert.Equal(t, 403, status)

	w = serve(t, newFake())
	w.until = time.Now()
	status, _, _ = ask(t, "GET", w.onceURL(), "")
	assert.Equal(t, 403, status, "too late")
}

func TestWhyThePageCannotHaveAPort(t *testing.T) {
	assert.EqualError(t, portError(80, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}),
		"the page cannot have port 80: this system keeps it for the superuser, like most ports below 1024. Choose another, as in -port 8080, or leave -port out, and a free one is taken")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = listenPage(l.Addr().(*net.TCPAddr).Port)
	assert.ErrorContains(t, err, "leave -port out")
	assert.Equal(t, 3, gameserver.Status(err))
	for _, port := range []int{-1, 65536} {
		_, err := listenPage(port)
		assert.ErrorContains(t, err, "there is no port "+strconv.Itoa(port))
		assert.Equal(t, 2, gameserver.Status(err))
	}
}

func TestTheURLIsThePrintedOne(t *testing.T) {
	w := serve(t, newFake())
	u, err := url.Parse(w.url())
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1", u.Hostname())
	assert.Equal(t, "/"+w.token+"/", u.Path)
}
