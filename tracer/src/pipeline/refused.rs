//! Joins refused SYNs with the kernel's counters: the counters name the process of a socket, and what is counted by socket is
//! not outside any more.

use crate::domain::owner::Process;
use crate::domain::reconciliation::{ListenerProcess, ReconciledCounter, Reconciliation};
use crate::domain::refused::{RefusedReport, RefusedSyns};

/// The counter of refused SYNs and refused connections (`tcp_listendrop`, `include/net/tcp.h`).
const COUNTER: &str = "TcpExtListenDrops";

/// Takes the refused SYNs from the part of the counter that is outside, and learns the processes of the sockets. The counts
/// must be read after the counters, so that each SYN that the counters count is among them.
pub(crate) fn explain(refused: &mut RefusedReport, counters: &mut Reconciliation) {
    for counter in counters.counters.iter_mut().filter(|counter| *counter.name == *COUNTER) {
        let of_netns = refused.rows.iter_mut().filter(|row| row.netns == counter.netns);
        let packets = of_netns.map(|row| learn_process(row, counter)).sum();
        subtract(counter, packets, refused.without_room);
    }
}

/// Returns the number of SYNs.
fn learn_process(row: &mut RefusedSyns, counter: &ReconciledCounter) -> u64 {
    let mut listeners = counter.listeners.iter();
    let listener = listeners.find(|listener| listener.address == row.listener);
    let process = listener.and_then(|listener| listener.process.as_ref());
    row.process = process.map(|ListenerProcess { pid, comm }| Process { pid: *pid, comm: comm.clone() });
    row.packets
}

/// `possible` SYNs may be of any namespace.
fn subtract(counter: &mut ReconciledCounter, certain: u64, possible: u64) {
    if !counter.is_compared {
        return;
    }
    counter.explained = counter.explained.saturating_add(certain).min(counter.rise);
    if let Some(covered) = &mut counter.covered {
        *covered = covered.saturating_add(certain).saturating_add(possible);
        counter.outside = counter.rise.saturating_sub(*covered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::owner::Owner;
    use crate::domain::reconciliation::RefusingListener;
    use crate::domain::refused::Refusal;

    fn counter(rise: u64, explained: u64, covered: Option<u64>) -> ReconciledCounter {
        let process = Some(ListenerProcess { pid: 812, comm: Some("gunicorn".into()) });
        let address = "10.0.0.2:80".parse().unwrap();
        ReconciledCounter {
            name: COUNTER.into(),
            class: "not-traceable",
            meaning: "refused".into(),
            netns: 7,
            netns_number: 1,
            netns_name: None,
            interface: None,
            cpus: vec![],
            rise,
            is_compared: true,
            explained,
            outside: covered.map_or(0, |covered| rise.saturating_sub(covered)),
            covered,
            is_untraceable: true,
            listeners: vec![RefusingListener { address, drops: rise, process }],
        }
    }

    fn refused(netns: u32, listener: &str, packets: u64) -> RefusedSyns {
        RefusedSyns {
            netns,
            netns_name: None,
            listener: listener.parse().unwrap(),
            cgroup_id: 0,
            owner: Owner::default(),
            process: None,
            refusal: Refusal::AcceptQueue,
            packets,
            sources: vec![],
        }
    }

    /// The explained, undecided and outside part of the counter after the join.
    fn joined(counter: ReconciledCounter, rows: Vec<RefusedSyns>, without_room: u64) -> ([u64; 3], Vec<RefusedSyns>) {
        let mut report = RefusedReport { rows, without_room, ..RefusedReport::default() };
        let mut counters = Reconciliation { counters: vec![counter], ..Reconciliation::default() };
        explain(&mut report, &mut counters);
        let counter = &counters.counters[0];
        ([counter.explained, counter.undecided(), counter.outside], report.rows)
    }

    #[test]
    fn refused_syns_are_not_outside_and_other_refusals_stay() {
        let rows = || vec![refused(7, "10.0.0.2:80", 30), refused(8, "10.0.0.2:80", 99)];
        assert_eq!(joined(counter(30, 0, Some(0)), rows(), 0).0, [30, 0, 0]);
        assert_eq!(joined(counter(34, 0, Some(0)), rows(), 0).0, [30, 0, 4], "four others");
        assert_eq!(joined(counter(34, 3, Some(3)), rows(), 0).0, [33, 0, 1], "three of four are drops");
        assert_eq!(joined(counter(34, 0, Some(0)), rows(), 3).0, [30, 3, 1], "three may be of this namespace");
        assert_eq!(joined(counter(29, 0, Some(0)), rows(), 0).0, [29, 0, 0], "one came after the reading");
        assert_eq!(joined(counter(34, 0, None), rows(), 0).0, [30, 4, 0], "nothing can be claimed");
    }

    #[test]
    fn the_process_is_that_of_the_socket_with_the_same_address() {
        let rows = vec![refused(7, "10.0.0.2:80", 3), refused(7, "10.0.0.2:81", 2), refused(8, "10.0.0.2:80", 1)];
        let (_, rows) = joined(counter(5, 0, Some(0)), rows, 0);
        let pids: Vec<_> = rows.iter().map(|row| row.process.as_ref().map(|process| process.pid)).collect();
        assert_eq!(pids, [Some(812), None, None]);
    }
}
