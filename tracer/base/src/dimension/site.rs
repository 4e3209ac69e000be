//! The drop site: where in the kernel's code packets were freed, or in which part of a device.

use std::borrow::Cow;

use super::{Column, Dimension, Elsewhere, Members};
use crate::domain::event::{Location, NamedKey, Symbol};
use crate::outside::printable;
use crate::render::fit::shorten;

/// Shorter than this, a symbol says nothing any more.
const MIN_SYMBOL: usize = 8;

/// `udp_queue_rcv_one_skb+0x1a7`, `nf_hook_slow+0x5 [nf]`, the address, `group l3_drops` where a device dropped, or
/// `-` where the drop site is unknown; in at most `width` characters, first at the symbol's expense, then at the
/// module's.
pub fn site(location: &Location, width: usize) -> String {
    let Some(symbol) = &location.symbol else {
        if let Some(group) = &location.trap_group {
            return shorten(format!("group {}", printable(group)), width).into_owned();
        }
        if location.address == 0 {
            return "-".into();
        }
        return shorten(format!("{:#x}", location.address), width).into_owned();
    };
    let name = printable(&symbol.name);
    let length = name.chars().count();
    let offset = format!("+{:#x}", symbol.offset);
    let tails = match &symbol.module {
        Some(module) => [format!("{offset} [{}]", printable(module)), format!("{offset} […]")],
        None => [offset.clone(), offset],
    };
    for tail in &tails {
        let room = width.saturating_sub(tail.chars().count());
        if room >= length.min(MIN_SYMBOL) {
            return format!("{}{tail}", shorten(&*name, room));
        }
    }
    shorten(format!("{name}{}", tails[1]), width).into_owned()
}

pub(super) struct SiteDimension;

/// The symbol, the offset and the module.
fn names(location: &Location) -> (Option<&str>, Option<u64>, Option<&str>) {
    match &location.symbol {
        Some(Symbol { name, offset, module }) => (Some(name), Some(*offset), module.as_deref()),
        None => (None, None, None),
    }
}

impl Dimension for SiteDimension {
    fn column(&self) -> &Column {
        &Column { name: "site", heading: "WHERE", is_attribution: false }
    }

    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        site(&key.location, usize::MAX).into()
    }

    /// A site that is cut keeps its offset.
    fn text<'k>(&self, key: &'k NamedKey, width: usize) -> Cow<'k, str> {
        site(&key.location, width).into()
    }

    /// The function alone, without offset and module.
    fn brief<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        key.location.symbol.as_ref().map_or_else(|| self.value(key), |symbol| printable(&symbol.name))
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        let location = &*key.location;
        let (symbol, offset, module) = names(location);
        members.add("symbol", symbol);
        members.add("offset", offset);
        members.add("module", module);
        // As a text, because JSON's numbers do not hold 64 bits.
        members.add("address", (location.address != 0).then(|| format!("{:#x}", location.address)));
        members.add("trap_group", location.trap_group.as_deref());
    }

    fn snapshot<'k>(&self, key: &Elsewhere<'k>, members: &mut Members<'k>) {
        let (symbol, offset, module) = names(&key.key.location);
        members.add("symbol", symbol);
        members.add("offset", offset);
        members.add("module", module);
        members.add("trap_group", key.key.location.trap_group.as_deref());
    }

    fn labels(&self) -> &'static [&'static str] {
        &["symbol", "offset", "module"]
    }

    fn label_values<'k>(&self, key: &Elsewhere<'k>, values: &mut Vec<Cow<'k, str>>) {
        let (symbol, offset, module) = names(&key.key.location);
        let offset = offset.map_or_else(Cow::default, |offset| format!("{offset:#x}").into());
        values.extend([symbol.unwrap_or_default().into(), offset, module.unwrap_or_default().into()]);
    }

    fn clear(&self, key: &mut NamedKey) {
        key.location = NamedKey::default().location;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_keeps_its_offset_and_module() {
        let symbol = Symbol { name: "tcp_v4_do_rcv".into(), offset: 0x1a7, module: None };
        let in_module = Symbol { module: Some("nf_tables".into()), ..symbol.clone() };
        let at = |symbol: &Symbol, width| {
            site(&Location { address: 0xffff_ffff_8204_5927, symbol: Some(symbol.clone()), trap_group: None }, width)
        };
        assert_eq!(at(&symbol, 18), "tcp_v4_do_rcv+0x1a7".replace("_do_", "…o_"));
        assert_eq!(at(&symbol, 19), "tcp_v4_do_rcv+0x1a7");
        assert_eq!(at(&in_module, 31), "tcp_v4_do_rcv+0x1a7 [nf_tables]");
        assert_eq!(at(&in_module, 27), "tcp_…_rcv+0x1a7 [nf_tables]");
        assert_eq!(at(&in_module, 26), "tcp_…rcv+0x1a7 [nf_tables]");
        assert_eq!(at(&in_module, 20), "tcp_v…_rcv+0x1a7 […]");
        assert_eq!(at(&in_module, 12), "tcp_v4…7 […]");
        let hidden = Location { address: 0xffff_ffff_8204_5927, symbol: None, trap_group: None };
        assert_eq!(site(&hidden, 30), "0xffffffff82045927");
        assert_eq!(site(&Location { address: 0, symbol: None, trap_group: None }, 30), "-");
    }
}
