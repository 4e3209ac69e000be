//! Facts read from the running kernel: the offsets of fields in its structures, the names of its numbers and addresses,
//! its clock, its modules, and the capabilities of this process.
//!
//! Everything comes from the kernel that runs now (BTF, `/proc`, `/sys`), never from a table by version.

pub mod btf;
pub mod build_id;
pub mod clock;
pub mod modules;
pub mod own_netlink;
pub mod privileges;
pub mod reasons;
pub mod running;
pub mod support;
pub mod symbols;
pub mod timens;
