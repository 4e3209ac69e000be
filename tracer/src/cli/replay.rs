//! `droptrace replay`: shows a recording of the backends' reports as if the drops happened now.

mod stacks;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use foldhash::fast::RandomState;
use stacks::WithStacks;

use super::args::ReplayArgs;
use super::hide::Hide;
use super::record_filter::RecordFilter;
use super::sinks;
use super::trace::Shown;
use crate::backend::replay::{End, Entry, Error, RawDrop, Recording, Start};
use crate::dimension::Dimensions;
use crate::domain::dedupe::{DedupeLedger, Moment};
use crate::domain::event::{DropEvent, NamedKey};
use crate::domain::ledger::Ledger;
use crate::domain::report::{HiddenDrops, SourceReport, StatReport};
use crate::pipeline::group::group_by;
use crate::pipeline::tally::Tally;
use crate::pipeline::union::{Union, UnionOptions};
use crate::render::output::Output;
use crate::run::Consumer;
use crate::sink::{DropSink, Recorded, RunEnd};

/// The most interned aggregation keys, so that equal keys are one object.
const MAX_KEYS: usize = 1 << 16;
/// The most bytes of packets that are shown.
const KEPT: usize = 4096;

/// Shows the recording, and reports its errors.
pub(super) fn run(args: &ReplayArgs) -> Result<()> {
    let mut recording = Recording::open(&args.file)?;
    let output = Output::open_apart(args.output(), None, [args.file.as_path()])?.0;
    let start = recording.start().clone();
    let mut replay = Replay::of(&start);
    replay.filter = args.filter.as_ref().map(|filter| RecordFilter::new(filter, start.home_netns)).transpose()?;
    let (out, home_netns) = (output.clone(), start.home_netns);
    let hide = Hide::of(&args.hide, home_netns)?;
    let ended = match args.drops_format() {
        None if args.format.is_of_stacks() => {
            let mut drops = WithStacks::default();
            let ended = replay.play(&mut recording, &mut drops)?;
            let report = drops.report(&replay, &start)?;
            sinks::replayed_stat(args, out, home_netns, replay.recorded()).report(&report)?;
            ended
        }
        Some(format) if !args.stat => {
            sinks::refuse_terminal(format, &out)?;
            let mut shown = Shown::new(sinks::replayed_trace(args.destination.color, format, out, &start), u64::MAX);
            shown.hide = hide;
            shown.sink.start(&start.host, start.started_at)?;
            let ended = replay.play(&mut recording, &mut shown)?;
            let hidden = shown.hidden();
            replay.finish(&mut *shown.sink, &hidden)?;
            ended
        }
        _ => {
            let mut table = Table(Tally::default());
            let ended = replay.play(&mut recording, &mut table)?;
            let mut report = replay.stat(&start, table.0);
            if let Some(hide) = hide {
                hide.apply(&mut report, None);
            }
            sinks::replayed_stat(args, out, home_netns, replay.recorded()).report(&report)?;
            ended
        }
    };
    output.finish()?;
    ended?;
    verdict(&recording, &replay)
}

/// Passes drops to a table and to other sinks.
struct Everywhere<'s, 'o> {
    tally: Tally,
    sinks: &'s mut [Box<dyn DropSink + 'o>],
}

impl Consumer for Everywhere<'_, '_> {
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        self.tally.add(event);
        self.sinks.iter_mut().try_for_each(|sink| sink.event(event))
    }
}

/// Plays a recording as far as it can be read, into several sinks at once, and returns its totals.
pub(crate) fn replay_into(recording: &mut Recording, sinks: &mut [Box<dyn DropSink + '_>]) -> io::Result<StatReport> {
    let start = recording.start().clone();
    let mut replay = Replay::of(&start);
    for sink in &mut *sinks {
        sink.start(&start.host, start.started_at)?;
    }
    // The sinks need not know what ended the recording early.
    let mut everywhere = Everywhere { tally: Tally::default(), sinks };
    _ = replay.play(recording, &mut everywhere)?;
    let Everywhere { tally, sinks } = everywhere;
    for sink in sinks {
        replay.finish(&mut **sink, &[])?;
    }
    Ok(replay.stat(&start, tally))
}

/// Returns an error if the recording was not complete.
fn verdict(recording: &Recording, replay: &Replay) -> Result<()> {
    let malformed = recording.malformed();
    if let Some((number, what)) = &malformed.first {
        let (parts, part) = (malformed.parts, recording.part());
        bail!(
            "the recording is damaged: {parts} {part}s could not be decoded and were skipped, the first is {part} {number}: {what}"
        );
    }
    let Some(End { sources, .. }) = &replay.end else {
        bail!("the recording is truncated: it ends without the ledger of its backends");
    };
    for (source, reported) in sources.iter().filter_map(|source| Some((source, reported_of(&source.ledger)?))) {
        let (name, recorded) = (source.ledger.source(), replay.recorded_of(source.ledger.source()));
        if recorded != reported {
            bail!(
                "the recording does not agree with its ledger: it has {recorded} events from {name}, the ledger {reported}; \
                 lines were removed or duplicated"
            );
        }
    }
    Ok(())
}

/// Number of drops that a backend reported one by one; `None` if its ledger does not have it.
fn reported_of(ledger: &Ledger) -> Option<u64> {
    match ledger {
        Ledger::Ebpf(ledger) => ledger.events.map(|events| events.delivered),
        Ledger::NetDm(ledger) => ledger.accounted.checked_add(ledger.overflow).filter(|_| ledger.counts_losses),
        Ledger::Counters(_) => None,
    }
}

/// Adds up the drops.
struct Table(Tally);

impl Consumer for Table {
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        self.0.add(event);
        Ok(())
    }
}

/// The state of the replay.
struct Replay {
    union: Union,
    keys: HashMap<NamedKey, Arc<NamedKey>, RandomState>,
    last_ns: u64,
    /// Number of drops by backend.
    recorded: HashMap<&'static str, u64>,
    /// One source reported all drops, so that none waits for the report of another source.
    is_alone: bool,
    /// Absent where the recording is truncated.
    end: Option<End>,
    filter: Option<RecordFilter>,
}

impl Replay {
    fn of(start: &Start) -> Self {
        Self {
            union: Union::new(UnionOptions::of_bytes(start.captured, KEPT)),
            keys: HashMap::default(),
            last_ns: 0,
            recorded: HashMap::new(),
            is_alone: !start.both_sources,
            end: None,
            filter: None,
        }
    }

    /// Replays to the end, and returns the error that ended the recording early, if there was one. The outer error is
    /// the consumer's.
    fn play(&mut self, recording: &mut Recording, consumer: &mut impl Consumer) -> io::Result<Result<(), Error>> {
        let ended = loop {
            match recording.next_entry() {
                Ok(Some(Entry::Drop(drop))) => self.take(*drop, consumer)?,
                Ok(Some(Entry::End(end))) => self.end = Some(end),
                // The reader reports this as an error.
                Ok(Some(Entry::Start(_))) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.union.finish();
        self.settled(consumer)?;
        Ok(ended)
    }

    fn take(&mut self, drop: RawDrop, consumer: &mut impl Consumer) -> io::Result<()> {
        let RawDrop { origin, timestamp, received_ns, watermark_ns, key, length, start, bytes, facts, process, stack } =
            drop;
        self.last_ns = self.last_ns.max(received_ns);
        *self.recorded.entry(origin.name()).or_default() += 1;
        let key = self.key(key);
        let (key, bytes) = (&key, &*bytes);
        let seen_by = origin.alone();
        let (process, stack) = (process.as_ref(), &*stack);
        let event = DropEvent { timestamp, key, seen_by, length, start, bytes, facts, process, stack };
        if self.is_alone {
            let is_taken = self.filter.as_mut().is_none_or(|filter| filter.takes(&event));
            return if is_taken { consumer.event(&event) } else { Ok(()) };
        }
        self.union.advance(Moment(watermark_ns));
        self.settled(consumer)?;
        self.union.take(Moment(received_ns), origin, &event);
        self.settled(consumer)
    }

    /// Passes on the drops that need not wait any longer.
    fn settled(&mut self, consumer: &mut impl Consumer) -> io::Result<()> {
        while let Some(event) = self.union.next_settled() {
            if self.filter.as_mut().is_none_or(|filter| filter.takes(&event)) {
                consumer.event(&event)?;
            }
        }
        Ok(())
    }

    fn recorded_of(&self, source: &str) -> u64 {
        self.recorded.get(source).copied().unwrap_or_default()
    }

    fn key(&mut self, key: NamedKey) -> Arc<NamedKey> {
        if let Some(known) = self.keys.get(&key) {
            return Arc::clone(known);
        }
        if self.keys.len() >= MAX_KEYS {
            self.keys.clear();
        }
        let shared = Arc::new(key.clone());
        self.keys.insert(key, Arc::clone(&shared));
        shared
    }

    /// The ledger of the join, if drops were joined.
    fn ledger(&self) -> Option<DedupeLedger> {
        let ledger = self.union.ledger();
        (ledger.ebpf.delivered > 0 && ledger.net_dm.delivered > 0).then_some(ledger)
    }

    fn finish(&self, sink: &mut dyn DropSink, hidden: &[HiddenDrops]) -> io::Result<()> {
        let (sources, union) = (self.shown_sources(), self.ledger());
        let duration = self.duration();
        let end = RunEnd { sources: &sources, union: union.as_ref(), hidden, duration, ..RunEnd::default() };
        self.filter.iter().for_each(RecordFilter::warn_of_unknown_processes);
        sink.finish(&end)
    }

    /// The recorded ledgers. The drops that do not match were counted when they were recorded, and count as filtered here.
    fn shown_sources(&self) -> Vec<SourceReport> {
        let mut sources = self.end.as_ref().map_or(vec![], |end| end.sources.clone());
        if let Some(filter) = &self.filter {
            for SourceReport { ledger, .. } in &mut sources {
                let recorded = self.recorded_of(ledger.source());
                filter.add_to(ledger, recorded);
            }
        }
        sources
    }

    /// Number of drops that the recorded run counted and made no record of.
    fn unrecorded(&self) -> u64 {
        let sources = self.end.iter().flat_map(|end| &end.sources);
        let events = sources.filter_map(|source| source.ledger.events());
        events.map(|events| events.offered.saturating_sub(events.delivered)).sum()
    }

    /// Duration of the run that was recorded, if the recording has it.
    fn duration(&self) -> Option<Duration> {
        self.end.as_ref()?.duration
    }

    fn recorded(&self) -> Recorded {
        if self.duration().is_some() { Recorded::Whole } else { Recorded::ToLastDrop }
    }

    fn stat(&self, start: &Start, tally: Tally) -> StatReport {
        let (drops, overflow) = tally.into_totals();
        // A recording has the owners of drops as well, by which the totals are not grouped.
        let drops = group_by(&drops, &Dimensions::usual());
        StatReport {
            host: start.host.clone(),
            started_at: start.started_at,
            duration: self.duration().unwrap_or(Duration::from_nanos(self.last_ns)),
            is_final: true,
            sources: self.shown_sources(),
            drops,
            overflow,
            hidden: vec![],
            own_netlink_drops: None,
            stacks: None,
            attribution: None,
            flows: None,
            retransmissions: None,
            refused: None,
            outside: None,
            past: None,
        }
    }
}
