//! The network namespace.

use std::borrow::Cow;

use super::{Column, Dimension, Elsewhere, Members, nonzero, nonzero64};
use crate::domain::event::NamedKey;
use crate::outside::printable;

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
    fn column(&self) -> &Column {
        &Column { name: "netns", heading: "NETNS", is_attribution: false }
    }

    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        netns(key)
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

    /// `own` for the namespace that droptrace runs in, the name of another, or the inode number of one without a name, so that
    /// the namespaces of containers do not share a series where their names are not visible.
    fn label_values<'k>(&self, key: &Elsewhere<'k>, values: &mut Vec<Cow<'k, str>>) {
        values.push(match &key.key.netns_name {
            _ if key.key.netns == 0 => "".into(),
            _ if key.is_own_netns == Some(true) => "own".into(),
            _ => netns(key.key),
        });
    }

    fn clear(&self, key: &mut NamedKey) {
        (key.netns, key.netns_cookie, key.netns_name) = (0, 0, None);
    }
}
