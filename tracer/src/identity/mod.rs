//! Finds the objects behind the kernel's numbers: network namespaces (cookie, inode number, names), interfaces, cgroups
//! (id, path) and their owners (containers, pods, units of systemd).

pub mod cgroup;
pub mod container;
pub mod devices;
#[cfg(test)]
mod fixture;
pub mod interfaces;
pub mod netns;
pub mod pods;
mod recent;
pub mod stores;
mod text;
