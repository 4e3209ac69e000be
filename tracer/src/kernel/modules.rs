//! What the running kernel says about its modules and about its configuration.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

/// The most bytes of the configuration that are read; distribution kernels have some 300 KB.
const LONGEST: u64 = 16 << 20;

/// Whether this kernel can load modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loadable {
    /// `/proc/modules` exists, which a kernel has only with `CONFIG_MODULES` (`kernel/module/procfs.c`).
    Yes,
    /// `/proc/modules` does not exist.
    No,
    /// `/proc` is not mounted.
    Unknown,
}

impl Loadable {
    /// Looks at `/proc`.
    pub(crate) fn look() -> Self {
        match (Path::new("/proc/modules").exists(), Path::new("/proc/version").exists()) {
            (true, _) => Self::Yes,
            (false, true) => Self::No,
            (false, false) => Self::Unknown,
        }
    }
}

/// How a feature was built into this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Built {
    /// `=y`: the kernel's image contains the feature.
    In,
    /// `=m`: a module contains the feature.
    Module,
    /// The kernel was built without the feature.
    No,
}

/// How this kernel was built with an option such as `CONFIG_NET_DROP_MONITOR`, according to `/proc/config.gz`, or else
/// `/boot/config-RELEASE`. `None` if neither can be read.
pub(crate) fn built(option: &str, release: &str) -> Option<Built> {
    let compressed = File::open("/proc/config.gz").map(|file| Box::new(GzDecoder::new(file)) as Box<dyn Read>);
    let plain = || File::open(Path::new("/boot").join(format!("config-{release}"))).map(|file| Box::new(file) as _);
    let config = compressed.or_else(|_| plain()).ok()?;
    built_in(option, BufReader::new(config.take(LONGEST)))
}

/// A text that cannot be read to its end says nothing.
fn built_in(option: &str, config: impl BufRead) -> Option<Built> {
    for line in config.lines() {
        match line.ok()?.strip_prefix(option) {
            Some("=y") => return Some(Built::In),
            Some("=m") => return Some(Built::Module),
            _ => {}
        }
    }
    Some(Built::No)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_has_options_that_are_set() {
        let config = "# CONFIG_A is not set\nCONFIG_A_B=y\nCONFIG_C=m\nCONFIG_D=\"y\"\n";
        let built = |option| built_in(option, config.as_bytes());
        assert_eq!((built("CONFIG_A"), built("CONFIG_A_B")), (Some(Built::No), Some(Built::In)));
        assert_eq!((built("CONFIG_C"), built("CONFIG_D")), (Some(Built::Module), Some(Built::No)));
        assert_eq!(built_in("CONFIG_E", &b"CONFIG_C=m\n\xff\n"[..]), None);
    }

    #[test]
    fn running_kernel_has_modules_or_not() {
        assert_ne!(Loadable::look(), Loadable::Unknown);
    }
}
