//! placeholder until the next step
fn main() {}
