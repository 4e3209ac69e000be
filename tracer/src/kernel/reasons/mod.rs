//! The names of drop reasons in the running kernel. Their numbers change between kernels, even within a stable series,
//! so a reason that this kernel does not name is shown as a number.

mod format;
#[cfg(test)]
mod tests;
pub(crate) mod xdp;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracer_common::REASON_ABSENT;

use super::btf::KernelBtf;
use crate::domain::event::Reason;

/// The folder in which modules show their type information, one file each, beside the kernel's `vmlinux`.
const MODULES: &str = "/sys/kernel/btf";

/// The suffix of the names of subsystem enums: `mac80211_drop_reason`, `ovs_drop_reason`, `qdisc_drop_reason`.
const SUBSYSTEM_ENUM: &str = "_drop_reason";

/// The least time between two searches. A search through modules takes milliseconds, so a flood of unknown numbers must
/// not cause one each time.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// `SKB_DROP_REASON_SUBSYS_SHIFT` (`include/net/dropreason-core.h`).
const SUBSYSTEM_SHIFT: u32 = 16;

/// The numbers and names of drop reasons.
pub struct ReasonNames {
    /// The image's type information. It is absent where the kernel has none.
    btf: Option<KernelBtf>,
    modules: PathBuf,
    subsystems: HashMap<u32, Arc<str>>,
    names: HashMap<u32, Arc<str>>,
    resolved: HashMap<u32, Arc<Reason>>,
    /// The parts of the kernel whose subsystem enums were read, by file name; `vmlinux` is the image.
    searched: HashSet<OsString>,
    searched_at: Option<Instant>,
}

impl ReasonNames {
    /// Reads `enum skb_drop_reason` and `enum skb_drop_reason_subsys`. If the kernel has no such type, reads the core's
    /// names from the tracepoint's `format` file, if that can be read.
    ///
    /// Enums of subsystems are read at the first reason of a subsystem.
    pub fn load(btf: &KernelBtf) -> Self {
        let mut names = Self::from_btf(btf, MODULES.into());
        if names.names.is_empty() {
            names.add_format(&format::read());
        }
        names
    }

    /// The same as [`ReasonNames::load`], for kernels without type information.
    pub fn without_types() -> Self {
        let mut names = Self {
            btf: None,
            modules: PathBuf::new(),
            subsystems: HashMap::new(),
            names: HashMap::new(),
            resolved: HashMap::new(),
            searched: HashSet::new(),
            searched_at: None,
        };
        names.add_format(&format::read());
        names
    }

    fn from_btf(btf: &KernelBtf, modules: PathBuf) -> Self {
        let core = btf.enumerators("skb_drop_reason").into_iter().filter(|(name, _)| is_reason(name));
        let names = core.filter_map(|(name, value)| Some((u32::try_from(value).ok()?, core_name(&name).into())));
        let subsystems = btf.enumerators("skb_drop_reason_subsys").into_iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("SKB_DROP_REASON_SUBSYS_")?;
            Some((u32::try_from(value).ok()?, name.to_lowercase().into())).filter(|_| name != "NUM")
        });
        Self {
            btf: Some(btf.clone()),
            modules,
            subsystems: subsystems.collect(),
            names: first_of_each(names),
            resolved: HashMap::new(),
            searched: HashSet::new(),
            searched_at: None,
        }
    }

    fn add_format(&mut self, format: &str) {
        let named = format::parse(format).into_iter().filter(|(_, name)| is_reason(name));
        self.names = first_of_each(named.map(|(value, name)| (value, name.into())));
    }

    /// The number of names that are known so far.
    pub fn known(&self) -> usize {
        self.names.len()
    }

    /// The reason with this number, whose high 16 bits are the subsystem. Equal numbers give the same `Arc`.
    ///
    /// Core reasons have no prefix `SKB_DROP_REASON_`, as in the output of the kernel's own tracepoint. Reasons of
    /// subsystems have the kernel's full name (`OVS_DROP_LAST_ACTION`), as `NET_DM` reports them. [`REASON_ABSENT`], of
    /// kernels that report no reason, becomes the core's `NOT_SPECIFIED`, which has the same meaning.
    pub fn resolve(&mut self, raw: u32) -> Arc<Reason> {
        if let Some(reason) = self.resolved.get(&raw) {
            return Arc::clone(reason);
        }
        self.resolve_at(raw, Instant::now())
    }

    fn resolve_at(&mut self, raw: u32, now: Instant) -> Arc<Reason> {
        if let Some(reason) = self.resolved.get(&raw) {
            return Arc::clone(reason);
        }
        if raw == REASON_ABSENT {
            return self.keep(raw, Reason { value: Some(raw), subsystem: "core".into(), name: "NOT_SPECIFIED".into() });
        }
        let subsystem = raw >> SUBSYSTEM_SHIFT;
        let mut complete = true;
        if subsystem != 0 && !self.names.contains_key(&raw) {
            complete = self.search(now);
        }
        let reason = Reason { value: Some(raw), subsystem: self.subsystem(subsystem), name: self.name(raw) };
        // A later search may still find the name.
        if complete { self.keep(raw, reason) } else { Arc::new(reason) }
    }

    /// The reason with this name as `NET_DM` reports it: without prefix for core reasons, the full name for those of
    /// subsystems.
    ///
    /// A name that is not in this kernel's types is kept, without a number. This allocates and searches, so the caller
    /// should ask once for each name.
    pub fn by_name(&mut self, name: &str) -> Arc<Reason> {
        let number =
            |names: &Self| names.names.iter().filter(|(_, known)| &***known == name).map(|(raw, _)| *raw).min();
        let mut found = number(self);
        if found.is_none() && self.search(Instant::now()) {
            found = number(self);
        }
        match found {
            Some(raw) => self.resolve(raw),
            None => Arc::new(Reason { value: None, subsystem: subsystem_of(name).into(), name: name.into() }),
        }
    }

    /// The numbers of the reasons whose names are wanted, those of all subsystems and loaded modules included. Unlike
    /// [`ReasonNames::resolve`], knows no reasons of modules that are loaded later.
    pub fn numbers(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<u32> {
        self.search(Instant::now());
        self.names.iter().filter(|(_, name)| wanted(name)).map(|(raw, _)| *raw).collect()
    }

    fn keep(&mut self, raw: u32, reason: Reason) -> Arc<Reason> {
        Arc::clone(self.resolved.entry(raw).or_insert_with(|| Arc::new(reason)))
    }

    fn name(&self, raw: u32) -> Arc<str> {
        self.names.get(&raw).cloned().unwrap_or_else(|| raw.to_string().into())
    }

    fn subsystem(&self, number: u32) -> Arc<str> {
        match self.subsystems.get(&number) {
            Some(name) => Arc::clone(name),
            // Kernels before 6.4 have no subsystems: all reasons are the core's.
            None if number == 0 => "core".into(),
            None => number.to_string().into(),
        }
    }

    /// Reads the subsystem enums of the image and of the modules that were not read before. Returns `false` if the last
    /// search was too recent.
    fn search(&mut self, now: Instant) -> bool {
        if self.searched_at.is_some_and(|at| now.saturating_duration_since(at) < SEARCH_INTERVAL) {
            return false;
        }
        self.searched_at = Some(now);
        let Some(btf) = &self.btf else { return true };
        if self.searched.insert("vmlinux".into()) {
            let found = btf.enumerators_by_suffix(SUBSYSTEM_ENUM);
            self.add_subsystem_reasons(found);
        }
        // Without this folder the kernel shows no modules' types.
        for module in std::fs::read_dir(&self.modules).into_iter().flatten().flatten() {
            if self.searched.insert(module.file_name()) {
                let bytes = std::fs::read(module.path()).unwrap_or_default();
                self.add_module(&bytes);
            }
        }
        true
    }

    /// Adds a module's reasons. Most modules have none: only a module whose strings contain the suffix is parsed.
    fn add_module(&mut self, bytes: &[u8]) {
        let mut ending = SUBSYSTEM_ENUM.as_bytes().to_vec();
        ending.push(0);
        if bytes.windows(ending.len()).any(|part| part == ending)
            && let Some(btf) = &self.btf
            && let Ok(module) = btf.module_from_bytes(bytes)
        {
            self.add_subsystem_reasons(module.enumerators_by_suffix(SUBSYSTEM_ENUM));
        }
    }

    fn add_subsystem_reasons(&mut self, enumerators: Vec<(String, u64)>) {
        for (name, value) in enumerators {
            let Ok(raw) = u32::try_from(value) else { continue };
            let number = raw >> SUBSYSTEM_SHIFT;
            if number != 0 && self.subsystems.contains_key(&number) && is_reason(&name) {
                self.names.entry(raw).or_insert_with(|| name.into());
            }
        }
    }
}

/// The subsystem of a reason, from the prefix that the subsystem's enum gives to its names.
fn subsystem_of(name: &str) -> &'static str {
    match name {
        _ if name.starts_with("RX_DROP_U_") => "mac80211_unusable",
        _ if name.starts_with("OVS_DROP_") => "openvswitch",
        _ if name.starts_with("QDISC_DROP_") => "qdisc",
        _ => "core",
    }
}

fn core_name(enumerator: &str) -> &str {
    enumerator.strip_prefix("SKB_DROP_REASON_").unwrap_or(enumerator)
}

/// Returns whether a packet can be dropped for this enumerator. Enums also have masks, end marks and the bases of
/// subsystems.
fn is_reason(name: &str) -> bool {
    !name.starts_with("__") && !name.ends_with("_MAX") && !name.ends_with("_MASK") && name != "MAX"
}

/// If an enum has two names for a number, the first one is used, because the kernel's source documents that one.
fn first_of_each(pairs: impl Iterator<Item = (u32, Arc<str>)>) -> HashMap<u32, Arc<str>> {
    let mut names = HashMap::new();
    for (value, name) in pairs {
        names.entry(value).or_insert(name);
    }
    names
}
