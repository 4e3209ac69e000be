//! Finds the objects behind the kernel's numbers: network namespaces (cookie, inode number, names), interfaces, cgroups
//! (id, path) and their owners: containers, pods, units.

pub mod cgroup;
pub mod container;
pub mod devices;
pub mod interfaces;
pub mod netns;
pub mod owners;
mod recent;
mod text;
