//! The functions of a call stack.

use std::sync::Arc;

use super::Normaliser;
use crate::backend::ebpf::functions;
use crate::domain::event::Location;

impl Normaliser {
    /// Puts the functions of a record's call stack into `stack`; see [`functions`].
    pub fn stack(&mut self, addresses: &[[u8; 8]], site: u64, stack: &mut Vec<Arc<Location>>) {
        functions(addresses, site, |address| self.symbols.resolve(address), stack);
    }
}
