//! The options of `agent` for pushes in a build without the feature `otlp`: there are none.

use std::path::Path;

use clap::Args;

pub(super) const EXAMPLES: &str = "";

/// No options.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OtlpOptions {}

#[expect(clippy::unused_self, reason = "as with the feature `otlp`")]
impl OtlpOptions {
    /// These, and for what they leave open, those.
    #[must_use]
    pub(crate) fn or(self, _other: Self) -> Self {
        self
    }

    /// What differs from `before` and cannot change while an agent runs, by name.
    pub(crate) fn fixed(&self, _before: &Self) -> [(&'static str, bool); 0] {
        []
    }

    /// What counts when these are followed by `new` ones while an agent runs.
    #[must_use]
    pub(crate) fn reloaded(&self, new: Self) -> Self {
        new
    }

    /// With its files looked for in `folder`.
    #[must_use]
    pub(crate) fn within(self, _folder: &Path) -> Self {
        self
    }
}
