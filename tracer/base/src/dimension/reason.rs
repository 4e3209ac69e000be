//! Why packets were dropped.

use std::borrow::Cow;

use super::{Column, Dimension, Elsewhere, Members};
use crate::domain::event::{NamedKey, Reason, reason_name};
use crate::outside::printable;

/// `SOCKET_RCVBUFF`, `openvswitch:LAST_ACTION`; `-` where the kernel gives no reason.
pub fn reason(reason: &Reason) -> Cow<'_, str> {
    match reason_name(reason) {
        None => "-".into(),
        Some(name) if &*reason.subsystem == "core" => printable(name),
        Some(name) => printable(&format!("{}:{name}", reason.subsystem)).into_owned().into(),
    }
}

pub(super) struct ReasonDimension;

/// The name and the subsystem.
fn names(key: &NamedKey) -> Option<(&str, &str)> {
    Some((reason_name(&key.reason)?, &*key.reason.subsystem))
}

impl Dimension for ReasonDimension {
    fn column(&self) -> &Column {
        &Column { name: "reason", heading: "REASON", is_attribution: false }
    }

    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        reason(&key.reason)
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        let (name, subsystem) = names(key).unzip();
        members.add("reason", name);
        members.add("subsystem", subsystem);
    }

    fn snapshot<'k>(&self, key: &Elsewhere<'k>, members: &mut Members<'k>) {
        self.members(key.key, members);
    }

    fn labels(&self) -> &'static [&'static str] {
        &["reason", "subsystem"]
    }

    fn label_values<'k>(&self, key: &Elsewhere<'k>, values: &mut Vec<Cow<'k, str>>) {
        let (name, subsystem) = names(key.key).unwrap_or_default();
        values.extend([name.into(), subsystem.into()]);
    }

    fn clear(&self, key: &mut NamedKey) {
        key.reason = NamedKey::default().reason;
    }
}
