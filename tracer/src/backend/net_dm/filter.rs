//! Filters of packet alerts: the drop monitor has none in the kernel.

use std::sync::Arc;

use super::message::PacketAlert;
use crate::domain::event::PacketStart;
use crate::explain::{MalformedData, UsualDrops};
use crate::filter::question::Question;
use crate::filter::{Filter, Named};
use crate::kernel::symbols::Symbols;
use crate::packet;

/// Leading bytes of each packet that a filter sees, unless more are asked for.
pub(super) const SEEN: u32 = 512;

/// A filter, and what it needs to answer its questions.
pub(super) struct AlertFilter {
    filter: Arc<Filter>,
    usual: &'static UsualDrops,
    symbols: Symbols,
}

impl AlertFilter {
    pub(super) fn new(filter: Arc<Filter>) -> Result<Self, MalformedData> {
        Ok(Self { filter, usual: UsualDrops::built_in()?, symbols: Symbols::new() })
    }

    /// Whether the packet matches.
    pub(super) fn matches(&mut self, alert: &PacketAlert<'_>) -> bool {
        let Self { filter, usual, symbols } = self;
        let site = (filter.asks_site() && alert.pc != 0).then(|| symbols.resolve(alert.pc));
        let function = site.as_ref().and_then(|site| site.symbol.as_ref()).map(|symbol| &*symbol.name);
        let named = Named {
            usual,
            reason: alert.trap.or(alert.reason),
            function,
            interface: alert.interface,
            ifindex: alert.ifindex,
            netns: 0,
            netns_name: None,
            home_netns: 0,
            owner: None,
            uid: None,
            process: None,
        };
        let protocol = alert.protocol.unwrap_or_default();
        let view = packet::view(PacketStart::Mac, protocol, alert.length, alert.payload, None);
        filter.matches(&view, &named)
    }
}

/// The word of a question that the drop monitor never answers, if the filter asks one.
pub(crate) fn unanswered(filter: &Filter) -> Option<&'static str> {
    filter.questions.iter().find_map(|question| match question {
        Question::Netns(_) => Some("netns"),
        Question::Cgroup(_) => Some("cgroup"),
        Question::Container(_) => Some("container"),
        Question::Pod(_) => Some("pod"),
        Question::User(_) => Some("uid"),
        Question::Process(_) => Some("process"),
        // The name of an interface is in the messages about devices' drops only.
        Question::Interface(given) if given.parse::<u32>().is_err() => Some("iface NAME"),
        Question::Interface(_) | Question::Reason(_) | Question::Site(_) | Question::Usual => None,
    })
}
