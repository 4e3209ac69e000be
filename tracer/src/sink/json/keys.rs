//! The JSON members that all drops of a key have in common, written once.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::Serialize;

use crate::dimension::{Dimensions, Members};
use crate::domain::event::NamedKey;
use crate::explain::{Usual, usual_of};
use crate::outside::to_json;

/// Largest number of keys whose text is kept; beyond it, the cache is emptied.
const MAX_KEYS: usize = 1 << 13;

/// Texts of keys.
pub(super) struct KeyTexts {
    dimensions: Dimensions,
    /// Texts by the address of the key in memory. The key is kept with its text, so that no other key gets its address.
    texts: HashMap<usize, (Arc<NamedKey>, Vec<u8>), RandomState>,
}

impl Default for KeyTexts {
    fn default() -> Self {
        Self { dimensions: Dimensions::of_drops(), texts: HashMap::default() }
    }
}

impl KeyTexts {
    /// The members of a key, without the braces around them.
    pub(super) fn members(&mut self, key: &Arc<NamedKey>) -> io::Result<&[u8]> {
        let at = Arc::as_ptr(key).addr();
        if !self.texts.contains_key(&at) {
            if self.texts.len() >= MAX_KEYS {
                self.texts.clear();
            }
            let mut text = Vec::new();
            to_json(&mut text, &Keyed::new(key, &self.dimensions))?;
            self.texts.insert(at, (Arc::clone(key), text));
        }
        let object = &self.texts[&at].1;
        Ok(&object[1..object.len() - 1])
    }
}

/// The members of a key.
#[derive(Serialize)]
pub(super) struct Keyed<'k> {
    kind: &'static str,
    /// `never`, `sometimes` or `often`; null where it is unknown whether healthy hosts have such drops.
    usual: Option<&'static str>,
    #[serde(flatten)]
    key: Members<'k>,
}

impl<'k> Keyed<'k> {
    /// The members in these dimensions.
    pub(super) fn new(key: &'k NamedKey, dimensions: &Dimensions) -> Self {
        let usual = if dimensions.contains("reason") { usual_of(key) } else { None };
        Self { kind: key.kind.name(), usual: usual.map(Usual::name), key: dimensions.members(key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::key;

    #[test]
    fn key_cache_is_bounded_and_exact() {
        let mut keys = KeyTexts::default();
        for ifindex in 1..=u32::try_from(MAX_KEYS).unwrap() + 5 {
            let key = Arc::new(NamedKey { ifindex, ..key() });
            for _ in 0..2 {
                let text = String::from_utf8(keys.members(&key).unwrap().to_vec()).unwrap();
                assert!(text.contains(&format!("\"ifindex\":{ifindex},")), "{text}");
            }
        }
        assert_eq!(keys.texts.len(), 5);
    }
}
