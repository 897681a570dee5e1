package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Options say how a report is shown.
type Options struct {
	Color bool // with terminal colours
	ASCII bool // nothing but ASCII in what the renderer itself adds
	Width int  // columns; 0 is 80
}

// Text is r as a person reads it: what should have happened, what the test did,
// what was seen, what that points to. It ends with a newline.
func Text(r Report, o Options) string {
	p := page{Options: o}
	if p.Width < 40 {
		p.Width = 80
	}
	p.line(0, p.paint(p.label(r.Outcome))+"  "+p.bold(title(r)))
	p.line(0, "")
	p.wrap(2, r.Problem)
	if len(r.Story) > 0 {
		p.heading("What the test did")
		p.story(r.Story)
	}
	if len(r.Evidence) > 0 {
		p.heading("What was seen")
		for _, e := range r.Evidence {
			p.evidence(e)
		}
	}
	if r.Cause != nil {
		p.heading("Likely cause")
		p.wrap(4, fullSentence(r.Cause.Text))
		if r.Cause.Read != "" {
			p.wrap(4, "Read: "+r.Cause.Read)
		}
	}
	return p.b.String()
}

// fullSentence is s with a capital and a full stop; a name that it begins with stays.
func fullSentence(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if r, size := utf8.DecodeRuneInString(s); !strings.ContainsAny(word, "./_()") {
		s = string(unicode.ToUpper(r)) + s[size:]
	}
	if s != "" && !strings.ContainsAny(s[len(s)-1:], ".?!)") {
		s += "."
	}
	return s
}

type page struct {
	Options
	b strings.Builder
}

func (p *page) label(o Outcome) (label, color string) {
	switch o {
	case Failed:
		return "FAILED", Red
	case NotStarted:
		return "NOT STARTED", Yellow
	case Unavailable:
		return "UNAVAILABLE", Blue
	}
	return strings.ToUpper(string(o)), ""
}

var wordStart = regexp.MustCompile(`[a-z0-9][A-Z]|[A-Z][A-Z][a-z]|[a-z][0-9]`)

// title makes "step 4: write interest is disarmed" of the test's name.
func title(r Report) string {
	_, sentence, _ := strings.Cut(r.Test, "_")
	sentence = Sentence(sentence)
	if sentence == "" {
		sentence = r.Test
	}
	switch {
	case !r.Compiles():
		return "it does not compile"
	case r.Step == 0:
		return sentence
	case sentence == "":
		return fmt.Sprintf("step %d", r.Step)
	}
	return fmt.Sprintf("step %d: %s", r.Step, sentence)
}

// methods are words of the contract that are names where a sentence begins with them.
var methods = []string{"New", "Poll", "Send", "Close", "Wake", "Shutdown", "Stats"}

// names are those that a sentence may have anywhere, put together again.
var names = strings.NewReplacer(
	"on open", "OnOpen", "on data", "OnData", "on close", "OnClose",
	"close write", "CloseWrite", "Close write", "CloseWrite",
	"max connections", "MaxConnections", "makes poll return", "makes Poll return")

// Sentence makes words of a name in camel case; words written in capitals and names of
// the contract stay.
func Sentence(name string) string {
	for {
		at := wordStart.FindStringIndex(name)
		if at == nil {
			break
		}
		name = name[:at[0]+1] + " " + name[at[0]+1:]
	}
	words := strings.Fields(strings.ReplaceAll(name, "_", " "))
	for i, w := range words {
		keep := i == 0 && slices.Contains(methods, w)
		if !keep && (utf8.RuneCountInString(w) == 1 || strings.ToUpper(w) != w) {
			words[i] = strings.ToLower(w)
		}
	}
	return names.Replace(strings.Join(words, " "))
}

func (p *page) heading(s string) {
	p.line(0, "")
	p.line(2, p.bold(s))
}

// story shows the actions, numbered, with a mark at the one that went wrong.
func (p *page) story(story []Action) {
	mark, arrow := "›", "→"
	if p.ASCII {
		mark, arrow = ">", "->"
	}
	for i, a := range story {
		m := " "
		if i == len(story)-1 {
			m = mark
		}
		p.wrapAfter(fmt.Sprintf("  %s %2d  ", m, i+1), a.Did)
		if a.Got != "" {
			p.wrapAfter("        "+arrow+" ", a.Got)
		}
	}
}

// evidence shows one line beside its name and several below it. They are not
// wrapped: tables keep their columns.
func (p *page) evidence(e Evidence) {
	text := strings.TrimRight(e.Text, "\n")
	if !strings.Contains(text, "\n") && len(e.Name)+len(text)+6 <= p.Width {
		p.line(4, e.Name+": "+clean(text))
		return
	}
	p.line(4, e.Name+":")
	for line := range strings.SplitSeq(text, "\n") {
		p.line(6, clean(line))
	}
}

func (p *page) line(indent int, s string) {
	if s != "" {
		p.b.WriteString(strings.Repeat(" ", indent) + s)
	}
	p.b.WriteByte('\n')
}

func (p *page) wrap(indent int, s string) { p.wrapAfter(strings.Repeat(" ", indent), s) }

// wrapAfter writes s in lines, the first one after prefix and the others below
// it. Line breaks in s are kept.
func (p *page) wrapAfter(prefix, s string) {
	indent := strings.Repeat(" ", utf8.RuneCountInString(prefix))
	for line := range strings.SplitSeq(strings.TrimRight(s, "\n"), "\n") {
		for _, l := range Wrap(clean(line), p.Width-len(indent)) {
			p.b.WriteString(strings.TrimRight(prefix+l, " ") + "\n")
			prefix = indent
		}
	}
}

// Wrap breaks s into lines of at most width columns, between words.
func Wrap(s string, width int) []string {
	var lines []string
	line, length := "", 0
	for _, w := range strings.Fields(s) {
		n := utf8.RuneCountInString(w)
		if line != "" && length+1+n > width {
			lines = append(lines, line)
			line, length = "", 0
		}
		if line != "" {
			line += " "
			length++
		}
		line += w
		length += n
	}
	return append(lines, line)
}

// clean replaces what would play tricks on a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// Terminal colours, for [Paint].
const (
	Red    = "31"
	Green  = "32"
	Yellow = "33"
	Blue   = "34"
	Bold   = "1"
	Faint  = "2"
)

// Paint gives s a colour, if on is set.
func Paint(on bool, color, s string) string {
	if !on || color == "" || s == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func (p *page) paint(s, color string) string { return Paint(p.Color, color, s) }
func (p *page) bold(s string) string         { return Paint(p.Color, Bold, s) }
