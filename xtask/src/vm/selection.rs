//! The words by which kernels are selected.

use std::str::FromStr;

use super::kernels::{ARM64, DEFAULT, Series};

/// The series that the table of tested kernels has at least.
pub(crate) const TABLED: [&[Series]; 3] = [&DEFAULT, &[Series::realtime(6, 1), Series::realtime(6, 12)], &ARM64];

/// Which kernels to test on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// A set that covers what differs.
    Default,
    /// As this, with the long tests in turns of eight days.
    Daily,
    /// Only the running one.
    None,
    /// Each series of the archive.
    All,
    /// These series.
    Series(Vec<Series>),
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self::Default),
            "daily" => Ok(Self::Daily),
            "none" => Ok(Self::None),
            "all" => Ok(Self::All),
            list => match list.split(',').map(listed).collect::<Result<Vec<_>, _>>() {
                Ok(series) => Ok(Self::Series(series.concat())),
                Err(error) => Err(format!("none of default, daily, none, all, arm64, and {error}")),
            },
        }
    }
}

/// The series that a word of a list stands for.
fn listed(word: &str) -> Result<Vec<Series>, String> {
    match word {
        "default" => Ok(DEFAULT.to_vec()),
        "arm64" => Ok(ARM64.to_vec()),
        series => Ok(vec![series.parse()?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_selected_by_series() {
        assert_eq!("default".parse(), Ok(Selection::Default));
        let series = vec![Series::cloud(6, 1), Series::realtime(6, 12)];
        assert_eq!("6.1,6.12-rt".parse(), Ok(Selection::Series(series)));
        assert!("6.1,newest".parse::<Selection>().unwrap_err().contains("`newest` is no series"));
        assert_eq!("arm64".parse(), Ok(Selection::Series(ARM64.to_vec())));
        let both = [&DEFAULT[..], &[Series::arm64(6, 12)]].concat();
        assert_eq!("default,6.12-arm64".parse(), Ok(Selection::Series(both)));
        assert!("".parse::<Selection>().is_err());
    }
}
