//! The emulated machines that are made for tests.

use std::path::Path;

/// The plan of the tests of such a machine, by which it is known.
pub const PLAN: &str = "/etc/droptrace-vm.json";

/// Whether this is a machine that was made for tests: there, tests may change what is one for the whole machine, and all is
/// slow.
pub fn is_emulated() -> bool {
    Path::new(PLAN).exists()
}
