//! A chart as inline SVG. Colours and dashes are classes, which the page's style sheet knows.

use std::fmt::Write as _;

use super::axis::Axis;
use super::text::escape;
use crate::report::Interval;

/// The size of a chart in its own units, in which text is 12 high.
const SIZE: (f64, f64) = (440.0, 300.0);
/// What lies around the plot: left, right, top, bottom.
const MARGINS: (f64, f64, f64, f64) = (58.0, 14.0, 12.0, 44.0);

/// How many series are told apart by colour and dash.
pub(crate) const SERIES: usize = 6;

/// A chart that is being drawn, from back to front.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    title: String,
    description: String,
    x: Axis,
    y: Axis,
    marks: String,
    keys: Vec<(String, String)>,
}

/// The class of a series by its number, from 0.
pub(crate) fn series(number: usize) -> String {
    format!("s{}", number % SERIES + 1)
}

impl Chart {
    /// An empty chart. The description says in words what the picture shows.
    pub(crate) fn new(title: &str, description: &str, x: Axis, y: Axis) -> Chart {
        Chart {
            title: title.to_owned(),
            description: description.to_owned(),
            x,
            y,
            marks: String::new(),
            keys: Vec::new(),
        }
    }

    fn at_x(&self, x: f64) -> f64 {
        MARGINS.0 + self.x.place(x) * (SIZE.0 - MARGINS.0 - MARGINS.1)
    }

    fn at_y(&self, y: f64) -> f64 {
        MARGINS.2 + (1.0 - self.y.place(y)) * (SIZE.1 - MARGINS.2 - MARGINS.3)
    }

    fn path(&self, points: impl IntoIterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (x, y) in points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", self.at_x(x), self.at_y(y));
        }
        path
    }

    /// A line through points; those that are no numbers are left out.
    pub(crate) fn line(mut self, class: &str, points: &[(f64, f64)]) -> Chart {
        let path = self.path(points.iter().copied());
        let _ = writeln!(self.marks, "<path class=\"line {class}\" d=\"{path}\"/>");
        self
    }

    /// The area between a lower and an upper bound, as (x, low, high).
    pub(crate) fn band(mut self, class: &str, bounds: &[(f64, f64, f64)]) -> Chart {
        let upper = bounds.iter().map(|(x, _, high)| (*x, *high));
        let lower = bounds.iter().rev().map(|(x, low, _)| (*x, *low));
        let path = self.path(upper.chain(lower));
        let _ = writeln!(self.marks, "<path class=\"band {class}\" d=\"{path}Z\"/>");
        self
    }

    /// Bars from the axis up, as (from, to, height).
    pub(crate) fn bars(mut self, class: &str, bars: &[(f64, f64, f64)]) -> Chart {
        let bottom = self.at_y(self.y.low);
        for (from, to, height) in bars {
            let (left, right, top) = (self.at_x(*from), self.at_x(*to), self.at_y(*height));
            let _ = writeln!(
                self.marks,
                "<rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
                 height=\"{:.1}\"/>",
                (right - left - 1.0).max(0.5),
                bottom - top
            );
        }
        self
    }

    /// Dots of this radius; those outside of the chart are left out.
    pub(crate) fn dots(mut self, class: &str, radius: f64, points: &[(f64, f64)]) -> Chart {
        for (x, y) in points.iter().filter(|(x, y)| self.x.holds(*x) && self.y.holds(*y)) {
            let (x, y) = (self.at_x(*x), self.at_y(*y));
            let _ = writeln!(
                self.marks,
                "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"
            );
        }
        self
    }

    /// Upright intervals, as (x, low, high).
    pub(crate) fn whiskers(mut self, class: &str, bounds: &[(f64, f64, f64)]) -> Chart {
        for (x, low, high) in bounds {
            let path = self.path([(*x, *low), (*x, *high)]);
            let _ = writeln!(self.marks, "<path class=\"whisker {class}\" d=\"{path}\"/>");
        }
        self
    }

    /// A part of the horizontal axis that is shaded over the whole height.
    pub(crate) fn zone(mut self, from: f64, to: f64) -> Chart {
        let (left, right) = (self.at_x(from), self.at_x(to));
        let (top, bottom) = (self.at_y(self.y.high), self.at_y(self.y.low));
        let _ = writeln!(
            self.marks,
            "<rect class=\"zone\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"/>",
            right - left,
            bottom - top
        );
        self
    }

    /// Thin upright lines over the whole height, where the axis has these values.
    pub(crate) fn borders<const N: usize>(self, values: [f64; N]) -> Chart {
        let (low, high) = (self.y.low, self.y.high);
        let inside = values.into_iter().filter(|value| self.x.holds(*value)).collect::<Vec<_>>();
        inside.into_iter().fold(self, |chart, x| chart.reference((x, low), (x, high)))
    }

    /// A thin line of reference between two points.
    pub(crate) fn reference(mut self, from: (f64, f64), to: (f64, f64)) -> Chart {
        let path = self.path([from, to]);
        let _ = writeln!(self.marks, "<path class=\"reference\" d=\"{path}\"/>");
        self
    }

    /// Words beside a point, on the side where there is room.
    pub(crate) fn note(mut self, (x, y): (f64, f64), words: &str) -> Chart {
        let is_right = self.x.place(x) > 0.5;
        let (anchor, aside) = if is_right { ("end", -7.0) } else { ("start", 7.0) };
        let below = if self.y.place(y) > 0.85 { 15.0 } else { -7.0 };
        let _ = writeln!(
            self.marks,
            "<text class=\"note\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            self.at_x(x) + aside,
            self.at_y(y) + below,
            escape(words)
        );
        self
    }

    /// Explains a class of marks (`line`, `dot`, `bar`, `band`, `zone` or `reference`, with a
    /// series where it has one) below the chart.
    pub(crate) fn key(mut self, class: &str, words: &str) -> Chart {
        self.keys.push((class.to_owned(), words.to_owned()));
        self
    }

    /// The chart as a figure with its title, its key and a sentence or two below, which are HTML.
    pub(crate) fn figure(&self, caption: &str) -> String {
        let mut figure = format!("<figure>\n<h3>{}</h3>\n", escape(&self.title));
        figure.push_str(&self.svg());
        figure.push_str("<figcaption>\n");
        if !self.keys.is_empty() {
            figure.push_str("<p class=\"keys\">");
            for (class, words) in &self.keys {
                let _ = write!(figure, "<span>{} {}</span> ", swatch(class), escape(words));
            }
            figure.push_str("</p>\n");
        }
        let _ = writeln!(figure, "<p>{caption}</p>\n</figcaption>\n</figure>");
        figure
    }

    fn svg(&self) -> String {
        let mut svg = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\">\n<title>{}</title>\n\
             <desc>{}</desc>\n",
            SIZE.0,
            SIZE.1,
            escape(&self.title),
            escape(&self.description)
        );
        let (left, right) = (self.at_x(self.x.low), self.at_x(self.x.high));
        let (top, bottom) = (self.at_y(self.y.high), self.at_y(self.y.low));
        for (value, label) in self.x.ticks() {
            let x = self.at_x(value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 16.0
            );
        }
        for (value, label) in self.y.ticks() {
            let y = self.at_y(value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 7.0,
                y + 4.0
            );
        }
        svg.push_str(&self.marks);
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\"/>"
        );
        let _ = writeln!(
            svg,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(left, right),
            SIZE.1 - 7.0,
            escape(&self.x.label)
        );
        let middle = f64::midpoint(top, bottom);
        let _ = writeln!(
            svg,
            "<text class=\"label\" x=\"13\" y=\"{middle:.1}\" text-anchor=\"middle\" \
             transform=\"rotate(-90 13 {middle:.1})\">{}</text>\n</svg>",
            escape(&self.y.label)
        );
        svg
    }
}

/// Figures side by side, where the page is wide enough.
pub(crate) fn side_by_side(figures: &[String]) -> String {
    format!("<div class=\"pair\">\n{}</div>\n", figures.concat())
}

/// A sample of a class of marks.
fn swatch(class: &str) -> String {
    let mark = match class.split(' ').next() {
        Some("dot") => format!("<circle class=\"{class}\" cx=\"12\" cy=\"6\" r=\"4\"/>"),
        Some("bar" | "band" | "zone") => {
            format!("<rect class=\"{class}\" x=\"2\" y=\"1\" width=\"20\" height=\"10\"/>")
        }
        _ => format!("<path class=\"{class}\" d=\"M0 6H24\"/>"),
    };
    format!("<svg class=\"swatch\" viewBox=\"0 0 24 12\" aria-hidden=\"true\">{mark}</svg>")
}

/// A mean with its interval on a line of its own, for a cell of a table; a diamond where the best
/// possible lies. The numbers are in the other cells, so it is hidden from who hears the page.
pub(crate) fn strip(
    axis: &Axis,
    width: f64,
    mean: f64,
    interval: Interval,
    best: Option<f64>,
) -> String {
    let at = |value: f64| 5.0 + axis.place(value) * (width - 10.0);
    let mut svg = format!(
        "<svg class=\"strip\" width=\"{width}\" height=\"16\" viewBox=\"0 0 {width} 16\" \
         aria-hidden=\"true\"><path class=\"grid\" d=\"M5 8H{}\"/>",
        width - 5.0
    );
    if axis.low < 0.0 {
        let _ = write!(svg, "<path class=\"reference\" d=\"M{:.1} 1V15\"/>", at(0.0));
    }
    if let Some(best) = best.filter(|best| best.is_finite()) {
        let x = at(best);
        let _ =
            write!(svg, "<path class=\"diamond\" d=\"M{x:.1} 3.5l4.5 4.5l-4.5 4.5l-4.5 -4.5Z\"/>");
    }
    if mean.is_finite() {
        let (low, high) = (at(interval.low), at(interval.high));
        let _ = write!(svg, "<path class=\"whisker s1\" d=\"M{low:.1} 8H{high:.1}\"/>");
        let _ = write!(svg, "<circle class=\"dot s1\" cx=\"{:.1}\" cy=\"8\" r=\"3.5\"/>", at(mean));
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart::new("a < b", "c & d", Axis::share("x"), Axis::new("y", 0.0, 10.0))
    }

    #[test]
    fn places_by_hand() {
        // The plot is 368 wide from 58 on, and 244 high from 12 on.
        let chart = chart().line("s1", &[(0.0, 0.0), (f64::NAN, 3.0), (0.5, 5.0), (2.0, 10.0)]);
        assert_eq!(
            chart.marks,
            "<path class=\"line s1\" d=\"M58.0 256.0L242.0 134.0L426.0 12.0\"/>\n"
        );
    }

    #[test]
    fn what_is_outside_is_no_dot() {
        let chart = chart().dots("s1", 2.0, &[(0.5, 5.0), (0.5, 11.0), (f64::NAN, 1.0)]);
        assert_eq!(chart.marks.matches("<circle").count(), 1);
    }

    #[test]
    fn text_is_escaped() {
        let figure = chart().note((0.9, 9.0), "<i>").key("line s1", "\"k\"").figure("x");
        for text in ["a &lt; b", "c &amp; d", "&lt;i&gt;", "&quot;k&quot;"] {
            assert!(figure.contains(text), "{text} is not in {figure}");
        }
        assert!(!figure.contains("<i>"));
    }
}
