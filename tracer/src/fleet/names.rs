//! Names, each kept once.

type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// A name of a [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameId(u32);

/// Names by number and numbers by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    names: Vec<Box<str>>,
    by_name: Map<Box<str>, NameId>,
}

impl Names {
    pub(super) fn intern(&mut self, name: &str) -> NameId {
        if let Some(&id) = self.by_name.get(name) {
            return id;
        }
        let id = NameId(u32::try_from(self.names.len()).expect("fewer names than memory has bytes"));
        self.names.push(name.into());
        self.by_name.insert(name.into(), id);
        id
    }

    pub(super) fn resolve(&self, id: NameId) -> &str {
        &self.names[id.0 as usize]
    }
}
