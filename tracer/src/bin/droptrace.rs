//! `droptrace`: counts and shows the packets that this kernel drops.
fn main() {}
