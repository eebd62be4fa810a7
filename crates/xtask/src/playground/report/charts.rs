//! The parts of charts, as SVG: scales, axes, bars and lines. Colours are classes, which the page's style sheet defines
//! for both colour schemes. The attribute `data-tip` contains the text that is shown when the pointer is over an
//! element.

use std::fmt::Write;

use maud::{Markup, Render, html};

/// A coordinate in pixels, written with one decimal.
pub(super) struct Px(pub(super) f64);

impl Render for Px {
    fn render_to(&self, buffer: &mut String) {
        let rounded = (self.0 * 10.0).round() / 10.0;
        // Writing to a string does not fail.
        let _ = write!(buffer, "{}", if rounded == 0.0 { 0.0 } else { rounded });
    }
}

/// Formats a number with its thousands separated by narrow spaces, and `decimals` decimals.
pub(super) fn grouped(number: f64, decimals: usize) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.decimals$}", number.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut result = String::new();
    if number < 0.0 {
        result.push('−');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            result.push('\u{202f}');
        }
        result.push(digit);
    }
    if !fraction.is_empty() {
        result.push('.');
        result.push_str(fraction);
    }
    result
}

/// Formats a number for an axis, without unnecessary decimals.
pub(super) fn short(number: f64) -> String {
    let decimals = if number.abs() >= 1.0 || number == 0.0 {
        0
    } else {
        (-number.abs().log10()).ceil() as usize
    };
    let fraction = (number * 10.0).round() / 10.0 != number.round() && number.abs() < 10.0;
    grouped(number, if fraction && decimals == 0 { 1 } else { decimals })
}

/// Maps values to pixels.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    pixels: (f64, f64),
    is_log: bool,
}

impl Scale {
    /// Creates a linear scale. `from` and `to` are at the two pixels.
    pub(super) fn linear(from: f64, to: f64, pixels: (f64, f64)) -> Self {
        let to = if to > from { to } else { from + 1.0 };
        Self {
            from,
            to,
            pixels,
            is_log: false,
        }
    }

    /// Creates a logarithmic scale for positive values. `from` and `to` are at the two pixels.
    pub(super) fn log(from: f64, to: f64, pixels: (f64, f64)) -> Self {
        let from = if from > 0.0 { from } else { 1.0 };
        let to = if to > from { to } else { from * 10.0 };
        Self {
            from,
            to,
            pixels,
            is_log: true,
        }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        let transform = |value: f64| {
            if self.is_log {
                value.max(self.from).log10()
            } else {
                value
            }
        };
        let (from, to) = (transform(self.from), transform(self.to));
        let share = (transform(value) - from) / (to - from);
        self.pixels.0 + share.clamp(0.0, 1.0) * (self.pixels.1 - self.pixels.0)
    }

    /// Returns about `count` round values, or the powers of ten on a logarithmic scale.
    pub(super) fn ticks(&self, count: usize) -> Vec<f64> {
        if self.is_log {
            let powers = self.from.log10().ceil() as i32..=self.to.log10().floor() as i32;
            return powers.map(|power| 10f64.powi(power)).collect();
        }
        let rough = (self.to - self.from) / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(10.0 * power);
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }
}

/// The area of a chart and the space around it for labels.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Frame {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            left: 46.0,
            // Space for half of a label.
            right: 22.0,
            top: 26.0,
            bottom: 42.0,
        }
    }

    pub(super) fn x(&self) -> (f64, f64) {
        (self.left, self.width - self.right)
    }

    /// Returns the y coordinates from the bottom to the top.
    pub(super) fn y(&self) -> (f64, f64) {
        (self.height - self.bottom, self.top)
    }

    /// Draws the whole chart; `label` describes it for screen readers.
    pub(super) fn svg(&self, label: &str, content: &Markup) -> Markup {
        let view = format!("0 0 {} {}", self.width, self.height);
        html! {
            svg viewBox=(view) width=(self.width) height=(self.height) role="img" aria-label=(label) {
                (content)
            }
        }
    }

    /// Draws horizontal grid lines with their values, and the axis title above them.
    pub(super) fn y_axis(&self, scale: &Scale, title: &str) -> Markup {
        html! {
            @for value in scale.ticks(5) {
                line.grid x1=(Px(self.left)) x2=(Px(self.width - self.right)) y1=(Px(scale.at(value))) y2=(Px(scale.at(value))) {}
                text.tick x=(Px(self.left - 6.0)) y=(Px(scale.at(value) + 4.0)) text-anchor="end" { (short(value)) }
            }
            text.axis x="2" y="11" { (title) }
        }
    }

    /// Draws values below the chart, and the axis title below them.
    pub(super) fn x_axis(&self, scale: &Scale, title: &str) -> Markup {
        let labels: Vec<_> = scale
            .ticks(6)
            .into_iter()
            .map(|value| (scale.at(value), short(value)))
            .collect();
        self.x_labels(&labels, title)
    }

    /// Draws labels at pixels below the chart, and the axis title below them.
    pub(super) fn x_labels(&self, labels: &[(f64, String)], title: &str) -> Markup {
        let y = self.height - self.bottom;
        html! {
            line.base x1=(Px(self.left)) x2=(Px(self.width - self.right)) y1=(Px(y)) y2=(Px(y)) {}
            @for (x, label) in labels {
                text.tick x=(Px(*x)) y=(Px(y + 19.0)) text-anchor="middle" { (label) }
            }
            text.axis x=(Px((self.left + self.width - self.right) / 2.0)) y=(Px(self.height - 5.0)) text-anchor="middle" { (title) }
        }
    }
}

/// Draws a rectangle from one corner to the opposite one.
pub(super) fn bar(class: &str, (x1, x2): (f64, f64), (y1, y2): (f64, f64), tip: &str) -> Markup {
    html! {
        rect class=(class) x=(Px(x1.min(x2))) y=(Px(y1.min(y2))) width=(Px((x2 - x1).abs())) height=(Px((y2 - y1).abs()))
            data-tip=(tip) {}
    }
}

/// Draws a point.
pub(super) fn dot(class: &str, (x, y): (f64, f64), radius: f64, tip: &str) -> Markup {
    html! { circle class=(class) cx=(Px(x)) cy=(Px(y)) r=(Px(radius)) data-tip=(tip) {} }
}

/// Draws a line through the points.
pub(super) fn line(class: &str, points: &[(f64, f64)]) -> Markup {
    let mut list = String::new();
    for &(x, y) in points {
        Px(x).render_to(&mut list);
        list.push(',');
        Px(y).render_to(&mut list);
        list.push(' ');
    }
    html! { polyline class=(class) points=(list.trim_end()) {} }
}

/// Draws a legend with the names of the colours.
pub(super) fn legend(entries: &[(&str, &str)]) -> Markup {
    html! {
        p.legend {
            @for (class, name) in entries { span { i class=(class) {} (name) } }
        }
    }
}

/// Draws horizontal bars with names on the left and values on the right.
pub(super) fn bars(width: f64, label: &str, class: &str, entries: &[(String, f64, String)]) -> Markup {
    const ROW: f64 = 22.0;
    const CHARACTER: f64 = 6.8;
    let longest = entries
        .iter()
        .map(|(name, ..)| name.chars().count())
        .max()
        .unwrap_or(0);
    let value = entries
        .iter()
        .map(|(_, _, value)| value.chars().count())
        .max()
        .unwrap_or(0);
    let mut frame = Frame::new(width, ROW * entries.len().max(1) as f64 + 4.0);
    frame.left = longest as f64 * CHARACTER + 10.0;
    frame.right = value as f64 * CHARACTER + 8.0;
    let most = entries.iter().map(|&(_, number, _)| number).fold(0.0, f64::max);
    let scale = Scale::linear(0.0, most, frame.x());
    frame.svg(
        label,
        &html! {
            @for (index, (name, number, value)) in entries.iter().enumerate() {
                @let y = index as f64 * ROW + 3.0;
                text.name x=(Px(frame.left - 8.0)) y=(Px(y + 13.0)) text-anchor="end" { (name) }
                (bar(class, (frame.left, scale.at(*number)), (y, y + ROW - 5.0), &format!("{name}: {value}")))
                text.tick x=(Px(scale.at(*number) + 5.0)) y=(Px(y + 13.0)) { (value) }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567.0, 0), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(-123.456, 2), "−123.46");
        assert_eq!(grouped(f64::NAN, 0), "–");
        assert_eq!(short(0.5), "0.5");
        assert_eq!(short(2.5), "2.5");
        assert_eq!(short(0.001), "0.001");
        assert_eq!(short(20_000.0), "20\u{202f}000");
    }

    #[test]
    fn scales_map_both_ends_and_stay_within_them() {
        let linear = Scale::linear(0.0, 50.0, (10.0, 110.0));
        assert_eq!(
            (linear.at(0.0), linear.at(25.0), linear.at(80.0)),
            (10.0, 60.0, 110.0)
        );
        assert_eq!(linear.ticks(5), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        let log = Scale::log(1.0, 1_000.0, (0.0, 300.0));
        assert_eq!(
            (log.at(0.0), log.at(10.0).round(), log.at(1_000.0)),
            (0.0, 100.0, 300.0)
        );
        assert_eq!(log.ticks(5), [1.0, 10.0, 100.0, 1_000.0]);
        // Even without data, there is a valid scale.
        assert!(Scale::linear(0.0, 0.0, (0.0, 1.0)).at(0.0).is_finite());
        assert!(Scale::log(0.0, 0.0, (0.0, 1.0)).at(0.0).is_finite());
    }
}
