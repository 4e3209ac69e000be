//! Generic netlink families by name (`net/netlink/genetlink.c`).

use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};

use super::error::Error;
use super::request::{Connection, Kind, Reply};
use super::wire::{self, Malformed};

/// The number of the controller, which is fixed.
pub(super) const NLCTRL: u16 = 16;

/// `enum` of `CTRL_ATTR_…` and `CTRL_ATTR_MCAST_GRP_…` (`include/uapi/linux/genetlink.h`).
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const VERSION: u16 = 3;
const MCAST_GROUPS: u16 = 7;
const GROUP_NAME: u16 = 1;
const GROUP_ID: u16 = 2;

/// A multicast group of a family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The name of the group, such as `events`.
    pub name: String,
    /// The number of the group on this kernel, for [`super::Socket::join`].
    pub id: u32,
}

/// A family as this kernel has it now. Its numbers change when its module is loaded again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// The name of the family, such as `NET_DM`.
    pub name: String,
    /// The number of the family, which is the type of its messages.
    pub id: u16,
    /// The version of the family.
    pub version: u32,
    /// The multicast groups of the family.
    pub groups: Vec<Group>,
}

impl Family {
    /// Requests the family with this name; the kernel may load a module for it.
    pub async fn resolve(connection: &mut Connection, name: &str) -> Result<Self, Error> {
        let request = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![GenlCtrlAttrs::FamilyName(name.to_owned())] };
        let mut found = None;
        let what = "the number of a generic netlink family (CTRL_CMD_GETFAMILY)";
        let result = connection
            .call(what, NLCTRL, request, Kind::Do, |reply| {
                found = Some(Self::parse(&reply)?);
                Ok(())
            })
            .await;
        match result {
            Err(error) if error.errno() == Some(libc::ENOENT) => Err(Error::NoFamily { name: name.to_owned() }),
            Err(error) => Err(error),
            Ok(()) => found.ok_or(Error::Malformed { request: what, source: Malformed("it is empty") }),
        }
    }

    /// All families that this kernel has now.
    pub async fn list(connection: &mut Connection) -> Result<Vec<Self>, Error> {
        let request = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![] };
        let mut families = Vec::new();
        let what = "the list of generic netlink families (CTRL_CMD_GETFAMILY)";
        connection
            .call(what, NLCTRL, request, Kind::Dump, |reply| {
                families.push(Self::parse(&reply)?);
                Ok(())
            })
            .await?;
        Ok(families)
    }

    /// The number of the group with this name.
    pub fn group(&self, name: &'static str) -> Result<u32, Error> {
        let group = self.groups.iter().find(|group| group.name == name);
        group.map(|group| group.id).ok_or_else(|| Error::NoGroup { family: self.name.clone(), group: name })
    }

    pub(super) fn parse(reply: &Reply<'_>) -> Result<Self, Malformed> {
        let mut family = Self::default();
        for attribute in wire::attributes(reply.attributes) {
            let attribute = attribute?;
            match attribute.kind {
                FAMILY_ID => family.id = attribute.u16()?,
                FAMILY_NAME => attribute.text()?.clone_into(&mut family.name),
                VERSION => family.version = attribute.u32()?,
                MCAST_GROUPS => {
                    family.groups = attribute.nested().map(|group| Group::parse(&group?)).collect::<Result<_, _>>()?;
                }
                // Newer kernels send more attributes.
                _ => {}
            }
        }
        if family.id == 0 { Err(Malformed("a family without a number")) } else { Ok(family) }
    }
}

impl Group {
    fn parse(group: &wire::Attribute<'_>) -> Result<Self, Malformed> {
        let mut parsed = Self::default();
        for attribute in group.nested() {
            let attribute = attribute?;
            match attribute.kind {
                GROUP_NAME => attribute.text()?.clone_into(&mut parsed.name),
                GROUP_ID => parsed.id = attribute.u32()?,
                _ => {}
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[rustfmt::skip]
    pub(in crate::netlink) const NET_DM: [u8; 64] = [
        0x0b, 0x00, 0x02, 0x00, b'N', b'E', b'T', b'_', b'D', b'M', 0x00, 0x00, // CTRL_ATTR_FAMILY_NAME
        0x06, 0x00, 0x01, 0x00, 0x1b, 0x00, 0x00, 0x00, // CTRL_ATTR_FAMILY_ID: 27
        0x08, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x00, // CTRL_ATTR_VERSION: 2
        0x08, 0x00, 0x63, 0x00, 0xff, 0xff, 0xff, 0xff, // 99: of a kernel to come
        0x1c, 0x00, 0x07, 0x80, // CTRL_ATTR_MCAST_GROUPS, nested
        0x18, 0x00, 0x01, 0x80, // the first
        0x08, 0x00, 0x02, 0x00, 0x0a, 0x00, 0x00, 0x00, // CTRL_ATTR_MCAST_GRP_ID: 10
        0x0b, 0x00, 0x01, 0x00, b'e', b'v', b'e', b'n', b't', b's', 0x00, 0x00, // CTRL_ATTR_MCAST_GRP_NAME
    ];

    fn parse(bytes: &[u8]) -> Result<Family, Malformed> {
        Family::parse(&Reply { command: 1, attributes: bytes })
    }

    #[test]
    fn a_family_and_its_groups() {
        let family = parse(&NET_DM).unwrap();
        assert_eq!((family.name.as_str(), family.id, family.version), ("NET_DM", 27, 2));
        assert_eq!(family.groups, [Group { name: "events".into(), id: 10 }]);
        assert_eq!(family.group("events").unwrap(), 10);
        assert_eq!(
            family.group("packets").unwrap_err().to_string(),
            "the generic netlink family NET_DM has no multicast group packets"
        );
    }

    #[test]
    fn truncated_messages_are_refused_or_lack_a_part() {
        for length in 0..NET_DM.len() {
            if let Ok(family) = parse(&NET_DM[..length]) {
                assert!(family.groups.is_empty(), "{length}");
            }
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn running_controller_reports_its_own_family() {
        run(async {
            let mut connection = Connection::open().unwrap();
            let controller = Family::resolve(&mut connection, "nlctrl").await.unwrap();
            assert_eq!(controller.id, NLCTRL);
            assert!(controller.group("notify").unwrap() > 0);
            let all = Family::list(&mut connection).await.unwrap();
            assert!(all.contains(&controller), "{all:?}");
            for family in &all {
                assert_eq!(&Family::resolve(&mut connection, &family.name).await.unwrap(), family);
            }
        });
    }

    #[test]
    fn unknown_family_is_an_error() {
        run(async {
            let mut connection = Connection::open().unwrap();
            let error = Family::resolve(&mut connection, "no such family").await.unwrap_err();
            assert!(matches!(&error, Error::NoFamily { name } if name == "no such family"), "{error}");
            // The connection stays usable.
            Family::resolve(&mut connection, "nlctrl").await.unwrap();
        });
    }

    #[test]
    fn refusal_has_the_kernels_message() {
        run(async {
            let mut connection = Connection::open().unwrap();
            // The name is longer than its policy allows (GENL_NAMSIZ, 16).
            let error = Family::resolve(&mut connection, &"x".repeat(40)).await.unwrap_err();
            let Error::Refused { source, .. } = &error else { panic!("{error}") };
            assert!(source.message.is_some(), "{source:?}");
            assert_eq!(source.offset, Some(20), "the first attribute stands behind both headers");
        });
    }
}
