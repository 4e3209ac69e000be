//! Facts read from the running kernel: the offsets of fields in its structures, the names of its numbers and addresses,
//! its clock, its modules, and the capabilities of this process.
//!
//! Everything comes from the kernel that runs now (BTF, `/proc`, `/sys`), never from a table by version.

pub mod btf;
pub(crate) mod build_id;
pub mod clock;
pub(crate) mod modules;
pub(crate) mod own_netlink;
pub(crate) mod privileges;
pub mod reasons;
pub(crate) mod running;
pub(crate) mod support;
pub mod symbols;
pub(crate) mod timens;
