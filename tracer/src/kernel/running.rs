//! What droptrace reads of the running kernel once: at the first question, because not every run asks.

use std::fmt;
use std::sync::OnceLock;

use super::btf::{BtfError, KernelBtf};
use super::reasons::ReasonNames;
use super::symbols::Functions;

/// The type information and the functions of the running kernel.
#[derive(Default)]
pub struct RunningKernel {
    btf: OnceLock<Result<KernelBtf, BtfError>>,
    functions: Functions,
}

impl RunningKernel {
    /// The type information.
    ///
    /// # Errors
    /// Those of [`KernelBtf::load`].
    pub fn btf(&self) -> Result<&KernelBtf, &BtfError> {
        self.btf.get_or_init(KernelBtf::load).as_ref()
    }

    /// The names of drop reasons, also where the kernel has no type information.
    pub fn reasons(&self) -> ReasonNames {
        self.btf().map_or_else(|_| ReasonNames::without_types(), ReasonNames::load)
    }

    /// The functions.
    pub const fn functions(&self) -> &Functions {
        &self.functions
    }
}

impl fmt::Debug for RunningKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningKernel").finish_non_exhaustive()
    }
}
