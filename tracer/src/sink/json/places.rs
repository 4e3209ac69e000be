//! The members that all drops of a place have in common, written once.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::Serialize;

use super::{Address, Shown, nonzero, protocol_of, symbol_of, trap_group};
use crate::domain::event::Place;
use crate::domain::event::reason_name;
use crate::outside::to_json;
use crate::packet::ProtocolName;

/// Largest number of places whose text is kept; beyond it, the cache is emptied.
const MAX_PLACES: usize = 1 << 13;

/// Texts of places.
#[derive(Default)]
pub(super) struct Places {
    /// Texts by the address of the place in memory. The place is kept with its text, so that no other place gets its
    /// address.
    texts: HashMap<usize, (Arc<Place>, Vec<u8>), RandomState>,
}

impl Places {
    /// The members of a place, without the braces around them.
    pub(super) fn members(&mut self, place: &Arc<Place>) -> io::Result<&[u8]> {
        let at = Arc::as_ptr(place).addr();
        if !self.texts.contains_key(&at) {
            if self.texts.len() >= MAX_PLACES {
                self.texts.clear();
            }
            let mut text = Vec::new();
            to_json(&mut text, &Members::from(&**place))?;
            self.texts.insert(at, (Arc::clone(place), text));
        }
        let object = &self.texts[&at].1;
        Ok(&object[1..object.len() - 1])
    }
}

/// The members of a place.
#[derive(Serialize)]
pub(super) struct Members<'p> {
    kind: &'static str,
    reason: Option<&'p str>,
    subsystem: Option<&'p str>,
    symbol: Option<&'p str>,
    offset: Option<u64>,
    module: Option<&'p str>,
    address: Option<Shown<Address>>,
    trap_group: Option<&'p str>,
    interface: Option<&'p str>,
    ifindex: Option<u32>,
    netns: Option<u32>,
    netns_name: Option<&'p str>,
    netns_cookie: Option<u64>,
    protocol: Option<Shown<ProtocolName>>,
}

impl<'p> From<&'p Place> for Members<'p> {
    fn from(place: &'p Place) -> Self {
        let (symbol, offset, module) = symbol_of(&place.location);
        let reason = reason_name(&place.reason);
        Self {
            kind: place.kind.name(),
            reason,
            subsystem: reason.map(|_| &*place.reason.subsystem),
            symbol,
            offset,
            module,
            address: Address::of(&place.location),
            trap_group: trap_group(&place.location),
            interface: place.interface.as_deref(),
            ifindex: nonzero(place.ifindex),
            netns: nonzero(place.netns),
            netns_name: place.netns_name.as_deref(),
            netns_cookie: Some(place.netns_cookie).filter(|cookie| *cookie != 0),
            protocol: protocol_of(place.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::place;

    #[test]
    fn place_cache_is_bounded_and_exact() {
        let mut places = Places::default();
        for ifindex in 1..=u32::try_from(MAX_PLACES).unwrap() + 5 {
            let place = Arc::new(Place { ifindex, ..place() });
            for _ in 0..2 {
                let text = String::from_utf8(places.members(&place).unwrap().to_vec()).unwrap();
                assert!(text.contains(&format!("\"ifindex\":{ifindex},")), "{text}");
            }
        }
        assert_eq!(places.texts.len(), 5);
    }
}
