package arena

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed page
var page embed.FS

// source is what the page shows and steers.
type source interface {
	// Next returns the newest view, as JSON, and its number, as soon as that is not
	// seen. What came in between is skipped: the page too is a slow client, and gets
	// the latest state.
	Next(ctx context.Context, seen uint64) (view []byte, number uint64, err error)

	// Map is the present run's [Map], as JSON.
	Map() []byte

	// Do carries out what a control asks for and says in a sentence what was done.
	Do(ctx context.Context, control string, form url.Values) (string, error)
}

// errAsk is an error in what a control was given, for the person at the page.
type errAsk string

func (e errAsk) Error() string { return string(e) }

func askf(format string, args ...any) error { return errAsk(fmt.Sprintf(format, args...)) }

// controls are what can be POSTed.
var controls = []string{"bots", "engine", "freeze", "thaw", "stall", "reset"}

// The page's limits. maxStreams is how many windows can watch at once: a browser makes no
// more than six connections to a server, to all its windows together, and a seventh request
// waits. Were all six streams, no control of any window would be answered.
const (
	maxStreams  = 5
	maxForm     = 4 << 10
	writeWithin = 10 * time.Second // a window that takes nothing for this long is gone
	onceWithin  = time.Minute      // a browser that was started has asked by then
)

// web serves the page to the browser of the person who started the arena, and to
// nobody else. Three things see to that:
//
//   - It listens on 127.0.0.1, and answers only requests that were sent to that
//     address by name: a page of another site whose name is made to resolve to
//     127.0.0.1 (DNS rebinding) still sends its own name as Host.
//   - Every path begins with a token that is new in each run. It is a part of the path and
//     not a cookie, since cookies do not know of ports: every other server on
//     127.0.0.1 would be sent it; and not a header, since an EventSource cannot
//     set one.
//   - What changes something is a POST, and one that another page made the browser
//     send is refused.
//
// And one to what other users of the machine can read: the browser is started with an
// address in its command line, which ps shows to everybody. So that is not the page's
// address but one for a single use, soon, which leads there. Somebody could still be
// faster than the browser, but not unseen: then the browser is refused, and says so. (A
// file that only its owner can read would leave no such gap, but browsers that are kept
// in a sandbox, as Ubuntu's are, do not see it, and what they say then helps nobody.)
type web struct {
	token string
	hosts []string // what Host may be
	src   source
	mux   http.Handler

	mu      sync.Mutex
	once    string                // leads to the token; "": it has
	until   time.Time             // so long
	streams []*context.CancelFunc // of the windows that watch, the oldest first
}

// newWeb returns the handler for a server that listens on addr.
func newWeb(addr net.Addr, src source) *web {
	_, port, _ := net.SplitHostPort(addr.String())
	w := &web{
		token: rand.Text(),
		hosts: []string{"127.0.0.1:" + port, "localhost:" + port},
		src:   src,
		once:  rand.Text(),
		until: time.Now().Add(onceWithin),
	}
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the folder is embedded
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /events", w.events)
	mux.HandleFunc("GET /map", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Write(w.src.Map())
	})
	for _, name := range controls {
		mux.HandleFunc("POST /"+name, w.control)
	}
	w.mux = http.StripPrefix("/"+w.token, http.NewCrossOriginProtection().Handler(mux))
	return w
}

// url is the address of the page.
func (w *web) url() string { return "http://" + w.hosts[0] + "/" + w.token + "/" }

// onceURL is an address that leads to the page's once.
func (w *web) onceURL() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return "http://" + w.hosts[0] + "/once/" + w.once
}

// lead leads a browser that knows the key of onceURL to the page.
func (w *web) lead(rw http.ResponseWriter, r *http.Request, key string) {
	w.mu.Lock()
	right := w.once != "" && time.Now().Before(w.until) && subtle.ConstantTimeCompare([]byte(key), []byte(w.once)) == 1
	if right {
		w.once = ""
	}
	w.mu.Unlock()
	if !right {
		http.Error(rw, "This address was for one use, within a minute. Open the one that go run ./checker arena has printed.\n"+
			"If you have not used it, and the page has not opened, then somebody else on this machine was faster: end the arena, and start it with -no-open.", http.StatusForbidden)
		return
	}
	http.Redirect(rw, r, w.url(), http.StatusSeeOther)
}

// policy is the page's Content-Security-Policy: its own files and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP implements [http.Handler].
func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h := rw.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	switch first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); {
	case r.Host != w.hosts[0] && r.Host != w.hosts[1]:
		http.Error(rw, "this server is called "+w.hosts[0]+" and answers to no other name", http.StatusForbidden)
	case first == "once" && r.Method == http.MethodGet:
		w.lead(rw, r, rest)
	case subtle.ConstantTimeCompare([]byte(first), []byte(w.token)) != 1:
		http.Error(rw, "this page is for the address that go run ./checker arena printed: open that, with all of its path", http.StatusForbidden)
	default:
		w.mux.ServeHTTP(rw, r)
	}
}

// events is the stream of views: server-sent events, because everything flows one
// way, the browser connects again by itself, and net/http has all it takes. (A
// WebSocket would be a library for the way back, which a POST is.)
//
// One window too many ends the oldest's stream, and not its own: somebody has just opened
// it, and the oldest may be one that nobody has in view. It is told, so that it says so and
// does not connect again.
func (w *web) events(rw http.ResponseWriter, r *http.Request) {
	ctx, leave := w.enter(r.Context())
	defer leave()
	rw.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(rw)
	send := func(format string, args ...any) error {
		out.SetWriteDeadline(time.Now().Add(writeWithin))
		if _, err := fmt.Fprintf(rw, format, args...); err != nil {
			return err
		}
		return out.Flush()
	}
	err := send("retry: 1000\n\n")
	for seen := uint64(0); err == nil; {
		var view []byte
		if view, seen, err = w.src.Next(ctx, seen); err == nil {
			err = send("id: %d\ndata: %s\n\n", seen, view) // JSON has no line breaks
		}
	}
	if ctx.Err() != nil && r.Context().Err() == nil {
		send("event: crowded\ndata: %d\n\n", maxStreams)
	}
}

// enter adds a stream, and ends the oldest if that is one too many. The stream is to end
// with the context, and then call leave.
func (w *web) enter(ctx context.Context) (_ context.Context, leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams = append(w.streams, &cancel)
	if len(w.streams) > maxStreams {
		(*w.streams[0])()
		w.streams = w.streams[1:]
	}
	return ctx, func() {
		cancel()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.streams = slices.DeleteFunc(w.streams, func(c *context.CancelFunc) bool { return c == &cancel })
	}
}

// control is a form that the page sent.
func (w *web) control(rw http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(rw, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(rw, "the form cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	said, err := w.src.Do(r.Context(), strings.TrimPrefix(r.URL.Path, "/"), r.PostForm)
	var ask errAsk
	switch {
	case errors.As(err, &ask):
		http.Error(rw, ask.Error(), http.StatusUnprocessableEntity)
	case err != nil:
		http.Error(rw, err.Error(), http.StatusInternalServerError)
	default:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(rw, said)
	}
}

// serveWeb serves the page on l until ctx is done.
func serveWeb(ctx context.Context, l net.Listener, w *web) error {
	s := &http.Server{
		Handler:           w,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       0, // a stream is read from for as long as it lasts
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // ends the streams
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(grace) != nil {
			s.Close()
		}
	})
	err := s.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
