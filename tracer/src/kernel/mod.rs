//! Facts read from the running kernel: where its structures keep their fields, what its numbers and addresses are
//! called, which namespaces it knows, and what this process may do with it.
//!
//! Everything comes from the kernel that runs now (BTF, `/proc`, `/sys`), never from a table by version.

pub mod btf;
pub mod build_id;
pub mod clock;
pub mod devices;
pub mod interfaces;
pub mod netns;
pub mod own_netlink;
pub mod privileges;
pub mod reasons;
pub mod support;
pub mod symbols;
pub mod timens;
