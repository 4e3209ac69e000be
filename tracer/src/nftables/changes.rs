//! Changes of the rules during a run, by the kernel's notifications (`nf_tables_commit`, `net/netfilter/nf_tables_api.c`).
//!
//! The handle of a rule is unique in its table. A table that is deleted and made again, as `flush ruleset` and a reload do,
//! gives the same handles to other rules.

use super::attributes::number;
use super::{HEADER, message};
use crate::netlink::wire::{self, Malformed, Message};

/// `NFTA_TABLE_NAME`, `NFTA_GEN_ID` and `NFTA_GEN_PROC_PID` (`include/uapi/linux/netfilter/nf_tables.h`).
const TABLE_NAME: u16 = 1;
const GENERATION: u16 = 1;
const PROCESS: u16 = 2;
/// The most changes that are remembered. After more, all tables count as changed.
const ROOM: usize = 256;

/// A change of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'m> {
    /// A table was made, changed or deleted.
    Table {
        /// The family of the table.
        family: u8,
        /// The name of the table.
        table: &'m str,
    },
    /// A change of rules is complete.
    Generation {
        /// The kernel's number of the state of the rules, which each change increases by one.
        number: u32,
        /// This process made the change. False if its number is another one in the first PID namespace.
        is_own: bool,
    },
}

impl<'m> Change<'m> {
    /// Reads a message; `None` for one that says nothing of tables and generations.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub(crate) fn parse(message: &Message<'m>) -> Result<Option<Self>, Malformed> {
        let is_table = match message.header.message_type {
            message::NEW_TABLE | message::DELETE_TABLE => true,
            message::NEW_GENERATION => false,
            _ => return Ok(None),
        };
        let short = Malformed("a change without a family");
        let (header, attributes) = message.payload.split_at_checked(HEADER).ok_or(short)?;
        let (mut generation, mut is_own) = (None, false);
        for attribute in wire::attributes(attributes) {
            let attribute = attribute?;
            match attribute.kind {
                TABLE_NAME if is_table => {
                    return Ok(Some(Self::Table { family: header[0], table: attribute.text()? }));
                }
                GENERATION if !is_table => generation = Some(number(&attribute)?),
                PROCESS if !is_table => is_own = number(&attribute)? == std::process::id(),
                _ => {}
            }
        }
        let number = generation.ok_or(Malformed("a change without a name or number"))?;
        Ok(Some(Self::Generation { number, is_own }))
    }
}

/// The changes of a run, in the order in which the kernel reported them among the traces.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    now: u32,
    generation: Option<u32>,
    /// When the last change of unknown tables was.
    everywhere: u32,
    tables: Vec<(u8, Box<str>, u32)>,
    has_lost_messages: bool,
}

impl Changes {
    /// Adds a change.
    pub(crate) fn add(&mut self, change: &Change<'_>) {
        match *change {
            Change::Table { .. } if self.tables.len() == ROOM => self.everywhere(),
            Change::Table { family, table } => {
                self.now += 1;
                self.tables.push((family, table.into(), self.now));
            }
            Change::Generation { number, is_own } => {
                let is_next = self.generation.is_none_or(|last| last.wrapping_add(1) == number);
                if !is_next || (self.has_lost_messages && !is_own) {
                    self.everywhere();
                }
                self.generation = Some(number);
            }
        }
    }

    /// Notes that the socket had no room for messages: any later change may be of any table.
    pub(crate) const fn lost_messages(&mut self) {
        self.has_lost_messages = true;
    }

    /// Notes that any table may have changed.
    pub(crate) fn everywhere(&mut self) {
        self.now += 1;
        self.everywhere = self.now;
        self.tables.clear();
    }

    /// The number of changes of tables so far.
    pub(crate) const fn now(&self) -> u32 {
        self.now
    }

    /// The last reported number of the state of the rules.
    pub(crate) const fn generation(&self) -> Option<u32> {
        self.generation
    }

    /// Which of the tables that had this name one after another there was after the first `at` changes: 0 is that of the
    /// start of the run.
    pub(crate) fn epoch(&self, family: u8, table: &str, at: u32) -> u32 {
        let is_it = |(of, name, when): &&(u8, Box<str>, u32)| (*of, &**name) == (family, table) && *when <= at;
        let everywhere = if self.everywhere <= at { self.everywhere } else { 0 };
        self.tables.iter().rev().find(is_it).map_or(everywhere, |(.., when)| *when)
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkHeader;

    use super::super::INET;
    use super::super::attributes::Body;
    use super::*;

    const TABLE: Change<'static> = Change::Table { family: INET, table: "a" };

    const fn generation(number: u32, is_own: bool) -> Change<'static> {
        Change::Generation { number, is_own }
    }

    fn parsed(message_type: u16, payload: &[u8]) -> Result<Option<Change<'_>>, Malformed> {
        let mut header = NetlinkHeader::default();
        header.message_type = message_type;
        Change::parse(&Message { header, payload, bytes: payload })
    }

    #[test]
    fn notifications_are_changes() {
        let table = Body::of(INET).text(TABLE_NAME, "a").into_bytes();
        assert_eq!(parsed(message::DELETE_TABLE, &table), Ok(Some(TABLE)));
        assert_eq!(parsed(message::NEW_RULE, &table), Ok(None));
        let number = Body::of(0).number(GENERATION, 7);
        let own = number.clone().number(PROCESS, std::process::id()).into_bytes();
        assert_eq!(parsed(message::NEW_GENERATION, &number.into_bytes()), Ok(Some(generation(7, false))));
        assert_eq!(parsed(message::NEW_GENERATION, &own), Ok(Some(generation(7, true))));
        assert!(parsed(message::NEW_GENERATION, &[0; 4]).is_err() && parsed(message::NEW_TABLE, &[]).is_err());
    }

    #[test]
    fn only_the_changed_table_has_another_epoch() {
        let mut changes = Changes::default();
        changes.add(&generation(5, false));
        changes.add(&TABLE);
        changes.add(&generation(6, false));
        let epochs = |changes: &Changes| [0, 1].map(|at| changes.epoch(INET, "a", at));
        assert_eq!((epochs(&changes), changes.epoch(INET, "b", 1), changes.generation()), ([0, 1], 0, Some(6)));
    }

    #[test]
    fn lost_changes_are_changes_of_all_tables() {
        let mut skipped = Changes::default();
        skipped.add(&generation(5, false));
        skipped.add(&generation(7, true));
        assert_eq!([0, 1].map(|at| skipped.epoch(INET, "b", at)), [0, 1]);
        let mut overrun = Changes::default();
        overrun.lost_messages();
        overrun.add(&generation(5, true));
        assert_eq!(overrun.now(), 0, "a change of this process is known");
        overrun.add(&generation(6, false));
        assert_eq!(overrun.epoch(INET, "b", overrun.now()), 1);
    }

    #[test]
    fn remembered_changes_are_bounded() {
        let mut changes = Changes::default();
        (0..10_000).for_each(|_| changes.add(&TABLE));
        assert!(changes.tables.len() <= ROOM && changes.epoch(INET, "b", changes.now()) > 0);
    }
}
