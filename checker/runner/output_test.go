package runner

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const dump = `SIGQUIT: quit
PC=0x52e301 m=0 sigcode=0

goroutine 22 gp=0x5cc73002960 m=0 mp=0x6d6ea0 [running, locked to thread]:
syscall.Syscall(0x0, 0x5, 0x3c561a1ebf4f, 0x1)
	/usr/local/go/src/syscall/syscall_linux.go:74 +0x25 fp=0x3c5 sp=0x3c5 pc=0x497
iolab/lessons/02-epoll-lt.(*Engine).wait(...)
	/home/me/iolab/lessons/02-epoll-lt/server.go:140
iolab/lessons/02-epoll-lt.(*Engine).Poll(0xc000100000, 0x3b9aca00)
	/home/me/iolab/lessons/02-epoll-lt/server.go:133 +0x1 fp=0x5cc sp=0x5cc pc=0x52e
iolab/checker/labtest.(*loop).run(0xc000100000)
	/home/me/iolab/checker/labtest/loop.go:50 +0x1 fp=0x5cc sp=0x5cc pc=0x52e
runtime.goexit({})
	/usr/local/go/src/runtime/asm_amd64.s:1771 +0x1 fp=0x5cc sp=0x5cc pc=0x48a
created by iolab/checker/labtest.newLoop in goroutine 21
	/home/me/iolab/checker/labtest/loop.go:30 +0x1a

goroutine 1 gp=0x5cc72f6c1e0 m=nil [chan receive]:
runtime.gopark(0x3000000595408?, 0x300368cc0e2c8?)
	/usr/local/go/src/runtime/proc.go:462 +0xce fp=0x5cc sp=0x5cc pc=0x483
iolab/lessons/02-epoll-lt_test.TestStep01_A(0x1)
	/home/me/iolab/lessons/02-epoll-lt/server_test.go:12 +0x1
`

func TestStacksShowTheReadersFrames(t *testing.T) {
	require.Len(t, goroutines([]byte(dump)), 2)
	assert.Equal(t, `goroutine 22 [running, locked to thread]
  syscall.Syscall  syscall_linux.go:74
  (*Engine).wait  lessons/02-epoll-lt/server.go:140
  (*Engine).Poll  lessons/02-epoll-lt/server.go:133
`, stacks([]byte(dump), "02-epoll-lt", 3))
	assert.Empty(t, stacks([]byte(dump), "01-select", 3))
}

func TestEventsAreOnlyThoseOfTheTestingPackage(t *testing.T) {
	o := &output{}
	fmt.Fprint(o, "\x16=== RUN   TestStep01_A\n--- PASS: TestStep01_A (0.00s)\nno line end\x16--- FAIL: TestStep01_A (0.10s)\n")
	fmt.Fprint(o, "\x16=== RUN   TestStep01_B\n\x16--- PASS: TestSt")
	fmt.Fprint(o, "ep01_B (0.00s)\nlast words")
	o.flush()
	assert.Equal(t, map[string]string{"TestStep01_A": "FAIL", "TestStep01_B": "PASS"}, o.verdict)
	assert.Equal(t, "TestStep01_B", o.last)
	assert.Contains(t, o.text(), "--- PASS: TestStep01_A")
	assert.Contains(t, o.text(), "no line end")
	assert.Contains(t, o.text(), "last words")
}

func TestOutputIsBounded(t *testing.T) {
	o := &output{}
	for range 100 {
		fmt.Fprint(o, strings.Repeat("x", 100_000))
		fmt.Fprintln(o, strings.Repeat("y", 100_000))
	}
	assert.LessOrEqual(t, len(o.text()), tailSize)
	assert.LessOrEqual(t, len(o.tail), 4*tailSize)
}

func TestCompilerLines(t *testing.T) {
	out := "# iolab/lessons/01-select [iolab/lessons/01-select.test]\nlessons/01-select/server.go:3:5: undefined: x\n\thave ()\n\twant (int)\nFAIL\tiolab [build failed]\n"
	assert.Equal(t, []string{"lessons/01-select/server.go:3:5: undefined: x", "\thave ()", "\twant (int)"}, compilerLines(out))
	assert.Empty(t, compilerLines("go: cannot find module\n"))
}

func TestWhatTheSubjectPrintsIsToldFromTheTestsLog(t *testing.T) {
	o := &output{}
	fmt.Fprint(o, "\x16=== RUN   TestStep01_A\nof another test\n\x16--- PASS: TestStep01_A (0.00s)\n\x16=== RUN   TestStep01_B\n")
	fmt.Fprint(o, "open 9\nno line end")
	fmt.Fprint(o, "\x16=== NAME  TestStep01_B\n    setup.go:45: \n        FAILED  step 1\n        \n          a problem\n\nbye\n\x16--- FAIL: TestStep01_B (0.00s)\nFAIL\n")
	o.flush()
	assert.Equal(t, "open 9\nno line endbye", o.lastPrinted(10))
	assert.Equal(t, "(1 lines more before these)\nno line endbye", o.lastPrinted(1))
	assert.Contains(t, o.text(), "of another test")
}
