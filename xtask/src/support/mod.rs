//! Common parts of the subcommands.

pub(crate) mod apt;
pub(crate) mod architecture;
pub(crate) mod cargo;
pub(crate) mod cross;
pub(crate) mod library;
pub(crate) mod openssh;
// This is a file of the tests' library, which scales time limits in the same way.
#[expect(unreachable_pub, reason = "the file is a public module of the tests' library")]
#[path = "../../../tests/src/pace.rs"]
pub(crate) mod pace;
pub(crate) mod paths;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod python;
pub(crate) mod tally;
pub(crate) mod test_build;
pub(crate) mod victoria_metrics;
