//! One series of an answer.

/// Labels and figures. It is filled again for each series of an answer, so that a fleet's answer takes the memory of
/// one.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// Names and values of labels, one after another.
    pub(super) text: String,
    /// Where in the text each name and each value ends.
    pub(super) ends: Vec<(usize, usize)>,
    /// Its figures; an instant has one.
    pub(super) points: Vec<Point>,
}

/// A figure at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Seconds since the Unix epoch.
    pub(super) at: f64,
    /// The figure; engines know "not a number" and infinities.
    pub(super) value: f64,
}

impl Series {
    /// The value of a label; empty where there is none, as engines see it.
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

    /// The figure of an instant.
    pub(super) fn value(&self) -> f64 {
        self.points.last().map_or(f64::NAN, |point| point.value)
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.points.clear();
    }
}
