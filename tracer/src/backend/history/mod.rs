//! The history that an agent keeps on disk, so that a run can be of the past: how many packets were dropped in each interval
//! between two readings of the totals, by aggregation key, with the ledger of the interval, and some single drops.
//!
//! `frame` has the form of files, `body` what is in a frame, `name` and `folder` the files, and `read` finds the intervals of a
//! time span. [`crate::sink::history`] writes. `docs/reference/history.md` describes the files.

#[cfg_attr(not(any(test, feature = "agent")), expect(dead_code, reason = "only the agent writes a history"))]
mod body;
#[cfg_attr(not(any(test, feature = "agent")), expect(dead_code, reason = "only the agent writes a history"))]
mod folder;
#[cfg_attr(not(any(test, feature = "agent")), expect(dead_code, reason = "only the agent writes a history"))]
mod frame;
mod name;
mod read;

pub(crate) use body::Interval;
#[cfg(feature = "agent")]
pub(crate) use body::{Document, Numbers, OverflowLine, SCHEMA, SourceLine};
#[cfg(feature = "agent")]
pub(crate) use folder::{Folder, Limits};
pub(crate) use frame::resealed;
#[cfg(feature = "agent")]
pub(crate) use frame::sealed;
pub(crate) use read::{History, Read, intervals};

/// The folder of the packaged agent.
pub(crate) const DEFAULT_FOLDER: &str = "/var/lib/droptrace/history";
