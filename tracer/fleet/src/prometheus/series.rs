//! One series of an answer.

/// Labels and points. The value is reused for each series of an answer, of which the reader of the answer keeps what it
/// needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    /// Names and values of labels, one after another.
    pub(super) text: String,
    /// The ends in the text of each name and each value.
    pub(super) ends: Vec<(usize, usize)>,
    /// The points; an instant query has one.
    pub(super) points: Vec<Point>,
}

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Seconds since the Unix epoch.
    pub(super) at: f64,
    /// The value, which may be not a number, or infinite.
    pub(super) value: f64,
}

impl Series {
    /// The value of a label; empty if there is no such label, as in `PromQL`.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels().find(|(other, _)| *other == name).map_or("", |(_, value)| value)
    }

    /// Names and values of all labels.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name, value)| {
            let label = (&self.text[start..name], &self.text[name..value]);
            start = value;
            label
        })
    }

    /// The value of an instant query.
    pub(super) fn value(&self) -> f64 {
        self.points.last().map_or(f64::NAN, |point| point.value)
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.points.clear();
    }
}
