package workspace

import "bytes"

// plain is Go source without comments, indentation, alignment and empty lines: two
// files that are alike in this do the same. Directives (//go:embed) stay.
func plain(text []byte) []byte {
	out := make([]byte, 0, len(text))
	space := func() { // one, or none at the start of a line
		if n := len(out); n > 0 && out[n-1] != ' ' && out[n-1] != '\n' {
			out = append(out, ' ')
		}
	}
	newline := func() { // one
		for n := len(out); n > 0 && out[n-1] == ' '; n-- {
			out = out[:n-1]
		}
		if n := len(out); n > 0 && out[n-1] != '\n' {
			out = append(out, '\n')
		}
	}
	for i := 0; i < len(text); {
		rest := text[i:]
		switch c := text[i]; {
		case c == '\n':
			newline()
			i++
		case c == ' ' || c == '\t' || c == '\r':
			space()
			i++
		case bytes.HasPrefix(rest, []byte("//go:")):
			n := lengthTo(rest, "\n")
			out = append(out, rest[:n]...)
			i += n
		case bytes.HasPrefix(rest, []byte("//")):
			i += lengthTo(rest, "\n")
		case bytes.HasPrefix(rest, []byte("/*")):
			n := min(lengthTo(rest[2:], "*/")+4, len(rest))
			if bytes.IndexByte(rest[:n], '\n') >= 0 {
				newline()
			} else {
				space()
			}
			i += n
		case c == '"' || c == '\'' || c == '`':
			n := literal(rest)
			out = append(out, rest[:n]...)
			i += n
		default:
			out = append(out, c)
			i++
		}
	}
	newline()
	return out
}

// lengthTo is how much of text comes before end, all of it if end is not there.
func lengthTo(text []byte, end string) int {
	if n := bytes.Index(text, []byte(end)); n >= 0 {
		return n
	}
	return len(text)
}

// literal is the length of the string or character that text begins with.
func literal(text []byte) int {
	quote := text[0]
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == quote:
			return i + 1
		case text[i] == '\\' && quote != '`':
			i++
		case text[i] == '\n' && quote != '`':
			return i // not Go; the compiler will say so
		}
	}
	return len(text)
}
