// Package svg draws the bench's figures: lines over an axis, and bars. The picture adapts
// to a light or a dark page by itself (prefers-color-scheme), and holds nothing but text
// and shapes.
package svg

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Point is a measured point; Low and High are its spread, 0 for none.
type Point struct{ X, Y, Low, High float64 }

// Line is a series of points.
type Line struct {
	Name   string
	Points []Point
}

// Lines is a chart of lines.
type Lines struct {
	Title string
	X, Y  string // what the axes show, with the unit
	Lines []Line
	Note  string // where it was measured
}

// Bar is one bar.
type Bar struct {
	Name      string
	Value     float64
	Low, High float64 // its spread, 0 for none
	Group     string  // bars of a group stand together under its name
	Text      string  // beside the bar
}

// Bars is a chart of horizontal bars.
type Bars struct {
	Title string
	X     string // what the bars show, with the unit
	Bars  []Bar
	Note  string
}

// colours can be told apart by people who see fewer of them (Okabe and Ito), on light and
// dark.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

const (
	width  = 760
	left   = 70
	right  = 180
	top    = 50
	bottom = 70
)

// canvas collects elements.
type canvas struct{ bytes.Buffer }

func (c *canvas) begin(height int, title string) {
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" font-family="system-ui, sans-serif" font-size="13">
<title>%s</title>
<style>
  svg { --ink: #1f2328; --faint: #d0d7de; --paper: #ffffff }
  @media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --faint: #3d444d; --paper: #0d1117 } }
  text { fill: var(--ink) } .axis { stroke: var(--ink) } .grid { stroke: var(--faint) } .paper { fill: var(--paper) } .small { font-size: 11px }
</style>
<rect class="paper" width="%d" height="%d"/>
`, width, height, escape(title), width, height)
	c.text(left, 26, "start", "", title, 16)
}

func (c *canvas) text(x, y float64, anchor, class, text string, size int) {
	fmt.Fprintf(c, `<text x="%s" y="%s" text-anchor="%s"`, num(x), num(y), anchor)
	if class != "" {
		fmt.Fprintf(c, ` class="%s"`, class)
	}
	if size > 0 {
		fmt.Fprintf(c, ` font-size="%d"`, size)
	}
	fmt.Fprintf(c, ">%s</text>\n", escape(text))
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(c, `<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`+"\n", num(x1), num(y1), num(x2), num(y2), class)
}

// Write draws the chart.
func (l Lines) Write(w io.Writer) error {
	const height = 430
	var c canvas
	c.begin(height, l.Title)
	var mostX, mostY float64
	for _, line := range l.Lines {
		for _, p := range line.Points {
			mostX, mostY = max(mostX, p.X), max(mostY, p.Y, p.High)
		}
	}
	stepX, topX := ticks(mostX)
	stepY, topY := ticks(mostY)
	if mostX > 0 && topX > 1.15*mostX {
		topX = mostX // the last mark may be missing
	}
	px := func(x float64) float64 { return left + x/topX*(width-left-right) }
	py := func(y float64) float64 { return height - bottom - y/topY*(height-top-bottom) }
	for y := 0.0; y <= topY*1.0001; y += stepY {
		c.line(left, py(y), width-right, py(y), "grid")
		c.text(left-8, py(y)+4, "end", "", label(y), 0)
	}
	for x := 0.0; x <= topX*1.0001; x += stepX {
		c.line(px(x), py(0), px(x), py(0)+5, "axis")
		c.text(px(x), py(0)+20, "middle", "", label(x), 0)
	}
	c.line(left, py(0), width-right, py(0), "axis")
	c.text((left+width-right)/2, height-30, "middle", "", l.X, 0)
	fmt.Fprintf(&c, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, escape(l.Y))
	type end struct {
		y    float64
		n    int
		name string
	}
	var ends []end
	for n, line := range l.Lines {
		colour := colours[n%len(colours)]
		var path []string
		for _, p := range line.Points {
			path = append(path, num(px(p.X))+","+num(py(p.Y)))
			if p.High > p.Low {
				fmt.Fprintf(&c, `<line x1="%s" y1="%s" x2="%s" y2="%s" stroke="%s"/>`+"\n", num(px(p.X)), num(py(p.Low)), num(px(p.X)), num(py(p.High)), colour)
			}
			fmt.Fprintf(&c, `<circle cx="%s" cy="%s" r="3" fill="%s"/>`+"\n", num(px(p.X)), num(py(p.Y)), colour)
		}
		fmt.Fprintf(&c, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour)
		if last := len(line.Points) - 1; last >= 0 {
			ends = append(ends, end{py(line.Points[last].Y), n, line.Name})
		}
	}
	slices.SortFunc(ends, func(a, b end) int { return int(math.Copysign(1, a.y-b.y)) })
	for i := range ends { // names do not cover each other
		if i > 0 {
			ends[i].y = max(ends[i].y, ends[i-1].y+16)
		}
		fmt.Fprintf(&c, `<rect x="%d" y="%s" width="10" height="10" fill="%s"/>`+"\n", width-right+10, num(ends[i].y-5), colours[ends[i].n%len(colours)])
		c.text(width-right+25, ends[i].y+4, "start", "", ends[i].name, 0)
	}
	return c.end(w, height, l.Note)
}

// Write draws the chart.
func (b Bars) Write(w io.Writer) error {
	const row, gap, begin = 20, 34, 210
	var c, body canvas
	most := 0.0
	for _, bar := range b.Bars {
		most = max(most, bar.Value, bar.High)
	}
	step, topX := ticks(most)
	px := func(x float64) float64 { return begin + x/topX*(width-begin-90) }
	y, group := float64(top), ""
	colour := map[string]int{}
	for _, bar := range b.Bars {
		if bar.Group != group {
			group = bar.Group
			y += gap - 10
			body.text(left-50, y-4, "start", "", group, 0)
		}
		if _, ok := colour[bar.Name]; !ok {
			colour[bar.Name] = len(colour)
		}
		body.text(begin-8, y+14, "end", "small", bar.Name, 0)
		fmt.Fprintf(&body, `<rect x="%d" y="%s" width="%s" height="%d" fill="%s"/>`+"\n", begin, num(y+2), num(px(bar.Value)-begin), row-4, colours[colour[bar.Name]%len(colours)])
		if bar.High > bar.Low {
			body.line(px(bar.Low), y+row/2, px(bar.High), y+row/2, "axis")
		}
		body.text(px(max(bar.Value, bar.High))+6, y+14, "start", "small", bar.Text, 0)
		y += row
	}
	height := int(y) + bottom
	c.begin(height, b.Title)
	for x := 0.0; x <= topX*1.0001; x += step {
		c.line(px(x), top, px(x), y, "grid")
		c.text(px(x), y+18, "middle", "", label(x), 0)
	}
	c.Write(body.Bytes())
	c.text((begin+width-90)/2, y+38, "middle", "", b.X, 0)
	return c.end(w, height, b.Note)
}

func (c *canvas) end(w io.Writer, height int, note string) error {
	c.text(width-10, float64(height-8), "end", "small", note, 0)
	c.WriteString("</svg>\n")
	_, err := w.Write(c.Bytes())
	return err
}

// ticks are the distance of an axis's marks, and its end, for values up to most.
func ticks(most float64) (step, end float64) {
	if most <= 0 || math.IsNaN(most) || math.IsInf(most, 0) {
		return 1, 1
	}
	power := math.Pow(10, math.Floor(math.Log10(most/5)))
	for _, m := range []float64{1, 2, 5, 10} {
		if step = m * power; step*6 >= most {
			break
		}
	}
	return step, step * math.Ceil(most/step*0.9999)
}

// label is a number at an axis.
func label(x float64) string {
	if x >= 1000 {
		text := strconv.FormatFloat(x, 'f', 0, 64)
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		return text
	}
	return strconv.FormatFloat(math.Round(x*1e6)/1e6, 'f', -1, 64)
}

// num is a coordinate.
func num(x float64) string { return strconv.FormatFloat(math.Round(x*10)/10, 'f', -1, 64) }

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}
