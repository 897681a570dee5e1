package labtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manPages are those that causes may name: all are in section 2, 3 or 7 of the Linux
// manual, or in a BSD's.
var manPages = strings.Fields(`accept(2) accept4(2) close(2) connect(2) epoll(7) epoll_create(2) epoll_ctl(2) epoll_wait(2)
	eventfd(2) fcntl(2) getsockopt(2) io_uring(7) io_uring_enter(2) io_uring_register(2) io_uring_setup(2) kevent(2) kqueue(2)
	listen(2) mmap(2) open(2) read(2) recv(2) select(2) send(2) shutdown(2) signal(7) socket(2) timerfd_create(2) socket(7) tcp(7) write(2)
	io_uring_cancelation(7) io_uring_buf_ring_add(3) io_uring_buf_ring_advance(3) io_uring_setup_buf_ring(3)
	io_uring_prep_recv_multishot(3) io_uring_prep_multishot_accept(3) io_uring_prep_accept_direct(3) io_uring_prep_accept(3) io_uring_prep_recv(3) io_uring_prep_send(3)`)

var (
	manPage = regexp.MustCompile(`\b[a-z_0-9]+\(\d\)`)
	inAFile = regexp.MustCompile(`^(.+) in (lessons/\S+\.go)$`)
	inAStep = regexp.MustCompile(`^(lessons/\S+/README\.md), step \d+, .+$`)
)

// Every cause sends the reader of every lesson somewhere, and to something that is there.
func TestWhatCausesSayToReadIsThere(t *testing.T) {
	readmes, err := filepath.Glob("../../lessons/*/README.md")
	require.NoError(t, err)
	require.NotEmpty(t, readmes)
	found := map[string]bool{}
	for _, file := range readmes {
		l := locate(filepath.Dir(file))
		for id, c := range causes {
			read := l.place(c.read)
			if read == "lessons/"+l.folder+"/README.md" {
				continue // the cause is for another lesson
			}
			found[id] = true
			for piece := range strings.SplitSeq(read, "; ") {
				assert.NoError(t, isThere(piece), "lesson %s, cause %s: %q", l.folder, id, read)
			}
		}
	}
	for id, c := range causes {
		assert.True(t, found[id], "cause %s: no lesson has %s", id, c.read)
	}
}

func isThere(piece string) error {
	if m := inAStep.FindStringSubmatch(piece); m != nil {
		return nil // it was found there
	}
	if m := inAFile.FindStringSubmatch(piece); m != nil {
		if strings.HasPrefix(m[2], "lessons/engine/") {
			return declared(m[1], "../../"+m[2])
		}
		_, err := os.Stat("../../" + m[2])
		return err
	}
	pages := manPage.FindAllString(piece, -1)
	for _, page := range pages {
		if !slices.Contains(manPages, page) {
			return fmt.Errorf("%s is not among the known pages of the manual", page)
		}
	}
	if pages == nil && piece != "runtime.LockOSThread" && piece != "runtime.Pinner" {
		return fmt.Errorf("neither a page of the manual, nor NAME in lessons/…/FILE.go, nor a step")
	}
	return nil
}

// declared wants file to declare names, which are NAME, TYPE.MEMBER or a quoted heading.
func declared(names, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	list := []string{names}
	if !strings.HasPrefix(names, `"`) {
		list = strings.Split(names, ", ")
	}
	for _, name := range list {
		pattern := `(?m)^// # ` + regexp.QuoteMeta(strings.Trim(name, `"`)) + `$`
		if !strings.HasPrefix(name, `"`) {
			owner, member, ok := strings.Cut(name, ".")
			if !ok {
				pattern = `(?m)^(\t|type |func (\(.*\) )?)` + owner + `\b`
			} else {
				pattern = `(?ms)^type ` + owner + ` (struct|interface) \{\n.*?^\t` + member + `\b.*?^\}`
			}
		}
		if !regexp.MustCompile(pattern).Match(text) {
			return fmt.Errorf("%s does not declare %s", file, name)
		}
	}
	return nil
}

func TestThePlaceFitsTheLesson(t *testing.T) {
	const read = `01: select(2), timeout | 02,03: epoll_wait(2), timeout | Step "Writing" | Engine.Poll in lessons/engine`
	assert.Equal(t, "select(2), timeout", location{folder: "01-select", readme: ""}.place(read))
	assert.Equal(t, "epoll_wait(2), timeout", location{folder: "03-epoll-et", readme: ""}.place(read))
	assert.Equal(t, "lessons/05-iocp/README.md, step 4, Writing, and more", location{folder: "05-iocp", readme: "\n### Step 4: Writing, and more\n"}.place(read))
	assert.Equal(t, "Engine.Poll in lessons/engine/engine.go", location{folder: "05-iocp", readme: ""}.place(read))
	assert.Equal(t, "Offloader in lessons/03-epoll-et/offload.go", locate("../../lessons/03-epoll-et").place("Offloader in the lesson"))
	assert.Equal(t, "lessons/01-select/README.md", locate("../../lessons/01-select").place("Offloader in the lesson"))
	assert.Equal(t, "Stats.SlowTurns in lessons/engine/stats.go; read(2)", location{}.place("Stats.SlowTurns in lessons/engine; read(2)"))
}
