//! Finds the objects behind the kernel's numbers: network namespaces (cookie, inode number, names) and interfaces.

pub mod devices;
pub mod interfaces;
pub mod netns;
