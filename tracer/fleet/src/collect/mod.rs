//! Snapshots from hosts: each host is asked through ssh or kubectl, many at a time, and each answer becomes a file.
//!
//! A host may lie, hang or flood: its answer has a bound of time and of bytes, the name of its file is the one that the
//! operator gave to the host, and its text is only shown in visible characters.

mod all;
mod ask;
mod child;
mod fetch;
mod folder;
mod host;
mod kubectl;
mod own;
mod said;
mod ssh;
mod stop;

pub use all::{Collected, Plan, collect};
pub use ask::Ask;
pub use child::{Bounds, RunError};
pub use folder::{Folder, NoFolder};
pub use host::{Host, NoHost};
pub use kubectl::{Kubectl, NoPods};
pub use own::become_program;
pub use ssh::Ssh;
pub use stop::Stop;
