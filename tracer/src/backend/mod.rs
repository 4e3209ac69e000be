//! What reports drops. A backend starts, is read while it runs, and is stopped; then its account is exact.

pub mod batch;
pub mod counters;
pub mod ebpf;
pub mod net_dm;
pub mod replay;
