//! Interned names.

type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// A name of a [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameId(u32);

/// Names by number and numbers by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    all: Vec<Box<str>>,
    by_name: Map<Box<str>, NameId>,
    bytes: usize,
}

impl Names {
    pub(super) fn intern(&mut self, name: &str) -> NameId {
        if let Some(&id) = self.by_name.get(name) {
            return id;
        }
        let id = NameId(u32::try_from(self.all.len()).expect("fewer names than memory has bytes"));
        self.bytes += name.len();
        self.all.push(name.into());
        self.by_name.insert(name.into(), id);
        id
    }

    /// Bytes of all names.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn resolve(&self, id: NameId) -> &str {
        &self.all[id.0 as usize]
    }
}
