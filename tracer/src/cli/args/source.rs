//! The values of `--source`.

use std::sync::LazyLock;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::backend::{TOTALS_BACKENDS, TotalsBackend};

/// The capture backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The first backend of the fallback order that works.
    #[default]
    Auto,
    /// The BPF program.
    Ebpf,
    /// The kernel's drop monitor.
    NetDm,
    /// A backend that reports only totals.
    Totals(&'static TotalsBackend),
    /// The BPF program and the drop monitor at once.
    Both,
}

static VALUES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let totals = TOTALS_BACKENDS.map(Source::Totals);
    [Source::Auto, Source::Ebpf, Source::NetDm].into_iter().chain(totals).chain([Source::Both]).collect()
});

impl ValueEnum for Source {
    fn value_variants<'a>() -> &'a [Self] {
        &VALUES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let value = |name, help| PossibleValue::new(name).help(help);
        Some(match self {
            Self::Auto => {
                value("auto", "The BPF program, else the drop monitor, else (not for trace) the kernel's own counters")
            }
            Self::Ebpf => value("ebpf", "The BPF program on `kfree_skb`"),
            Self::NetDm => {
                value("net-dm", "The kernel's drop monitor, over generic netlink; a host has only one").alias("net_dm")
            }
            Self::Totals(backend) => value(backend.source, backend.about),
            Self::Both => value(
                "both",
                "The BPF program and the drop monitor at once: each drop is reported once, with the backends that saw it",
            ),
        })
    }
}
