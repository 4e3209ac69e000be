//! The functions of a call stack.

use std::sync::Arc;

use super::Normaliser;
use crate::backend::ebpf::CallStack;
use crate::domain::event::Location;

impl Normaliser {
    /// Puts the functions of a record's call stack into `stack`; see `CallStack`.
    pub fn stack(&mut self, addresses: &[[u8; 8]], site: u64, stack: &mut Vec<Arc<Location>>) {
        let call_stack = CallStack::of(addresses, site);
        let functions = call_stack.addresses().map(|address| self.symbols.resolve(address));
        stack.clear();
        stack.extend(functions.skip_while(|function| call_stack.is_before(function)));
    }
}
