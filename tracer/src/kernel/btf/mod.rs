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

pub use signature::{Argument, KfreeSkb, UdpFailure};

use names::Names;

/// The file in which the kernel shows its own type information (`kernel/bpf/sysfs_btf.c`).
pub(crate) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The greatest number of typedefs, `const`, `volatile` and tags between a name and its type. Real chains have under
/// 10.
const MAX_MODIFIERS: usize = 32;

/// The kernel's type information cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel has no type information.
    #[error(
        "{} does not exist: this kernel was built without CONFIG_DEBUG_INFO_BTF, so its fields cannot be found; \
         use a kernel that has it (distribution kernels do), and see that /sys is mounted",
        path.display()
    )]
    Absent {
        /// The path of the missing file.
        path: PathBuf,
    },
    /// The file exists, but the system refused to open or read it.
    #[error("cannot read the kernel's type information from {}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The bytes of the file are not valid BTF.
    #[error("the kernel's type information is malformed: {0}")]
    Malformed(String),
    /// A structure lacks a field that droptrace requires.
    #[error(
        "this kernel's struct {structure} has no field `{field}` of the expected size, without which packets cannot \
         be distinguished; please report this kernel's version"
    )]
    Field {
        /// The name of the structure.
        structure: &'static str,
        /// The name of the field.
        field: &'static str,
    },
    /// The tracepoint is missing, or its arguments are not those of any known kernel.
    #[error("this kernel's tracepoint kfree_skb cannot be used: {0}; please report this kernel's version")]
    Tracepoint(String),
}

impl From<btf_rs::Error> for BtfError {
    fn from(error: btf_rs::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The type information of the kernel's image, or of one module together with the image. Clones share the data.
#[derive(Clone)]
pub struct KernelBtf {
    btf: Arc<Btf>,
    /// The index of types by name. It is absent for a module, and for an image whose types could not be indexed.
    names: Option<Arc<Names>>,
    /// The ids that earlier searches found, by name. Without `names`, each search walks over all types.
    found: Arc<Mutex<HashMap<String, Vec<u32>>>>,
}

impl KernelBtf {
    /// Reads `/sys/kernel/btf/vmlinux`.
    ///
    /// The file is mapped where the kernel allows it (6.16 and later), else it is copied to memory. One walk over all
    /// types (130 000 on 6.18) makes an index of their names. Parsing the whole file first, as `btf-rs` does by
    /// default, took 51–84 ms and 40 MB.
    pub fn load() -> Result<Self, BtfError> {
        Self::load_from(Path::new(VMLINUX))
    }

    fn of((btf, names): (Btf, Option<Names>)) -> Self {
        Self { btf: Arc::new(btf), names: names.map(Arc::new), found: Arc::default() }
    }

    fn load_from(path: &Path) -> Result<Self, BtfError> {
        Ok(Self::of(image::open(path)?))
    }

    /// Opens type information from bytes, such as those of a recorded file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BtfError> {
        Ok(Self::of(image::from_bytes(bytes)?))
    }

    /// The type information of a module together with this image, from the bytes of `/sys/kernel/btf/MODULE`.
    pub fn module_from_bytes(&self, bytes: &[u8]) -> Result<Self, BtfError> {
        image::check(bytes)?;
        Ok(Self::of((Btf::from_split_bytes(bytes, &self.btf)?, None)))
    }

    /// The names and values of an enum, in its order; empty if the kernel has no such enum.
    pub(crate) fn enumerators(&self, name: &str) -> Vec<(String, u64)> {
        let types = self.types_of(name);
        types.iter().map(|found| self.values(found)).find(|values| !values.is_empty()).unwrap_or_default()
    }

    /// The names and values of all enums whose names have this suffix, in this part only (not in the base). The walk
    /// over all types takes 5 ms.
    pub(crate) fn enumerators_by_suffix(&self, suffix: &str) -> Vec<(String, u64)> {
        let section = self.btf.split().unwrap_or_else(|| self.btf.base());
        let (first, last) = section.type_id_range();
        (first..=last)
            .filter_map(|id| self.btf.resolve_type_by_id(id).ok())
            .filter(|found| self.name_of(found).is_some_and(|name| name.ends_with(suffix)))
            .flat_map(|found| self.values(&found))
            .collect()
    }

    /// The names and values of the enum that has a value of this name; the enum itself has none, so that all types are
    /// walked over.
    fn enumerators_beside(&self, name: &str) -> Option<Vec<(String, u64)>> {
        let (first, last) = self.btf.base().type_id_range();
        (first..=last)
            .filter_map(|id| self.btf.resolve_type_by_id(id).ok())
            .filter(|found| self.name_of(found).is_some_and(|name| name.is_empty()))
            .map(|found| self.values(&found))
            .find(|values| values.iter().any(|(known, _)| known == name))
    }

    /// The type id of a structure, which `bpf_rdonly_cast` takes. It is absent if the kernel has no such structure.
    pub fn structure_id(&self, name: &str) -> Option<u32> {
        self.id_of(name, |found| matches!(found, Type::Struct(_)))
    }

    /// The type id of a function, such as one that BPF programs may call. It is absent if the kernel has no such
    /// function.
    pub fn function_id(&self, name: &str) -> Option<u32> {
        self.id_of(name, |found| matches!(found, Type::Func(_)))
    }

    /// Returns whether the verifier distinguishes trusted pointers (6.2 and later). Loads through trusted pointers are
    /// not fault-tolerant.
    pub fn trusts_pointers(&self) -> bool {
        self.enumerators("bpf_type_flag").iter().any(|(name, _)| name == "PTR_TRUSTED")
    }

    fn id_of(&self, name: &str, is_wanted: impl Fn(&Type) -> bool) -> Option<u32> {
        self.ids_of(name).into_iter().find(|id| self.btf.resolve_type_by_id(*id).is_ok_and(|found| is_wanted(&found)))
    }

    /// The ids of all types with this name; empty if no type has it, which `btf-rs` reports as an error.
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

    /// The type with this id, after its typedefs, qualifiers and tags are removed.
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
