//! Finds the objects behind the kernel's numbers: network namespaces (cookie, inode number, names), interfaces, cgroups
//! (id, path) and their owners (containers, pods, units of systemd), the processes of sockets,
//! users.

pub mod cgroup;
pub mod container;
pub mod devices;
#[cfg(test)]
mod fixture;
pub mod interfaces;
pub(crate) mod mountinfo;
pub mod netlink_sockets;
pub mod netns;
pub mod owners;
pub mod pods;
pub(crate) mod proc_folder;
pub mod process;
mod recent;
pub mod residents;
mod sockets;
pub mod stores;
mod text;
pub mod users;
