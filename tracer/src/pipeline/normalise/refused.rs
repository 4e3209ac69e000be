//! Names of what the kernel program counts of refused SYNs.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU64;

use tracer_common::{REFUSED_ACCEPT_QUEUE, REFUSED_SYN_QUEUE, RefusedSyn};
use zerocopy::IntoBytes;

use super::{Normaliser, attribution};
use crate::backend::ebpf::RefusedCounts;
use crate::domain::refused::{Refusal, RefusedReport, RefusedSyns};
use crate::identity::netns::NetnsId;

impl Normaliser {
    /// The refused SYNs by socket and cause.
    pub fn refused(&mut self, counts: &RefusedCounts) -> RefusedReport {
        let mut sockets = BTreeMap::<_, Vec<(RefusedSyn, u64)>>::new();
        for row in &counts.rows {
            let RefusedSyn { netns, cgroup_id, listener, port, why, .. } = row.0;
            sockets.entry((netns, listener, port, why, cgroup_id)).or_default().push(*row);
        }
        let mut rows: Vec<_> = sockets.into_values().filter_map(|rows| self.refused_by(&rows)).collect();
        rows.sort_by_key(|row| (Reverse(row.packets), row.netns, row.listener, row.refusal));
        let RefusedCounts { refused, filtered, without_room, .. } = *counts;
        RefusedReport { rows, refused, filtered, without_room }
    }

    /// The SYNs that one socket refused for one cause, in all `rows`.
    fn refused_by(&mut self, rows: &[(RefusedSyn, u64)]) -> Option<RefusedSyns> {
        let (key, _) = rows.first()?;
        let cookie = self.question.as_ref().and_then(|_| NonZeroU64::new(key.netns));
        let cgroup_id = attribution::known(key.cgroup_id);
        let owners = self.owners.as_mut().filter(|_| cgroup_id != 0);
        let owner = owners.and_then(|owners| owners.of_cgroup(cgroup_id)).map(attribution::names).unwrap_or_default();
        let sources = rows.iter().filter(|(key, _)| key.source != [0; 2]);
        let mut sources: Vec<_> = sources.map(|(key, packets)| (address(key.source), *packets)).collect();
        sources.sort_by_key(|(source, packets)| (Reverse(*packets), *source));
        Some(RefusedSyns {
            netns: key.netns_inum,
            netns_name: self.namespaces.name(NetnsId { cookie, inum: key.netns_inum }),
            listener: SocketAddr::new(address(key.listener), key.port),
            cgroup_id,
            owner,
            process: None,
            refusal: match key.why {
                REFUSED_ACCEPT_QUEUE => Refusal::AcceptQueue,
                REFUSED_SYN_QUEUE => Refusal::SynQueue,
                _ => Refusal::Other,
            },
            packets: rows.iter().map(|(_, packets)| packets).sum(),
            sources,
        })
    }
}

/// An address in network byte order; those of IPv4 are mapped.
fn address(words: [u64; 2]) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(words.as_bytes());
    Ipv6Addr::from(octets).to_canonical()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracer_common::REFUSED_OTHER;

    use super::*;
    use crate::identity::netns::Names;
    use crate::kernel::btf::tests::signatures::with_tracepoint;
    use crate::kernel::reasons::ReasonNames;

    fn v4(octets: [u8; 4]) -> [u64; 2] {
        let octets = std::net::Ipv4Addr::from(octets).to_ipv6_mapped().octets();
        let word = |at: usize| u64::from_ne_bytes(*octets[at..].first_chunk().unwrap());
        [word(0), word(8)]
    }

    #[test]
    fn each_socket_and_cause_has_its_sources_and_those_without_room() {
        let key = RefusedSyn {
            netns_inum: 7,
            port: 80,
            why: REFUSED_ACCEPT_QUEUE,
            listener: v4([10, 0, 0, 2]),
            ..RefusedSyn::default()
        };
        let (first, second) = (v4([192, 0, 2, 1]), v4([192, 0, 2, 2]));
        let of = |source, why, packets| (RefusedSyn { source, why, ..key }, packets);
        let rows = vec![
            of(first, REFUSED_ACCEPT_QUEUE, 3),
            of(second, REFUSED_ACCEPT_QUEUE, 5),
            of([0; 2], REFUSED_ACCEPT_QUEUE, 2),
            of(first, REFUSED_OTHER, 11),
        ];
        let counts = RefusedCounts { rows, refused: 26, without_room: 1, filtered: 4 };
        let mut normaliser = Normaliser::new(
            ReasonNames::load(&with_tracepoint("btf_trace_kfree_skb", |_| vec![])),
            Arc::new(Names::new()),
            None,
            None,
        );
        let report = normaliser.refused(&counts);
        let [other, full] = &report.rows[..] else { panic!("two rows: {report:?}") };
        assert_eq!((other.refusal, other.packets, other.of_other_sources()), (Refusal::Other, 11, 0));
        let sources = [([192, 0, 2, 2], 5), ([192, 0, 2, 1], 3)].map(|(source, packets)| (source.into(), packets));
        assert_eq!((&full.sources[..], full.of_other_sources()), (&sources[..], 2));
        assert_eq!((full.listener.to_string(), full.netns), ("10.0.0.2:80".to_owned(), 7));
        assert_eq!(report.missing(report.packets()), 0);
    }

    #[test]
    fn addresses_of_both_versions_are_read() {
        assert_eq!(address(v4([10, 0, 0, 2])), IpAddr::from([10, 0, 0, 2]));
        let octets = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets();
        let word = |at: usize| u64::from_ne_bytes(*octets[at..].first_chunk().unwrap());
        assert_eq!(address([word(0), word(8)]).to_string(), "2001:db8::7");
    }
}
