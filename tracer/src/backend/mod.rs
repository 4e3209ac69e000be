//! The ears on the kernel. A source starts, is read while it runs, and is stopped; then its account is exact.

pub mod counters;
pub mod ebpf;
pub mod net_dm;
pub mod replay;
