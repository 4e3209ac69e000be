//! The lines of `trace`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use super::clock::Clock;
use super::ledger::{self, LedgerLine};
use super::owner::OwnedBy;
use super::packet::Described;
use super::table::style_of;
use super::{outside, retransmit, sentences};
use crate::dimension;
use crate::domain::event::{DropEvent, NamedKey, Timestamp};
use crate::domain::hook::netfilter_hook;
use crate::domain::report::Host;
use crate::domain::retransmit::RetransmitEvent;
use crate::explain::usual_of;
use crate::outside::printable;
use crate::render::fit::{padded, seen_by, width};
use crate::render::paint::{Painted, Style};
use crate::sink::{DropSink, RunEnd};

/// Width of the column of the sources that saw a drop.
const SEEN_BY: usize = "ebpf+net_dm".len();

/// How lines are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceTextOptions {
    /// Use colours.
    pub color: bool,
    /// Inode number of the reader's own network namespace: interfaces of other namespaces are shown as `eth0@name`. 0 =
    /// not known: all interfaces are shown so.
    pub home_netns: u32,
    /// Show the sources that saw each drop, because several sources run.
    pub seen_by: bool,
    /// Show times of this process's time zone instead of UTC.
    pub local_time: bool,
}

/// Shows one line for each drop.
///
/// A column grows with its content, within bounds. Longer content shifts the rest of its line, because no text is ever
/// cut.
pub struct TraceText<W> {
    out: W,
    options: TraceTextOptions,
    clock: Clock,
    line: String,
    reason: Column,
    location: Column,
    interface: Column,
}

struct Column {
    width: usize,
    limit: usize,
}

impl Column {
    /// The width for formats, which pads this text to the column's.
    fn width_for(&mut self, text: &str) -> usize {
        let wanted = width(text);
        if wanted <= self.limit {
            self.width = self.width.max(wanted);
        }
        padded(text, self.width)
    }
}

impl<W: Write> TraceText<W> {
    /// Writes to `out`.
    pub fn new(out: W, options: TraceTextOptions) -> Self {
        Self {
            out,
            options,
            clock: Clock::new(options.local_time),
            line: String::new(),
            reason: Column { width: 16, limit: 28 },
            location: Column { width: 30, limit: 44 },
            // The longest name (`IFNAMSIZ`), and the number of a namespace.
            interface: Column { width: 8, limit: 15 + "@4294967295".len() },
        }
    }

    fn write_line(&mut self, style: Style) -> io::Result<()> {
        writeln!(self.out, "{}", Painted { text: &self.line, style, color: self.options.color })
    }
}

/// `eth0`, or `eth0@name` in another namespace than the reader's own; see [`TraceTextOptions::home_netns`].
pub(in crate::sink) fn interface_of(key: &NamedKey, home_netns: u32) -> Cow<'_, str> {
    let name = dimension::interface(key);
    if key.netns == 0 || key.netns == home_netns {
        return name;
    }
    format!("{name}@{}", dimension::netns(key)).into()
}

/// The ledgers of a run of single drops.
pub(crate) fn ledger_lines(end: &RunEnd<'_>) -> impl Iterator<Item = LedgerLine> {
    let hidden = end.hidden.iter().map(|hidden| LedgerLine::plain(sentences::hidden(hidden)));
    let lines = hidden.chain(ledger::accounting(end.sources)).chain(end.attribution.map(ledger::attribution));
    let lines = lines.chain(ledger::events(end.sources)).chain(end.union.map(ledger::union));
    let lines = lines.chain(end.retransmissions.map(retransmit::ledger));
    lines.chain(end.outside.into_iter().flat_map(|found| outside::lines(found, true)))
}

impl<W: Write> DropSink for TraceText<W> {
    fn start(&mut self, host: &Host, started_at: Timestamp) -> io::Result<()> {
        let (name, kernel) = (printable(&host.name), printable(&host.kernel));
        let (time, zone) = (self.clock.text(started_at), self.clock.name(started_at));
        self.line = format!("Packets dropped on {name} (Linux {kernel}) from {} on; times are {zone}", time.date());
        self.write_line(Style::Plain)?;
        let (reason, location, interface) = (self.reason.width, self.location.width, self.interface.width);
        self.line.clear();
        _ = write!(self.line, "{:18}  {:reason$}  {:location$}  ", "TIME", "REASON", "WHERE");
        if self.options.seen_by {
            _ = write!(self.line, "{:SEEN_BY$}  ", "SEEN BY");
        }
        _ = write!(self.line, "{:interface$}  PACKET", "IFACE");
        self.write_line(Style::Heading)?;
        self.out.flush()
    }

    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        let key = event.key;
        let time = self.clock.text(event.timestamp);
        let (reason, location) = (dimension::reason(&key.reason), dimension::site(&key.location, usize::MAX));
        let interface = interface_of(key, self.options.home_netns);
        let reason_width = self.reason.width_for(&reason);
        let location_width = self.location.width_for(&location);
        let interface_width = self.interface.width_for(&interface);
        self.line.clear();
        _ = write!(
            self.line,
            "{}  {:reason_width$}  {location:location_width$}  ",
            time.time_of_day(),
            Painted { text: reason, style: style_of(usual_of(key)), color: self.options.color },
        );
        if self.options.seen_by {
            _ = write!(self.line, "{:SEEN_BY$}  ", seen_by(event.seen_by));
        }
        _ = write!(self.line, "{interface:interface_width$}  {}{}", Described::new(event), OwnedBy(event));
        if let Some(hook) = netfilter_hook(event.stack) {
            _ = write!(self.line, ", netfilter hook {hook}");
        }
        self.line.push('\n');
        // The first function has the drop site, which the line above has.
        let stack = event.stack.iter().map(|function| dimension::site(function, usize::MAX));
        for (_, function) in stack.enumerate().skip_while(|(at, function)| *at == 0 && *function == location) {
            _ = writeln!(self.line, "{:18}  {function}", "");
        }
        self.out.write_all(self.line.as_bytes())
    }

    fn retransmission(&mut self, event: &RetransmitEvent) -> io::Result<()> {
        self.line = retransmit::line(event);
        self.write_line(Style::Plain)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self, end: &RunEnd<'_>) -> io::Result<()> {
        for line in ledger_lines(end) {
            self.line = line.text;
            self.write_line(if line.healthy { Style::Plain } else { Style::Alarm })?;
        }
        self.out.flush()
    }
}
