//! Whose packet it was: the control group of the process that made its socket, and what runs in that group. Of a packet
//! without a socket: the container or pod that lives in the network namespace, or at the other end of the interface.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Column, Dimension, Elsewhere, Members, nonzero64};
use crate::domain::event::{NamedKey, Residence};
use crate::domain::facts::Role;
use crate::domain::owner::Owner;
use crate::outside::printable;

/// A name of the owner.
pub(super) struct OwnerDimension {
    column: Column,
    labels: &'static [&'static str],
    value: fn(&Owner) -> Option<&str>,
    part: fn(&mut Owner) -> &mut Option<Arc<str>>,
}

const fn column(name: &'static str, heading: &'static str) -> Column {
    Column { name, heading, is_attribution: true }
}

pub(super) static CONTAINER: OwnerDimension = OwnerDimension {
    column: column("container", "CONTAINER"),
    labels: &["container"],
    value: |owner| owner.container.as_deref(),
    part: |owner| &mut owner.container,
};

pub(super) static POD: OwnerDimension = OwnerDimension {
    column: column("pod", "POD"),
    labels: &["namespace", "pod"],
    value: |owner| owner.pod.as_deref(),
    part: |owner| &mut owner.pod,
};

pub(super) static UNIT: OwnerDimension = OwnerDimension {
    column: column("unit", "UNIT"),
    labels: &["unit"],
    value: |owner| owner.unit.as_deref(),
    part: |owner| &mut owner.unit,
};

impl Dimension for OwnerDimension {
    fn column(&self) -> &Column {
        &self.column
    }

    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        (self.value)(&key.owner).map_or("-".into(), printable)
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        members.add(self.name(), (self.value)(&key.owner));
    }

    fn snapshot<'k>(&self, key: &Elsewhere<'k>, members: &mut Members<'k>) {
        self.members(key.key, members);
    }

    fn labels(&self) -> &'static [&'static str] {
        self.labels
    }

    /// A pod's name without its Kubernetes namespace. The UID that stands in for an unknown name has no namespace.
    fn label_values<'k>(&self, key: &Elsewhere<'k>, values: &mut Vec<Cow<'k, str>>) {
        let value = (self.value)(&key.key.owner).unwrap_or_default();
        if let [_namespace, _name] = self.labels {
            let (namespace, name) = value.split_once('/').unwrap_or(("", value));
            values.extend([printable(namespace), printable(name)]);
        } else {
            values.push(printable(value));
        }
    }

    fn clear(&self, key: &mut NamedKey) {
        *(self.part)(Arc::make_mut(&mut key.owner)) = None;
    }
}

pub(super) struct CgroupDimension;

impl Dimension for CgroupDimension {
    fn column(&self) -> &Column {
        &Column { name: "cgroup", heading: "CGROUP", is_attribution: true }
    }

    /// The path, or the number where the path is unknown.
    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        match &key.owner.cgroup {
            Some(path) => printable(path),
            None if key.cgroup_id == 0 => "-".into(),
            None => key.cgroup_id.to_string().into(),
        }
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        members.add("cgroup", key.owner.cgroup.as_deref());
        members.add("cgroup_id", nonzero64(key.cgroup_id));
    }

    fn snapshot<'k>(&self, key: &Elsewhere<'k>, members: &mut Members<'k>) {
        members.add("cgroup", key.key.owner.cgroup.as_deref());
    }

    fn labels(&self) -> &'static [&'static str] {
        &["cgroup"]
    }

    fn label_values<'k>(&self, key: &Elsewhere<'k>, values: &mut Vec<Cow<'k, str>>) {
        values.push(printable(key.key.owner.cgroup.as_deref().unwrap_or_default()));
    }

    fn clear(&self, key: &mut NamedKey) {
        key.cgroup_id = 0;
        Arc::make_mut(&mut key.owner).cgroup = None;
    }
}

/// Which socket the owner's is, or that the owner lives in a namespace.
pub(super) struct SocketDimension;

impl Dimension for SocketDimension {
    fn column(&self) -> &Column {
        &Column { name: "socket", heading: "SOCKET", is_attribution: true }
    }

    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        match key.socket {
            Some(role) => role.name().into(),
            None => key.residence.map_or("-", Residence::name).into(),
        }
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        let basis = key.socket.map(|_| "socket").or_else(|| key.residence.map(Residence::basis));
        members.add("socket_role", key.socket.map(Role::name));
        members.add("owner_basis", basis);
    }

    fn snapshot<'k>(&self, key: &Elsewhere<'k>, members: &mut Members<'k>) {
        self.members(key.key, members);
    }

    fn labels(&self) -> &'static [&'static str] {
        &["socket_role"]
    }

    fn label_values<'k>(&self, key: &Elsewhere<'k>, values: &mut Vec<Cow<'k, str>>) {
        values.push(key.key.socket.map_or("", Role::name).into());
    }

    fn clear(&self, key: &mut NamedKey) {
        (key.socket, key.residence) = (None, None);
    }
}

/// The container, or pod, that lives in the network namespace, or in the one at the other end of the interface: a column of
/// the table that groups by all dimensions. It divides no rows, because namespace and interface determine its value.
pub(super) struct WhoDimension;

impl Dimension for WhoDimension {
    fn column(&self) -> &Column {
        &Column { name: "who", heading: "WHO", is_attribution: true }
    }

    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        match (&key.owner.pod, &key.owner.container) {
            _ if key.residence.is_none() => "-".into(),
            (Some(pod), Some(container)) => printable(&format!("{pod}/{container}")).into_owned().into(),
            (Some(name), None) | (None, Some(name)) => printable(name),
            (None, None) => "-".into(),
        }
    }

    fn members<'k>(&self, _key: &'k NamedKey, _members: &mut Members<'k>) {}

    fn clear(&self, _key: &mut NamedKey) {}
}
