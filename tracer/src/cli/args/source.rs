//! The values of `--source`.

use std::sync::LazyLock;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::backend::ebpf::Mode;
use crate::backend::net_dm::AlertMode;
use crate::run::CaptureBackend;

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
    /// Another backend of the fallback order. It has no modes that the command line selects.
    Plain(CaptureBackend),
    /// The BPF program and the drop monitor at once.
    Both,
}

static VALUES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let is_plain = |backend: &_| !matches!(backend, CaptureBackend::Ebpf(_) | CaptureBackend::NetDm(_));
    let plain = CaptureBackend::FALLBACK_ORDER.into_iter().filter(is_plain).map(Source::Plain);
    [Source::Auto, Source::Ebpf, Source::NetDm].into_iter().chain(plain).chain([Source::Both]).collect()
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
            Self::Ebpf => value("ebpf", CaptureBackend::Ebpf(Mode::TpBtf).about()),
            Self::NetDm => value("net-dm", CaptureBackend::NetDm(AlertMode::Packet).about()).alias("net_dm"),
            Self::Plain(backend) => value(backend.source(), backend.about()),
            Self::Both => value("both", CaptureBackend::Both(Mode::TpBtf, AlertMode::Packet).about()),
        })
    }
}
