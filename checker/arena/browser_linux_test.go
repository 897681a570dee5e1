package arena

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// browser is a headless Chromium, told what to do by the DevTools
// protocol over a pair of pipes (--remote-debugging-pipe): JSON messages, each
// ended by a zero byte. That is little enough to need no library.
type browser struct {
	t       *testing.T
	out     *os.File
	session string

	mu       sync.Mutex
	last     int
	waiting  map[int]chan message
	trouble  []string // console errors, exceptions, refused resources
	requests []string // URLs
	err      error
}

type message struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
	SessionID string `json:"sessionId,omitempty"`
}

// startBrowser starts Chromium with flags, or skips the test where there is none.
func startBrowser(t *testing.T, flags ...string) *browser {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("there is no Chromium here to look at the page with: apt install chromium")
	}
	in, theirOut, err := os.Pipe()
	require.NoError(t, err)
	theirIn, out, err := os.Pipe()
	require.NoError(t, err)
	args := append([]string{"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + t.TempDir(), "--no-first-run",
		"--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--hide-scrollbars", "--force-color-profile=srgb"}, flags...)
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // Chromium's sandbox is not for the superuser
	}
	cmd := exec.Command(path, append(args, "about:blank")...)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var log bytes.Buffer
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, out: out, waiting: map[int]chan message{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.read(in)
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		out.Close()
		<-ended
		in.Close()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	b.window()
	return b
}

// window opens another window, and from now on b is about that one. To go back, set
// b.session to what it was.
func (b *browser) window() {
	b.t.Helper()
	b.session = "" // the browser's own
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
}

func (b *browser) read(in *os.File) {
	r := bufio.NewReaderSize(in, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			b.err = fmt.Errorf("Chromium has ended: %w", err)
			for id, c := range b.waiting {
				close(c)
				delete(b.waiting, id)
			}
			b.mu.Unlock()
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if m.ID != 0 {
			if c := b.waiting[m.ID]; c != nil {
				c <- m
				delete(b.waiting, m.ID)
			}
		} else {
			b.event(m)
		}
		b.mu.Unlock()
	}
}

// event keeps what the tests ask for at the end.
func (b *browser) event(m message) {
	var p struct {
		Type    string
		Request struct{ URL string }
		Entry   struct{ Level, Text, URL string }
	}
	json.Unmarshal(m.Params, &p)
	switch m.Method {
	case "Network.requestWillBeSent":
		b.requests = append(b.requests, p.Request.URL)
	case "Runtime.exceptionThrown":
		b.trouble = append(b.trouble, string(m.Params))
	case "Runtime.consoleAPICalled":
		if p.Type == "error" || p.Type == "warning" || p.Type == "assert" {
			b.trouble = append(b.trouble, string(m.Params))
		}
	case "Log.entryAdded":
		if p.Entry.Level == "error" || p.Entry.Level == "warning" {
			b.trouble = append(b.trouble, p.Entry.Text+" "+p.Entry.URL)
		}
	}
}

func (b *browser) call(method string, params any, result any) {
	b.t.Helper()
	b.mu.Lock()
	b.last++
	id := b.last
	c := make(chan message, 1)
	b.waiting[id] = c
	err := b.err
	b.mu.Unlock()
	require.NoError(b.t, err)
	var raw json.RawMessage
	if params != nil {
		raw, err = json.Marshal(params)
		require.NoError(b.t, err)
	}
	text, err := json.Marshal(message{ID: id, Method: method, Params: raw, SessionID: b.session})
	require.NoError(b.t, err)
	_, err = b.out.Write(append(text, 0))
	require.NoError(b.t, err)
	select {
	case m, ok := <-c:
		require.True(b.t, ok, "Chromium has ended during %s", method)
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			require.NoError(b.t, json.Unmarshal(m.Result, result))
		}
	case <-time.After(waitFor):
		b.t.Fatalf("Chromium does not answer %s", method)
	}
}

// open loads the page.
func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.await("document.readyState === 'complete' && location.href !== 'about:blank'")
}

// eval is the value of a JavaScript expression in the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	var r struct {
		Result           struct{ Value T }
		ExceptionDetails any
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %v", expression, r.ExceptionDetails)
	}
	return r.Result.Value
}

// await waits until a JavaScript expression is true.
func (b *browser) await(expression string) {
	b.t.Helper()
	for begin := time.Now(); !eval[bool](b, "!!("+expression+")"); time.Sleep(poll) {
		if time.Since(begin) > waitFor {
			b.t.Fatalf("in the page it should become true that %s", expression)
		}
	}
}

// keys presses each of names: "Tab", "Enter", "ArrowDown", or a text.
func (b *browser) keys(names ...string) {
	b.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, "ArrowDown": 40, "ArrowUp": 38, "End": 35, "Home": 36, "Backspace": 8}
	for _, name := range names {
		code, special := codes[name]
		if !special {
			b.call("Input.insertText", map[string]any{"text": name}, nil)
			continue
		}
		press := map[string]any{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": code}
		if name == "Enter" {
			press["text"] = "\r"
		}
		b.call("Input.dispatchKeyEvent", press, nil)
		b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": name, "code": name, "windowsVirtualKeyCode": code}, nil)
	}
}

// screenshot is the window as a PNG.
func (b *browser) screenshot() []byte {
	b.t.Helper()
	var r struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &r)
	png, err := base64.StdEncoding.DecodeString(r.Data)
	require.NoError(b.t, err)
	return png
}

// size makes the window as large as that.
func (b *browser) size(w, h int, scale float64) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": w, "height": h, "deviceScaleFactor": scale, "mobile": false}, nil)
}

// prefer sets a media feature, such as prefers-color-scheme.
func (b *browser) prefer(features map[string]string) {
	b.t.Helper()
	var list []map[string]string
	for name, value := range features {
		list = append(list, map[string]string{"name": name, "value": value})
	}
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": list}, nil)
}

// forgive forgets trouble that the test has made on purpose.
func (b *browser) forgive(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble = slices.DeleteFunc(b.trouble, func(s string) bool { return strings.Contains(s, text) })
}

// clean wants no trouble, and no request but to the page's own server.
func (b *browser) clean(origin string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.trouble)
	require.NotEmpty(b.t, b.requests)
	for _, url := range b.requests {
		require.True(b.t, strings.HasPrefix(url, origin) || url == "about:blank", url)
	}
}
