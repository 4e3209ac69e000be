//! The capture backends. A backend starts, is read while it runs, and is stopped; after that its ledger is exact.

pub mod batch;
pub mod counters;
pub mod dtr;
pub mod ebpf;
pub mod net_dm;
pub mod replay;
