//! The network namespace.

use std::borrow::Cow;

use super::{Dimension, Elsewhere, Members, nonzero, nonzero64};
use crate::domain::event::NamedKey;
use crate::outside::printable;
use crate::render::fit;

/// The namespace's name, its inode number where it has none, `-` where it is unknown.
pub fn netns(key: &NamedKey) -> Cow<'_, str> {
    match &key.netns_name {
        Some(name) => printable(name),
        None if key.netns == 0 => "-".into(),
        None => key.netns.to_string().into(),
    }
}

pub(super) struct NetnsDimension;

impl Dimension for NetnsDimension {
    fn name(&self) -> &'static str {
        "netns"
    }

    fn heading(&self) -> &'static str {
        "NETNS"
    }

    fn max_width(&self) -> Option<usize> {
        Some(16)
    }

    fn text<'k>(&self, key: &'k NamedKey, width: usize) -> Cow<'k, str> {
        fit::shorten_cow(netns(key), width)
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        members.add("netns", nonzero(key.netns));
        members.add("netns_name", key.netns_name.as_deref());
        members.add("netns_cookie", nonzero64(key.netns_cookie));
    }

    fn snapshot<'k>(&self, key: &Elsewhere<'k>, members: &mut Members<'k>) {
        members.add("netns_name", key.key.netns_name.as_deref());
        members.add("own_netns", key.is_own_netns);
    }

    fn labels(&self) -> &'static [&'static str] {
        &["netns"]
    }

    /// `own` for the namespace that droptrace runs in, the name of another, or `unnamed`.
    fn label_values<'k>(&self, key: &Elsewhere<'k>, values: &mut Vec<Cow<'k, str>>) {
        values.push(match &key.key.netns_name {
            _ if key.key.netns == 0 => "".into(),
            _ if key.is_own_netns == Some(true) => "own".into(),
            Some(name) => printable(name),
            None => "unnamed".into(),
        });
    }

    fn clear(&self, key: &mut NamedKey) {
        (key.netns, key.netns_cookie, key.netns_name) = (0, 0, None);
    }
}
