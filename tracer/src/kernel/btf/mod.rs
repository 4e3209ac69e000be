//! The kernel's type information (BTF): enums, field offsets, the tracepoint's signature.

mod fields;
mod image;
mod names;
mod signature;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use btf_rs::{Btf, BtfType, Type};

pub use signature::KfreeSkb;

use names::Names;

/// Where the kernel shows its own type information (`kernel/bpf/sysfs_btf.c`).
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Typedefs, `const`, `volatile` and tags that are followed from a name to the type meant. Real chains have under 10.
const MAX_MODIFIERS: usize = 32;

/// Why the kernel's type information does not serve.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// There is none.
    #[error(
        "{} does not exist: this kernel was built without CONFIG_DEBUG_INFO_BTF, so its fields cannot be found; \
         use a kernel that has it (distribution kernels do), and see that /sys is mounted",
        path.display()
    )]
    Absent {
        /// The file looked for.
        path: PathBuf,
    },
    /// It is there, but the system refused it.
    #[error("cannot read the kernel's type information from {}", path.display())]
    Read {
        /// The file that was read.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// Its bytes make no sense.
    #[error("the kernel's type information is malformed: {0}")]
    Malformed(String),
    /// A field that nothing works without.
    #[error(
        "this kernel's struct {structure} has no field `{field}` of the expected size, without which packets cannot \
         be told apart; please report this kernel's version"
    )]
    Field {
        /// The structure.
        structure: &'static str,
        /// The field.
        field: &'static str,
    },
    /// The tracepoint is missing or not as any known kernel has it.
    #[error("this kernel's tracepoint kfree_skb cannot be used: {0}; please report this kernel's version")]
    Tracepoint(String),
}

impl From<btf_rs::Error> for BtfError {
    fn from(error: btf_rs::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The type information of the kernel's image, or of one module on top of it. Clones share it.
#[derive(Clone)]
pub struct KernelBtf {
    btf: Arc<Btf>,
    /// Where types stand by their names; none for a module's, and where that is not known.
    names: Option<Arc<Names>>,
    /// The ids of the names that were looked for: without `names` each search goes through all types.
    found: Arc<Mutex<HashMap<String, Vec<u32>>>>,
}

impl KernelBtf {
    /// Reads [`VMLINUX`].
    ///
    /// Maps the kernel's own pages, which it allows from 6.16 on, else a copy in memory. One walk over all types (130 000
    /// on 6.18) makes an index of their names; parsing all of it first, as `btf-rs` does by default, took 51–84 ms and
    /// 40 MB.
    pub fn load() -> Result<Self, BtfError> {
        Self::load_from(Path::new(VMLINUX))
    }

    fn of((btf, names): (Btf, Option<Names>)) -> Self {
        Self { btf: Arc::new(btf), names: names.map(Arc::new), found: Arc::default() }
    }

    fn load_from(path: &Path) -> Result<Self, BtfError> {
        Ok(Self::of(image::open(path)?))
    }

    /// Type information from bytes, such as a recorded file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BtfError> {
        Ok(Self::of(image::from_bytes(bytes)?))
    }

    /// A module's type information on top of this one, from the bytes of `/sys/kernel/btf/MODULE`.
    pub fn module_from_bytes(&self, bytes: &[u8]) -> Result<Self, BtfError> {
        image::check(bytes)?;
        Ok(Self::of((Btf::from_split_bytes(bytes, &self.btf)?, None)))
    }

    /// Names and values of an enum, in its order; empty where there is no such enum.
    pub(crate) fn enumerators(&self, name: &str) -> Vec<(String, u64)> {
        let types = self.types_of(name);
        types.iter().map(|found| self.values(found)).find(|values| !values.is_empty()).unwrap_or_default()
    }

    /// Names and values of all enums of this part (not of the base) whose names end so. Walks over all types: 5 ms.
    pub(crate) fn enumerators_by_suffix(&self, suffix: &str) -> Vec<(String, u64)> {
        let section = self.btf.split().unwrap_or_else(|| self.btf.base());
        let (first, last) = section.type_id_range();
        (first..=last)
            .filter_map(|id| self.btf.resolve_type_by_id(id).ok())
            .filter(|found| self.name_of(found).is_some_and(|name| name.ends_with(suffix)))
            .flat_map(|found| self.values(&found))
            .collect()
    }

    /// The id of a structure, by which `bpf_rdonly_cast` names its type.
    pub fn structure_id(&self, name: &str) -> Option<u32> {
        self.id_of(name, |found| matches!(found, Type::Struct(_)))
    }

    /// The id of a function: of one that programs may call, if it is.
    pub fn function_id(&self, name: &str) -> Option<u32> {
        self.id_of(name, |found| matches!(found, Type::Func(_)))
    }

    /// Whether the verifier tells trusted pointers apart, loads through which are not fault-tolerant (6.2 and later).
    pub fn trusts_pointers(&self) -> bool {
        self.enumerators("bpf_type_flag").iter().any(|(name, _)| name == "PTR_TRUSTED")
    }

    fn id_of(&self, name: &str, is_wanted: impl Fn(&Type) -> bool) -> Option<u32> {
        self.ids_of(name).into_iter().find(|id| self.btf.resolve_type_by_id(*id).is_ok_and(|found| is_wanted(&found)))
    }

    /// The ids of all types of a name; none where no type has it, which is an error to the library.
    fn ids_of(&self, name: &str) -> Vec<u32> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ids) = found.get(name) {
            return ids.clone();
        }
        let ids = self.search(name);
        found.insert(name.to_owned(), ids.clone());
        ids
    }

    fn search(&self, name: &str) -> Vec<u32> {
        let has_name = |id: &u32| {
            let found = self.btf.resolve_type_by_id(*id).ok();
            let found = found.as_ref().and_then(Type::as_btf_type);
            found.and_then(|found| self.btf.resolve_name(found).ok()).is_some_and(|found| found == name)
        };
        match &self.names {
            Some(names) => names.candidates(name).filter(has_name).collect(),
            None => self.btf.resolve_ids_by_name(name).unwrap_or_default(),
        }
    }

    fn types_of(&self, name: &str) -> Vec<Type> {
        self.ids_of(name).into_iter().filter_map(|id| self.btf.resolve_type_by_id(id).ok()).collect()
    }

    fn name_of(&self, found: &Type) -> Option<String> {
        match found {
            Type::Enum(found) => self.btf.resolve_name(found).ok(),
            Type::Enum64(found) => self.btf.resolve_name(found).ok(),
            _ => None,
        }
    }

    fn values(&self, found: &Type) -> Vec<(String, u64)> {
        let named = |member: &dyn BtfType, value: u64| Some((self.btf.resolve_name(member).ok()?, value));
        match found {
            Type::Enum(found) => found.members.iter().filter_map(|m| named(m, u64::from(m.val()))).collect(),
            Type::Enum64(found) => found.members.iter().filter_map(|m| named(m, m.val())).collect(),
            _ => Vec::new(),
        }
    }

    /// The type behind an id, without typedefs, qualifiers and tags.
    fn plain_type(&self, id: u32) -> Option<Type> {
        let mut found = self.btf.resolve_type_by_id(id).ok()?;
        for _ in 0..MAX_MODIFIERS {
            let next = match &found {
                Type::Typedef(t) => t.get_type_id()?,
                Type::Const(t) | Type::Volatile(t) | Type::Restrict(t) => t.get_type_id()?,
                Type::TypeTag(t) => t.get_type_id()?,
                _ => return Some(found),
            };
            found = self.btf.resolve_type_by_id(next).ok()?;
        }
        None
    }
}
