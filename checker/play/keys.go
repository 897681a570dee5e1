package play

import "io"

// key is what a key means.
type key int

const (
	keyUp key = iota
	keyDown
	keyLeft
	keyRight
	keyStop
	keyQuit
	keyInterrupt
)

func (k key) direction() direction { return [...]direction{up, down, left, right}[k] }

// readKeys reads the keyboard to its end, which is like q.
func readKeys(in io.Reader, keys chan<- key) {
	var parser keyParser
	part := make([]byte, 64)
	for {
		n, err := in.Read(part)
		for _, b := range part[:n] {
			if k, ok := parser.next(b); ok {
				keys <- k
			}
		}
		if err != nil {
			keys <- keyQuit
			return
		}
	}
}

// keyParser makes keys of a terminal's bytes: letters, control characters, and the
// sequences of the arrow keys (ESC [ A, or ESC O A in application mode, with parameters
// in between where a modifier is held).
type keyParser struct {
	state int // 0: nothing; 1: after ESC; 2: in a sequence
}

func (p *keyParser) next(b byte) (k key, ok bool) {
	switch p.state {
	case 1:
		p.state = 0
		if b == '[' || b == 'O' {
			p.state = 2
			return 0, false
		}
	case 2:
		if b >= '0' && b <= '9' || b == ';' {
			return 0, false
		}
		p.state = 0
		switch b {
		case 'A':
			return keyUp, true
		case 'B':
			return keyDown, true
		case 'C':
			return keyRight, true
		case 'D':
			return keyLeft, true
		}
		return 0, false
	}
	switch b {
	case 0x1b:
		p.state = 1
	case 'w', 'W', 'k':
		return keyUp, true
	case 's', 'S', 'j':
		return keyDown, true
	case 'a', 'A', 'h':
		return keyLeft, true
	case 'd', 'D', 'l':
		return keyRight, true
	case ' ':
		return keyStop, true
	case 'q', 'Q', 4: // Ctrl-D
		return keyQuit, true
	case 3: // Ctrl-C: in raw mode it is a byte like another
		return keyInterrupt, true
	}
	return 0, false
}
