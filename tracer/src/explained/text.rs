//! The explanations of the rows that matter most, as text.

use std::io::{self, Write};

use super::choice::{Above, Chosen, Found, choose, function};
use super::recent::Recent;
use super::row::{RowValues, row_values};
use crate::dimension;
use crate::domain::event::NamedKey;
use crate::domain::reconciliation::{ListenerProcess, ReconciledCounter, RefusingListener};
use crate::domain::report::StatReport;
use crate::explain::{Entrance, Library, Topic, Values, write_topic};
use crate::identity::entrance::entrance;
use crate::outside::printable;
use crate::render::number::Grouped;

/// Kinds of drops that are explained at most.
const MOST: usize = 4;

/// What is explained.
#[derive(Clone, Copy)]
pub(super) struct Run<'r> {
    /// All keys of the drops that are shown.
    pub(super) report: &'r StatReport,
    /// The results above the explanations.
    pub(super) above: Above<'r>,
    /// Packets of the keys.
    pub(super) recent: &'r Recent,
    /// The network namespace that the run was asked for.
    pub(super) netns: Option<&'r str>,
}

/// Writes what the rows of a run mean that matter most, with their values in the commands, and says what is left out.
pub(super) fn write_explained(out: &mut impl Write, run: &Run<'_>, library: &Library, width: usize) -> io::Result<()> {
    let (chosen, unexplained) = choose(run.report, run.above, library);
    let (shown, left) = chosen.split_at(chosen.len().min(MOST));
    for (number, kind) in (1..).zip(shown) {
        let (head, RowValues { values, packet, .. }) = described(kind, run);
        writeln!(out, "\n{number}. {head}")?;
        if let Some(packet) = packet {
            writeln!(out, "   The commands have the values of a packet of these: {packet}")?;
        }
        writeln!(out)?;
        write_topic(out, &kind.topic, &values, width)?;
    }
    write_rest(out, left, unexplained)
}

fn write_rest(out: &mut impl Write, left: &[Chosen<'_>], unexplained: u64) -> io::Result<()> {
    if !left.is_empty() {
        let names: Vec<_> =
            left.iter().map(|kind| format!("{} ({})", name(&kind.topic), Grouped(kind.packets))).collect();
        let noun = if left.len() == 1 { "kind" } else { "kinds" };
        writeln!(
            out,
            "\n{} more {noun} of drops, which `droptrace explain` explains: {}",
            left.len(),
            names.join(", ")
        )?;
    }
    if unexplained > 0 {
        writeln!(
            out,
            "\n{} drops have neither a reason nor a function that droptrace can explain.",
            Grouped(unexplained)
        )?;
    }
    Ok(())
}

/// The name, with the function where that is not the name itself.
fn name(topic: &Topic<'_>) -> String {
    match topic {
        Topic::Reason(name, _, Some((site, _))) => format!("{name} at {site}"),
        _ => topic.name().to_owned(),
    }
}

/// One line about a kind, and the values of its largest row.
fn described(kind: &Chosen<'_>, run: &Run<'_>) -> (String, RowValues) {
    let (head, tail, found) = match &kind.origin {
        Found::Drops(keys, others) => of_keys(kind.packets, keys, *others, run),
        Found::Outside(counter) => {
            let values = of_counter(counter);
            let origin = interface_and_netns(values.interface.as_deref(), counter.netns_name.as_deref(), counter.netns);
            let head = format!("{} outside kfree_skb: {}", of_losses(kind.packets), printable(&counter.name));
            (head, format!("{origin}{}", listener(counter)), RowValues { values, ..RowValues::default() })
        }
    };
    (head + &divided(kind, &tail), found)
}

/// The head, the tail, which has the interface and the network namespace, and the values.
fn of_keys(packets: u64, keys: &[&NamedKey], other_functions: usize, run: &Run<'_>) -> (String, String, RowValues) {
    let found = row_values(keys, run.recent, run.netns);
    let RowValues { shared, holder, .. } = &found;
    let reason = keys.first().map(|key| dimension::reason(&key.reason)).unwrap_or_default();
    let site = keys.first().map(|key| function(key).map_or_else(|| site(key), str::to_owned)).unwrap_or_default();
    let others = match other_functions {
        0 => String::new(),
        1 => " and 1 other function".to_owned(),
        count => format!(" and {count} other functions"),
    };
    let head = format!("{}: {} at {}{others}", of_drops(packets), printable(&reason), printable(&site));
    let origin = interface_and_netns(shared.interface.as_deref(), shared.netns_name.as_deref(), shared.netns);
    let holder = holder.as_ref().map(|holder| format!("; {}", printable(holder))).unwrap_or_default();
    (head, origin + &holder, found)
}

fn site(key: &NamedKey) -> String {
    dimension::site(&key.location, usize::MAX)
}

/// The tail, or how many packets it is of and how many are elsewhere: `; 48 of them on lo in netns web, 25 in 1 other row`.
fn divided(kind: &Chosen<'_>, tail: &str) -> String {
    let rest = kind.packets.saturating_sub(kind.of_origin);
    if rest == 0 {
        return tail.to_owned();
    }
    let tail = if tail.is_empty() || tail.starts_with(';') { format!(" in one row{tail}") } else { tail.to_owned() };
    let elsewhere = match kind.other_rows {
        None => "elsewhere".to_owned(),
        Some(1) => "in 1 other row".to_owned(),
        Some(rows) => format!("in {rows} other rows"),
    };
    format!("; {} of them{tail}, {} {elsewhere}", Grouped(kind.of_origin), Grouped(rest))
}

/// ` (listener 10.0.0.2:80, pid 812 gunicorn)`: the one that refused most.
fn listener(counter: &ReconciledCounter) -> String {
    let Some(RefusingListener { address, process, .. }) = counter.listeners.first() else { return String::new() };
    let process = process.as_ref().map(|ListenerProcess { pid, comm }| {
        let comm = comm.as_ref().map(|comm| format!(" {}", printable(comm))).unwrap_or_default();
        format!(", pid {pid}{comm}")
    });
    format!(" (listener {address}{})", process.unwrap_or_default())
}

fn of_drops(count: u64) -> String {
    if count == 1 { "1 drop".into() } else { format!("{} drops", Grouped(count)) }
}

fn of_losses(count: u64) -> String {
    if count == 1 { "1 loss".into() } else { format!("{} losses", Grouped(count)) }
}

/// ` on eth0 in netns web`.
fn interface_and_netns(interface: Option<&str>, name: Option<&str>, netns: u32) -> String {
    let interface = interface.map(|interface| format!(" on {}", printable(interface))).unwrap_or_default();
    match (name, netns) {
        (Some(name), _) => format!("{interface} in netns {}", printable(name)),
        (None, 0) => interface,
        (None, netns) => format!("{interface} in netns {netns}"),
    }
}

fn of_counter(counter: &ReconciledCounter) -> Values {
    let listener = counter.listeners.first();
    let name = counter.netns_name.as_ref().map(ToString::to_string);
    // A counter of the whole host shows in any namespace.
    let entrance = if counter.netns == 0 { Entrance::Own } else { entrance(counter.netns) };
    Values {
        entrance,
        netns: name.or_else(|| (counter.netns != 0).then(|| counter.netns.to_string())),
        interface: counter.interface.as_ref().and_then(|interface| interface.name.as_ref()).map(ToString::to_string),
        destination: listener.map(|listener| listener.address.ip()).filter(|address| !address.is_unspecified()),
        transport: listener.map(|_| "tcp"),
        destination_port: listener.map(|listener| listener.address.port()),
        pid: listener.and_then(|listener| listener.process.as_ref()).map(|process| process.pid),
        ..Values::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimension::Dimensions;
    use crate::sink::samples::{report, totals_of_two_namespaces};

    fn head(report: &StatReport, above: Above<'_>, name: &str) -> String {
        let library = Library::built_in().unwrap();
        let run = Run { report, above, recent: &Recent::default(), netns: None };
        let (kinds, _) = choose(report, above, &library);
        described(kinds.iter().find(|kind| kind.topic.name() == name).unwrap(), &run).0
    }

    #[test]
    fn parts_of_the_head_add_up() {
        let all = report(totals_of_two_namespaces(), vec![]);
        let by = |names: &str| names.parse::<Dimensions>().unwrap();
        let (netns, reason) = (by("netns"), by("reason"));
        let head = |above| head(&all, above, "NO_SOCKET");
        let start = "57 drops: NO_SOCKET at tcp_v4_rcv; 40 of them in netns blue, 17";
        assert_eq!(head(Above::Table(None)), format!("{start} in 1 other row"));
        assert_eq!(head(Above::Table(Some(&netns))), format!("{start} in 1 other row"));
        assert_eq!(head(Above::Table(Some(&reason))), format!("{start} elsewhere"), "all are in one row");
        assert_eq!(head(Above::Lines), format!("{start} elsewhere"));
    }

    #[test]
    fn drops_of_one_row_have_their_interface_behind_the_function() {
        let all = report(totals_of_two_namespaces(), vec![]);
        let head = head(&all, Above::Table(None), "SOCKET_RCVBUFF");
        assert_eq!(head, "1,000,000 drops: SOCKET_RCVBUFF at udp_queue_rcv_one_skb on lo in netns 4026531833");
    }

    #[test]
    fn refused_connections_have_their_listener() {
        let process = ListenerProcess { pid: 812, comm: Some("gunicorn".into()) };
        let refusing = RefusingListener { address: ([10, 0, 0, 2], 80).into(), drops: 3, process: Some(process) };
        let counter = ReconciledCounter {
            listeners: vec![refusing],
            netns_name: Some("web".into()),
            ..super::super::choice::tests::refused(7, 3)
        };
        assert_eq!(listener(&counter), " (listener 10.0.0.2:80, pid 812 gunicorn)");
        let Values { destination, destination_port, pid, netns, .. } = of_counter(&counter);
        assert_eq!((destination, destination_port), ("10.0.0.2".parse().ok(), Some(80)));
        assert_eq!((pid, netns.as_deref()), (Some(812), Some("web")));
    }
}
