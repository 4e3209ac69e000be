//! What a snapshot needs beside the report.

use crate::dimension::Dimensions;
use crate::filter::Filter;
use crate::identity::devices::Device;
use crate::run::{CaptureBackend, UnavailableBackends};

/// Facts that a report does not contain.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'f> {
    /// An identifier that distinguishes this machine from others with its name ([`super::machine`]).
    pub(crate) machine: Option<String>,
    /// The GNU build id of the kernel.
    pub(crate) build_id: Option<String>,
    /// Devices of the network namespace that droptrace runs in.
    pub(crate) devices: &'f [Device],
    /// Inode number of that namespace; 0 if it is unknown.
    pub(crate) own_netns: u32,
    /// The capture backend.
    pub(crate) backend: CaptureBackend,
    /// Backends of a better rank that are not available.
    pub(crate) unavailable: &'f UnavailableBackends,
    /// The filter that selected the drops; absent for all drops.
    pub(crate) filter: Option<&'f Filter>,
    /// The dimensions of owners that rows have; absent for rows without owners.
    pub(crate) owners: Option<&'f Dimensions>,
}
