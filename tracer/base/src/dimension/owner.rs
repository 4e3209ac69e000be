//! Whose packet it was: the control group of the process that made its socket, and what runs in that group.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Dimension, Members, nonzero64};
use crate::domain::event::NamedKey;
use crate::domain::owner::Owner;
use crate::outside::printable;
use crate::render::fit;

/// A name of the owner.
pub(super) struct OwnerDimension {
    name: &'static str,
    heading: &'static str,
    part: fn(&mut Owner) -> &mut Option<Arc<str>>,
    value: fn(&Owner) -> Option<&str>,
}

pub(super) static CONTAINER: OwnerDimension = OwnerDimension {
    name: "container",
    heading: "CONTAINER",
    part: |owner| &mut owner.container,
    value: |owner| owner.container.as_deref(),
};

pub(super) static POD: OwnerDimension =
    OwnerDimension { name: "pod", heading: "POD", part: |owner| &mut owner.pod, value: |owner| owner.pod.as_deref() };

pub(super) static UNIT: OwnerDimension = OwnerDimension {
    name: "unit",
    heading: "UNIT",
    part: |owner| &mut owner.unit,
    value: |owner| owner.unit.as_deref(),
};

impl Dimension for OwnerDimension {
    fn name(&self) -> &'static str {
        self.name
    }

    fn heading(&self) -> &'static str {
        self.heading
    }

    fn max_width(&self) -> Option<usize> {
        Some(40)
    }

    fn is_attribution(&self) -> bool {
        true
    }

    fn text<'k>(&self, key: &'k NamedKey, width: usize) -> Cow<'k, str> {
        fit::shorten_cow((self.value)(&key.owner).map_or("-".into(), printable), width)
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        members.add(self.name, (self.value)(&key.owner));
    }

    fn clear(&self, key: &mut NamedKey) {
        *(self.part)(Arc::make_mut(&mut key.owner)) = None;
    }
}

pub(super) struct CgroupDimension;

impl Dimension for CgroupDimension {
    fn name(&self) -> &'static str {
        "cgroup"
    }

    fn heading(&self) -> &'static str {
        "CGROUP"
    }

    fn max_width(&self) -> Option<usize> {
        Some(48)
    }

    fn is_attribution(&self) -> bool {
        true
    }

    /// The path, or the number where the path is unknown.
    fn text<'k>(&self, key: &'k NamedKey, width: usize) -> Cow<'k, str> {
        let text = match &key.owner.cgroup {
            Some(path) => printable(path),
            None if key.cgroup_id == 0 => "-".into(),
            None => key.cgroup_id.to_string().into(),
        };
        fit::shorten_cow(text, width)
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        members.add("cgroup", key.owner.cgroup.as_deref());
        members.add("cgroup_id", nonzero64(key.cgroup_id));
    }

    fn clear(&self, key: &mut NamedKey) {
        key.cgroup_id = 0;
        Arc::make_mut(&mut key.owner).cgroup = None;
    }
}

/// Which socket the owner's is.
pub(super) struct SocketDimension;

impl Dimension for SocketDimension {
    fn name(&self) -> &'static str {
        "socket"
    }

    fn heading(&self) -> &'static str {
        "SOCKET"
    }

    fn max_width(&self) -> Option<usize> {
        Some(8)
    }

    fn is_attribution(&self) -> bool {
        true
    }

    fn text<'k>(&self, key: &'k NamedKey, _width: usize) -> Cow<'k, str> {
        key.socket.map_or("-", crate::domain::facts::Role::name).into()
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        members.add("socket_role", key.socket.map(crate::domain::facts::Role::name));
    }

    fn clear(&self, key: &mut NamedKey) {
        key.socket = None;
    }
}
