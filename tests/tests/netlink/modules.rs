//! Kernel modules that bring families.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// Only one test at a time reads all families, or makes some come and go.
static FAMILIES: Mutex<()> = Mutex::new(());

/// Modules that a virtual machine loads, so that there are families to compare. Missing modules are left out.
const MODULES: [&str; 8] = ["drop_monitor", "openvswitch", "wireguard", "macsec", "fou", "gtp", "team", "tipc"];

/// Waits until no other test does so, and in a virtual machine loads modules.
pub(crate) fn all() -> MutexGuard<'static, ()> {
    static ONCE: Once = Once::new();
    let guard = alone();
    if std::env::var_os("DROPTRACE_TESTS_IN_VM").is_some() {
        ONCE.call_once(|| MODULES.into_iter().for_each(|module| _ = load(module)));
    }
    guard
}

/// Waits until no other test does so.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    FAMILIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads a module. Returns whether it was loaded.
pub(crate) fn load(module: &str) -> bool {
    Command::new("modprobe").args(["-q", module]).status().is_ok_and(|status| status.success())
}

/// Unloads a module when it is dropped.
pub(crate) struct Loaded(pub(crate) &'static str);

impl Drop for Loaded {
    fn drop(&mut self) {
        // A module that cannot be unloaded stays.
        let _ = Command::new("modprobe").args(["-r", self.0]).status();
    }
}
