//! Why something is not available, and what makes it available.

use std::error::Error;
use std::fmt;

/// The cause and the remedy, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The cause: what is missing, or what the system answered.
    pub cause: String,
    /// What to do; absent where no remedy is known.
    pub remedy: Option<String>,
}

impl Unavailable {
    /// With a remedy.
    pub fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: Some(remedy.into()) }
    }

    /// An error and its sources, separated by colons; without a known remedy.
    pub fn of(error: &dyn Error) -> Self {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            cause = format!("{cause}: {error}");
            source = error.source();
        }
        Self { cause, remedy: None }
    }

    /// Without a known remedy.
    pub fn because(cause: impl fmt::Display) -> Self {
        Self { cause: cause.to_string(), remedy: None }
    }
}

/// The cause, and the remedy on the same line, or on the next line where the cause has several lines.
impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, remedy } = self;
        let separator = if cause.contains('\n') { "\n  remedy: " } else { "; " };
        match remedy {
            Some(remedy) => write!(f, "{cause}{separator}{remedy}"),
            None => f.write_str(cause),
        }
    }
}

impl Error for Unavailable {}

#[cfg(test)]
mod tests {
    use super::Unavailable;

    #[test]
    fn the_remedy_follows_the_cause() {
        assert_eq!(Unavailable::new("no BTF", "mount /sys").to_string(), "no BTF; mount /sys");
        assert_eq!(Unavailable::new("two\n  causes", "one").to_string(), "two\n  causes\n  remedy: one");
        assert_eq!(Unavailable::because("refused").to_string(), "refused");
    }
}
