// Package plot draws lines over time as SVG pictures. It is the only importer of
// the plotting library.
package plot

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Picture is one diagram.
type Picture struct {
	Title string
	X, Y  string // what the axes show, with units
	Lines []Line
	Marks []Mark
}

// Line is one value over X.
type Line struct {
	Name   string
	Points []Point
}

// Point is a value of a line.
type Point struct{ X, Y float64 }

// Mark says what happened at an X.
type Mark struct {
	X    float64
	Text string
}

// Sizes of a picture.
const (
	width, height = 8 * vg.Inch, 3.6 * vg.Inch
	inLegend      = 8 // lines; with more, the legend would hide them
	inText        = 4 // marks; with more, their texts would hide each other
)

// SVG writes p to w. It returns an error if there is nothing to draw, or w fails.
func (p *Picture) SVG(w io.Writer) error {
	if len(p.Lines) == 0 {
		return errors.New("plot: there is no line to draw")
	}
	diagram := plot.New()
	diagram.Title.Text = p.Title
	diagram.Title.Padding = vg.Points(6)
	for _, f := range []*font.Font{
		&diagram.Title.TextStyle.Font, &diagram.X.Label.TextStyle.Font, &diagram.Y.Label.TextStyle.Font,
		&diagram.X.Tick.Label.Font, &diagram.Y.Tick.Label.Font, &diagram.Legend.TextStyle.Font,
	} {
		f.Variant, f.Size = "Sans", vg.Points(10) // browsers have a sans of these widths
	}
	diagram.X.Label.Text, diagram.Y.Label.Text = p.X, p.Y
	diagram.X.Tick.Marker, diagram.Y.Tick.Marker = round{}, round{}
	diagram.X.Min, diagram.Y.Min = 0, 0
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	diagram.Add(grid)
	for i, l := range p.Lines {
		if err := addLine(diagram, i, l, len(p.Lines)); err != nil {
			return err
		}
	}
	diagram.Y.Max *= 1.15 // room for the marks
	if len(p.Lines) <= inLegend {
		diagram.X.Max *= 1.15 // room for the legend
	}
	if err := p.addMarks(diagram); err != nil {
		return err
	}
	diagram.Legend.XOffs, diagram.Legend.YOffs, diagram.Legend.Padding = -vg.Points(6), vg.Points(6), vg.Points(3)
	canvas := vgsvg.New(width, height)
	diagram.Draw(draw.New(canvas))
	if _, err := canvas.WriteTo(w); err != nil {
		return fmt.Errorf("plot: write: %w", err)
	}
	return nil
}

func addLine(diagram *plot.Plot, i int, l Line, all int) error {
	points := make(plotter.XYs, len(l.Points))
	for j, at := range l.Points {
		points[j] = plotter.XY{X: at.X, Y: at.Y}
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return fmt.Errorf("plot: line %q: %w", l.Name, err)
	}
	line.Color, line.Width = plotutil.Color(i), vg.Points(1.3)
	line.Dashes = plotutil.Dashes(i / len(plotutil.DefaultColors))
	diagram.Add(line)
	if all <= inLegend {
		diagram.Legend.Add(l.Name, line)
	}
	return nil
}

// addMarks draws a vertical line at each mark, and says what it is.
func (p *Picture) addMarks(diagram *plot.Plot) error {
	labels := plotter.XYLabels{}
	for _, m := range p.Marks {
		line, err := plotter.NewLine(plotter.XYs{{X: m.X, Y: 0}, {X: m.X, Y: diagram.Y.Max}})
		if err != nil {
			return fmt.Errorf("plot: mark %q: %w", m.Text, err)
		}
		line.Color, line.Dashes = color.Gray{Y: 0x90}, []vg.Length{vg.Points(2), vg.Points(3)}
		diagram.Add(line)
		below := 0.055 * float64(len(labels.XYs)%2) // so that neighbours do not overlap
		labels.XYs = append(labels.XYs, plotter.XY{X: m.X, Y: diagram.Y.Max * (1 - below)})
		labels.Labels = append(labels.Labels, " "+m.Text)
	}
	if len(p.Marks) == 0 || len(p.Marks) > inText {
		return nil
	}
	texts, err := plotter.NewLabels(labels)
	if err != nil {
		return fmt.Errorf("plot: marks: %w", err)
	}
	for i := range texts.TextStyle {
		texts.TextStyle[i].YAlign = text.YTop
		texts.TextStyle[i].Font.Variant, texts.TextStyle[i].Font.Size = "Sans", vg.Points(8.5)
	}
	diagram.Add(texts)
	return nil
}

// round has ticks at about five round numbers, written without exponents.
type round struct{}

// Ticks implements [plot.Ticker].
func (round) Ticks(least, most float64) []plot.Tick {
	width := most - least
	if width <= 0 || math.IsInf(width, 0) || math.IsNaN(width) {
		return nil
	}
	unit := math.Pow(10, math.Floor(math.Log10(width/3)))
	if width/unit > 6 { // it is below 30
		unit *= 5
	}
	var ticks []plot.Tick
	for at := math.Ceil(least/unit) * unit; at <= most; at += unit {
		ticks = append(ticks, plot.Tick{Value: at, Label: strconv.FormatFloat(at, 'f', -1, 64)})
	}
	return ticks
}
