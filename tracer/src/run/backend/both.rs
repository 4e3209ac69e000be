//! The BPF program and the drop monitor in one run: their order, their join, and the evidence about their differences.

use std::time::Instant;

use anyhow::Result;

use super::contract::{BackendFacts, Counted, Ended, Wake, Way};
use super::ebpf::{self, Ebpf};
use super::net_dm::{self, NetDm};
use super::options::Options;
use crate::backend::ebpf::{Mode, Totals};
use crate::backend::net_dm::AlertMode;
use crate::domain::compare::NetDmMode;
use crate::domain::dedupe::Moment;
use crate::domain::report::SourceReport;
use crate::domain::unavailable::Unavailable;
use crate::filter::Filter;
use crate::filter::question::Question;
use crate::kernel::own_netlink;
use crate::kernel::support::Facts;
use crate::pipeline::material::Material;
use crate::pipeline::normalise::Normaliser;
use crate::pipeline::union::{Union, UnionOptions, unite};
use crate::run::outlet::Consumer;

/// What the two backends are together, and what they lack.
pub(super) const fn facts(mode: Mode, alerts: AlertMode) -> BackendFacts {
    BackendFacts {
        source: "both",
        mode: match (mode, alerts) {
            (Mode::TpBtf, AlertMode::Packet) => "tp_btf+packet",
            (Mode::TpBtf, AlertMode::Summary) => "tp_btf+summary",
            (Mode::RawTracepoint, AlertMode::Packet) => "raw_tracepoint+packet",
            (Mode::RawTracepoint, AlertMode::Summary) => "raw_tracepoint+summary",
        },
        about: "The BPF program and the drop monitor at once: each drop is reported once, with the backends that saw it",
        reports_single_drops: net_dm::facts(alerts).reports_single_drops,
        ..ebpf::facts(mode)
    }
}

/// Two running backends, and their join.
pub(crate) struct Both {
    pub(super) ebpf: Ebpf,
    pub(super) net_dm: NetDm,
    /// Joins both backends' reports of a drop; absent where each report is shown by itself.
    pub(super) union: Option<Union>,
    /// The kernel program's totals when the drop monitor started.
    opening: Totals,
    /// The kernel program's totals just before the drop monitor stopped.
    closing: Option<Totals>,
}

impl Both {
    pub(super) async fn start(
        mode: Mode,
        alerts: AlertMode,
        options: &Options,
        facts: &Facts,
    ) -> Result<Self, Unavailable> {
        if options.netns.is_some() || options.ifindex != 0 {
            return Err(Unavailable::new(
                "--netns, --interface: the drop monitor knows no namespaces, and means by an interface where a packet came in",
                "use --source ebpf, which can filter",
            ));
        }
        if let Some(filter) = &options.filter {
            check_filter(filter)?;
            net_dm::check_filter(filter, alerts)?;
        }
        let mut ebpf = Ebpf::start(mode, options, facts, false)?;
        // The drop monitor starts after the kernel program, and stops before it or after a last reading, so it reports no
        // more than the kernel program.
        let net_dm = NetDm::start(alerts, options).await?;
        let opening = ebpf.source.totals().map_err(|error| error.explained(facts))?.clone();
        let union = union(&ebpf, options);
        Ok(Self { ebpf, net_dm, union, opening, closing: None })
    }

    /// Waits for the next event. The future may be dropped at any time.
    pub(super) async fn ready(&mut self) -> Result<Wake> {
        tokio::select! {
            biased;
            wake = self.net_dm.ready() => wake,
            wake = self.ebpf.ready() => wake,
        }
    }

    /// Passes a batch of each backend to the consumer, whichever woke the run, and the drops that have waited long enough for
    /// the other backend, by the time at which both backends were last read to their end. The first drop of a run waits for
    /// the look-up of names, which can take longer than any drop should wait.
    pub(super) fn read(&mut self, now: Moment, limit: u64, way: &mut Way<'_, '_, impl Consumer>) -> Result<()> {
        let read = self.pass(now, [limit, limit], way);
        let settled = self.settled();
        if let Some(union) = &mut self.union {
            union.advance(settled);
            way.outlet.settled(union);
        }
        read
    }

    /// Passes a batch of each backend to the consumer, the drop monitor's first, of these sizes; of 0 records none are
    /// read.
    pub(super) fn pass(
        &mut self,
        now: Moment,
        [alerts, records]: [u64; 2],
        way: &mut Way<'_, '_, impl Consumer>,
    ) -> Result<()> {
        let Self { ebpf, net_dm, union, .. } = self;
        let mut way = way.joined(union.as_mut());
        let read = net_dm.read(now, alerts, &mut way);
        if records > 0 {
            ebpf.read(now, records, &mut way);
        }
        Ok(read?)
    }

    /// Time up to which all reports of both backends were passed on.
    pub(super) fn settled(&self) -> Moment {
        self.ebpf.read_at.min(self.net_dm.read_at)
    }

    /// Stops both backends, and passes on the remaining drops.
    ///
    /// The drop monitor runs for a moment longer than the kernel program, so that it reports all drops that the kernel program
    /// counted. In summary mode it stops first, because that moment is longer than a second and summaries have no times of
    /// drops.
    pub(super) async fn stop(&mut self, way: &mut Way<'_, '_, impl Consumer>) -> Ended {
        let Self { ebpf, net_dm, union, closing, .. } = self;
        *closing = ebpf.source.totals().ok().cloned();
        let monitor_first = net_dm.source.mode() == AlertMode::Summary;
        let mut way = way.joined(union.as_mut());
        let mut stopped = Ok(());
        if monitor_first {
            stopped = net_dm.stop_monitor(&mut way).await;
        }
        let detached = ebpf.source.detach();
        let at = Instant::now();
        if !monitor_first {
            stopped = net_dm.stop_monitor(&mut way).await;
        }
        ebpf.read_rest(&mut way);
        if let Some(union) = way.union {
            union.finish();
            way.outlet.settled(union);
        }
        let result = detached.map_err(anyhow::Error::from).and(stopped.map_err(Into::into));
        Ended { at, result }
    }

    /// The totals so far. `is_final`: no more drops are counted.
    pub(super) fn counted(&mut self, is_final: bool, normaliser: &mut Normaliser) -> Result<Counted> {
        let mut counted = self.ebpf.counted(is_final, normaliser)?;
        let Counted { sources, drops, .. } = self.net_dm.counted(normaliser);
        counted.sources.extend(sources);
        // Drops that the kernel program counted without their key would count twice.
        counted.drops = unite(counted.drops, if counted.overflow.is_empty() { drops } else { vec![] });
        Ok(counted)
    }

    /// The ledgers.
    pub(super) fn reports(&mut self, normaliser: &mut Normaliser) -> Result<Vec<SourceReport>> {
        Ok(vec![self.ebpf.report(normaliser)?, self.net_dm.source.report()])
    }

    /// The counts of both backends, for a comparison. Called after [`Both::stop`].
    pub(super) fn material(&mut self, normaliser: &mut Normaliser) -> Result<Material> {
        let Self { ebpf: Ebpf { source, drained, .. }, net_dm, opening, closing, .. } = self;
        let monitor = &net_dm.source;
        normaliser.refresh();
        let opening = normaliser.totals(opening);
        let closing = closing.as_ref().map_or(vec![], |closing| normaliser.totals(closing));
        let ebpf = normaliser.totals(source.totals()?);
        Ok(Material {
            opening,
            closing,
            ebpf,
            net_dm: normaliser.net_dm_totals(monitor.totals()),
            ebpf_ledger: source.ledger(*drained),
            net_dm_ledger: monitor.ledger(),
            mode: match monitor.mode() {
                AlertMode::Packet => NetDmMode::Packet,
                AlertMode::Summary => NetDmMode::Summary,
            },
            own_netlink_drops: own_netlink::drops().ok(),
        })
    }
}

/// The join of single drops, where they are reported and the options ask for it.
fn union(ebpf: &Ebpf, options: &Options) -> Option<Union> {
    let (events, wait) = (options.events.as_ref()?, options.join?);
    Some(Union::new(UnionOptions { captured: ebpf.captured, kept: events.snaplen as usize, wait }))
}

/// Fails if the backends may answer a question of the filter in different ways, so that they would count different drops.
fn check_filter(filter: &Filter) -> Result<(), Unavailable> {
    let cause = if filter.asks_tag() {
        "the drop monitor does not report the VLAN tags that the kernel removed"
    } else {
        let differs = |question: &Question| match question {
            Question::Interface(_) => Some("by an interface, the drop monitor means where a packet came in"),
            Question::Reason(_) | Question::Usual => {
                Some("the drop monitor does not report the drop reasons of most subsystems")
            }
            _ => None,
        };
        let Some(cause) = filter.questions.iter().find_map(differs) else { return Ok(()) };
        cause
    };
    Err(Unavailable::new(
        format!("filters: {cause}, so that the backends would count different drops"),
        "filter by packets and `site`; `droptrace replay` filters a recording of both by all words",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_of_both_asks_only_what_both_answer_alike() {
        let refused = |text: &str| check_filter(&Filter::parse(text).unwrap()).err().map(|why| why.cause);
        for text in ["udp port 53", "not site nf_*", "ether host 02:00:00:00:00:01 and len > 100", "tcp[tcpflags] != 0"]
        {
            assert_eq!(refused(text), None, "{text}");
        }
        for (text, cause) in [
            ("udp and iface 2", "where a packet came in"),
            ("vlan 7", "VLAN tags"),
            ("not reason NO_SOCKET", "drop reasons"),
            ("unusual", "drop reasons"),
        ] {
            assert!(refused(text).unwrap().contains(cause), "{text}");
        }
    }
}
