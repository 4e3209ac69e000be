//! Explanations that fit the rows of a run: `row` has the values of a row, `choice` the rows that matter most, `text` writes their
//! explanations, and `recent` keeps packets of each row.

mod choice;
mod recent;
mod row;
mod text;

pub(crate) use choice::Above;
pub(crate) use recent::Recent;
#[cfg(feature = "top")]
pub(crate) use row::{RowValues, row_values};

use std::io::{self, Write};

use crate::backend::ebpf::EventOptions;
use crate::domain::event::DropEvent;
use crate::domain::report::StatReport;
use crate::explain::{Library, MalformedData};

/// The packets of rows: a sample, which costs next to nothing in a storm.
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
pub(crate) const SAMPLED_PACKETS: EventOptions =
    EventOptions { snaplen: recent::BYTES as u32, rate: 0, ring_size: 1 << 20, stacks: false, one_in: 1_024 };

/// The explanations of a run, and packets of its rows.
#[derive(Debug)]
pub(crate) struct Explained {
    library: Library,
    recent: Recent,
}

impl Explained {
    /// Reads the explanations. An error is a fault of droptrace.
    pub(crate) fn new() -> Result<Self, MalformedData> {
        Ok(Self { library: Library::built_in()?, recent: Recent::default() })
    }

    /// Keeps the packet of a drop.
    pub(crate) fn add(&mut self, event: &DropEvent<'_>) {
        self.recent.add(event);
    }

    /// Writes what the rows of a report mean that matter most, with their values in the commands, and says what is left out.
    /// `report` has the aggregation keys of the drops in the results `above`; `netns` is the namespace that the run was asked
    /// for, and `width` is in columns.
    pub(crate) fn write(
        &self,
        out: &mut impl Write,
        report: &StatReport,
        above: Above<'_>,
        netns: Option<&str>,
        width: usize,
    ) -> io::Result<()> {
        let run = text::Run { report, above, recent: &self.recent, netns };
        text::write_explained(out, &run, &self.library, width)
    }
}
