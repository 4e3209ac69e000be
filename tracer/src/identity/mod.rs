//! Finds the objects behind the kernel's numbers: network namespaces (cookie, inode number, names), interfaces, cgroups
//! (id, path).

pub mod cgroup;
pub mod devices;
pub mod interfaces;
pub mod netns;
mod recent;
mod text;
