//! The owner of a recorded packet.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::refused::Refused;
use crate::domain::event::{DropEvent, NamedKey, Residence};
use crate::domain::facts::Role;
use crate::domain::owner::{Owner, Process};

/// Bytes of a name at most: paths of cgroups are the longest.
const LONGEST: usize = 4096;

/// The member `owner` of a line. All values are absent where they are unknown.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OwnerLine<'l> {
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    residence: Option<Residence>,
    cgroup_id: Option<u64>,
    cgroup: Option<Cow<'l, str>>,
    container: Option<Cow<'l, str>>,
    pod: Option<Cow<'l, str>>,
    unit: Option<Cow<'l, str>>,
    process: Option<Cow<'l, Process>>,
}

impl<'l> OwnerLine<'l> {
    /// The owner of a drop; absent where the packet has neither a socket nor a resident, or where owners were not asked for.
    pub(crate) fn of(event: &DropEvent<'l>) -> Option<Self> {
        let key = event.key;
        let text = |text: &'l Option<Arc<str>>| text.as_deref().map(Cow::Borrowed);
        let Owner { cgroup, container, pod, unit } = &*key.owner;
        if key.socket.is_none() && key.residence.is_none() {
            return None;
        }
        Some(Self {
            role: key.socket,
            residence: key.residence,
            cgroup_id: Some(key.cgroup_id).filter(|id| *id != 0),
            cgroup: text(cgroup),
            container: text(container),
            pod: text(pod),
            unit: text(unit),
            process: event.process.map(|process| Cow::Borrowed(&**process)),
        })
    }

    /// Puts the owner into a key. Returns the process.
    pub(super) fn add_to(self, key: &mut NamedKey) -> Result<Option<Process>, Refused> {
        let Self { role, residence, cgroup_id, cgroup, container, pod, unit, process } = self;
        let comm = process.as_ref().and_then(|process| process.comm.as_deref());
        let names = [&cgroup, &container, &pod, &unit].into_iter().flatten().map(|name| &**name);
        if names.chain(comm).any(|name| name.len() > LONGEST) {
            return Err(Refused::Field("a name of `owner` is longer than 4096 bytes"));
        }
        let text = |text: Option<Cow<'_, str>>| text.map(Arc::from);
        (key.socket, key.cgroup_id) = (role, cgroup_id.unwrap_or(0));
        // A packet with a socket has its owner by the socket.
        key.residence = residence.filter(|_| role.is_none());
        key.owner = Owner { cgroup: text(cgroup), container: text(container), pod: text(pod), unit: text(unit) }.into();
        Ok(process.map(Cow::into_owned))
    }
}
