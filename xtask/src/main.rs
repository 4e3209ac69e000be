//! Builds, runs and tests droptrace.
fn main() {}
