//! Helpers for the tests of all members.

use std::io::{Write as _, stdout};

/// Reports that a test cannot run here. The message bypasses libtest, which hides the output of a test that passes, so
/// that skipped tests can be counted.
pub fn skipped(test: &str, reason: &str) {
    // The message starts a line of its own, even after the name of the test.
    _ = write!(stdout().lock(), "\nSKIPPED {test}: {reason}\n");
}
