//! Filters in the kernel program: their code, translated, is the body of its function `packet_filter`.

mod assembler;
mod condition;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod random;
mod resolve;
#[cfg(test)]
mod tests;
mod translate;

use aya_obj::generated::bpf_insn;
use tracer_common::{FILTER_INTERFACE, FILTER_ON, FILTER_PACKET, FILTER_USER};

use super::feature::Features;
use crate::filter::Filter;
use crate::filter::code::{Number, Op};
use crate::filter::question::Question;
pub(super) use resolve::Resolver;
pub use resolve::Unresolved;
use translate::{Reading, translate};

/// Reason why the kernel program cannot apply a filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterRefused {
    /// A question has no answer here.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// The kernel does not let programs read packets.
    #[error(
        "the filter `{text}` asks for bytes of packets, which this kernel does not let programs read \
         (lockdown=confidentiality, before Linux 6.2)"
    )]
    Unreadable {
        /// The filter's text.
        text: String,
    },
    /// The machine's jumps are too short.
    #[error("the filter `{text}` is too long for the kernel")]
    TooLong {
        /// The filter's text.
        text: String,
    },
}

/// The `FILTER_*` bits: what the kernel program prepares for the filter.
pub(super) fn needs(filter: &Filter) -> u32 {
    let mut needs = FILTER_ON;
    let of_packet = |op: &Op| matches!(op, Op::Load { .. } | Op::Number(Number::Protocol | Number::VlanTag));
    if filter.code.iter().any(of_packet) {
        needs |= FILTER_PACKET;
    }
    if filter.questions.iter().any(|question| matches!(question, Question::Interface(_))) {
        needs |= FILTER_INTERFACE;
    }
    if filter.questions.iter().any(|question| matches!(question, Question::User(_))) {
        needs |= FILTER_USER;
    }
    needs
}

/// Whether the filter asks for control groups.
pub(super) fn asks_cgroups(filter: &Filter) -> bool {
    let is_of_cgroup =
        |question: &Question| matches!(question, Question::Cgroup(_) | Question::Container(_) | Question::Pod(_));
    filter.questions.iter().any(is_of_cgroup)
}

/// The instructions of a filter on this kernel.
pub(super) fn instructions(
    filter: &Filter,
    features: &Features,
    resolver: &Resolver<'_>,
) -> Result<Vec<bpf_insn>, FilterRefused> {
    let reading = match features.rdonly_cast {
        Some(function) => Reading::Cast { function, in6_addr: features.types.in6_addr },
        None if features.may_probe => Reading::Probe,
        None => Reading::Nothing,
    };
    let text = || filter.text.clone();
    if reading == Reading::Nothing && filter.asks_bytes() {
        return Err(FilterRefused::Unreadable { text: text() });
    }
    let conditions = resolver.conditions(&filter.questions)?;
    translate(&filter.code, &conditions, reading).map_err(|_| FilterRefused::TooLong { text: text() })
}
