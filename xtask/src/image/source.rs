//! The commit that an image is made of.

use std::process::Command;

use crate::support::cargo;

/// The version of all packages of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What names an image, and the time of all its files, so that an image of a commit is the same whenever it is made.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) version: String,
    /// Seconds since the epoch; 0 without git.
    pub(super) time: u64,
    /// The same time as RFC 3339 has it.
    pub(super) created: String,
    /// The commit; absent without git.
    pub(super) revision: Option<String>,
}

impl Source {
    pub(super) fn of_this_checkout() -> Self {
        let time = git("%ct").and_then(|text| text.parse().ok());
        // With the variable, `format-local` shows UTC.
        let created = git("%cd").filter(|_| time.is_some()).unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned());
        Self { version: VERSION.to_owned(), time: time.unwrap_or(0), created, revision: git("%H") }
    }
}

/// A fact of the last commit.
fn git(format: &str) -> Option<String> {
    let mut git = Command::new("git");
    git.current_dir(cargo::root()).env("TZ", "UTC0");
    let options = ["log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"];
    let output = git.args(options).arg(format!("--format={format}")).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
