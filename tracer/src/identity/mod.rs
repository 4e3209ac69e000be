//! Who is behind a number of the kernel: network namespaces (cookie, inode number, names) and interfaces.

pub mod devices;
pub mod interfaces;
pub mod netns;
