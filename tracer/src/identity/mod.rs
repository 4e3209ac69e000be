//! Finds the objects behind the kernel's numbers: network namespaces (cookie, inode number, names), interfaces, cgroups
//! (id, path) and their owners (containers, pods, units of systemd), the processes of sockets,
//! users.

pub(crate) mod cgroup;
pub(crate) mod container;
pub(crate) mod devices;
pub(crate) mod entrance;
#[cfg(test)]
mod fixture;
pub(crate) mod interfaces;
pub(crate) mod mountinfo;
pub(crate) mod netlink_sockets;
pub mod netns;
pub(crate) mod owners;
pub(crate) mod pods;
pub(crate) mod proc_folder;
pub(crate) mod process;
mod recent;
pub(crate) mod residents;
mod sockets;
pub(crate) mod stores;
mod text;
pub(crate) mod users;
