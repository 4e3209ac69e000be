//! The architectures that droptrace is built for and tested on.

use std::env;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use object::elf::{EM_AARCH64, EM_X86_64};

/// A processor's architecture, with the names that others have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Architecture {
    X86_64,
    Aarch64,
}

impl Architecture {
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// That of this machine.
    pub(crate) fn host() -> Result<Self> {
        let name = env::consts::ARCH;
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.with_context(|| format!("this machine's architecture, {name}, is none of x86_64 and aarch64"))
    }

    /// The compiler's and QEMU's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's name.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The compiler's target, with GNU's C library.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The name of GNU's tools for it, and of Debian's folders of its libraries.
    pub(crate) const fn gnu(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
        }
    }

    /// The number in the head of its programs.
    pub(crate) const fn elf(self) -> u16 {
        match self {
            Self::X86_64 => EM_X86_64,
            Self::Aarch64 => EM_AARCH64,
        }
    }
}

impl FromStr for Architecture {
    type Err = String;

    /// Takes any of the names.
    fn from_str(text: &str) -> Result<Self, String> {
        let is = |known: &Self| [known.name(), known.debian(), known.target()].contains(&text);
        let found = Self::ALL.into_iter().find(is);
        found.ok_or_else(|| {
            let targets = Self::ALL.map(Self::target).join(" and ");
            format!("`{text}` is none of the targets {targets}, which are also called x86_64, amd64, aarch64 and arm64")
        })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_understood() {
        for architecture in Architecture::ALL {
            for name in [architecture.name(), architecture.debian(), architecture.target()] {
                assert_eq!(name.parse(), Ok(architecture));
            }
        }
        let error = "riscv64".parse::<Architecture>().unwrap_err();
        assert!(error.starts_with("`riscv64` is none of the targets x86_64-unknown-linux-gnu and aarch64-"), "{error}");
        assert_eq!(Architecture::host().unwrap().name(), env::consts::ARCH);
    }
}
