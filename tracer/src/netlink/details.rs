//! The controller's description of a family beyond its number (`ctrl_fill_info`, `net/netlink/genetlink.c`).

use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};

use super::error::Error;
use super::family::{Family, NLCTRL};
use super::request::{Connection, Kind, Reply};
use super::wire::{self, Attribute, Malformed};

/// `CTRL_ATTR_…` and `CTRL_ATTR_OP_…` (`include/uapi/linux/genetlink.h`).
const HEADER_SIZE: u16 = 4;
const MAX_ATTRIBUTE: u16 = 5;
const OPERATIONS: u16 = 6;
const OPERATION_ID: u16 = 1;
const OPERATION_FLAGS: u16 = 2;

/// `GENL_…` (`include/uapi/linux/genetlink.h`).
const ADMIN: u32 = 1;
const DO: u32 = 2;
const DUMP: u32 = 4;
const HAS_POLICY: u32 = 8;
const NAMESPACE_ADMIN: u32 = 16;

/// A command that the family answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// The number of the command.
    pub number: u32,
    flags: u32,
}

impl Operation {
    /// Returns whether the command accepts single requests (`GENL_CMD_CAP_DO`).
    pub const fn does(self) -> bool {
        self.flags & DO != 0
    }

    /// Returns whether the command can list (`GENL_CMD_CAP_DUMP`).
    pub const fn dumps(self) -> bool {
        self.flags & DUMP != 0
    }

    /// Returns whether the command needs `CAP_NET_ADMIN` in the first user namespace (`GENL_ADMIN_PERM`).
    pub(crate) const fn needs_admin(self) -> bool {
        self.flags & ADMIN != 0
    }

    /// Returns whether the command needs `CAP_NET_ADMIN` in the user namespace of the network namespace
    /// (`GENL_UNS_ADMIN_PERM`).
    pub(crate) const fn needs_namespace_admin(self) -> bool {
        self.flags & NAMESPACE_ADMIN != 0
    }

    /// Returns whether the kernel checks the command's attributes against a policy (`GENL_CMD_CAP_HASPOL`).
    pub(crate) const fn has_policy(self) -> bool {
        self.flags & HAS_POLICY != 0
    }

    /// An operation with this number and these `GENL_…` flags.
    pub const fn of(number: u32, flags: u32) -> Self {
        Self { number, flags }
    }

    fn parse(operation: &Attribute<'_>) -> Result<Self, Malformed> {
        let mut parsed = Self::default();
        for attribute in operation.nested() {
            let attribute = attribute?;
            match attribute.kind {
                OPERATION_ID => parsed.number = attribute.u32()?,
                OPERATION_FLAGS => parsed.flags = attribute.u32()?,
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// A family with its operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The name, the numbers and the groups of the family.
    pub family: Family,
    /// The length in bytes of the family's own header, after the generic header.
    pub header_size: u32,
    /// The highest number of the family's attributes; 0 also if each operation has attributes of its own.
    pub max_attribute: u32,
    /// The commands of the family, in the kernel's order.
    pub operations: Vec<Operation>,
}

impl Details {
    /// Requests the details of the family with this name; the kernel may load a module for it.
    pub async fn resolve(connection: &mut Connection, name: &str) -> Result<Self, Error> {
        let request = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![GenlCtrlAttrs::FamilyName(name.to_owned())] };
        let what = "what a generic netlink family is (CTRL_CMD_GETFAMILY)";
        match Self::ask(connection, what, request, Kind::Do).await {
            Err(error) if error.errno() == Some(libc::ENOENT) => Err(Error::NoFamily { name: name.to_owned() }),
            Err(error) => Err(error),
            Ok(found) => {
                found.into_iter().next().ok_or(Error::Malformed { request: what, source: Malformed("it is empty") })
            }
        }
    }

    /// All families that answer in this network namespace.
    pub async fn list(connection: &mut Connection) -> Result<Vec<Self>, Error> {
        let request = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![] };
        let what = "the list of generic netlink families (CTRL_CMD_GETFAMILY)";
        Self::ask(connection, what, request, Kind::Dump).await
    }

    async fn ask(
        connection: &mut Connection,
        what: &'static str,
        request: GenlCtrl,
        kind: Kind,
    ) -> Result<Vec<Self>, Error> {
        let mut found = Vec::new();
        let visit = |reply: Reply<'_>| {
            found.push(Self::parse(&reply)?);
            Ok(())
        };
        connection.call(what, NLCTRL, request, kind, visit).await?;
        Ok(found)
    }

    /// Parses the controller's message about a family.
    pub fn parse(reply: &Reply<'_>) -> Result<Self, Malformed> {
        let mut details = Self { family: Family::parse(reply)?, ..Self::default() };
        for attribute in wire::attributes(reply.attributes) {
            let attribute = attribute?;
            match attribute.kind {
                HEADER_SIZE => details.header_size = attribute.u32()?,
                MAX_ATTRIBUTE => details.max_attribute = attribute.u32()?,
                OPERATIONS => {
                    let operations = attribute.nested().map(|operation| Operation::parse(&operation?));
                    details.operations = operations.collect::<Result<_, _>>()?;
                }
                _ => {}
            }
        }
        Ok(details)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::family::tests::NET_DM;

    #[rustfmt::skip]
    const REST: [u8; 60] = [
        0x08, 0x00, 0x04, 0x00, 0x04, 0x00, 0x00, 0x00, // CTRL_ATTR_HDRSIZE: 4
        0x08, 0x00, 0x05, 0x00, 0x17, 0x00, 0x00, 0x00, // CTRL_ATTR_MAXATTR: 23
        0x2c, 0x00, 0x06, 0x80, // CTRL_ATTR_OPS, nested
        0x14, 0x00, 0x01, 0x80, // the first
        0x08, 0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, // CTRL_ATTR_OP_ID: 2
        0x08, 0x00, 0x02, 0x00, 0x0b, 0x00, 0x00, 0x00, // CTRL_ATTR_OP_FLAGS: admin, do, policy
        0x14, 0x00, 0x02, 0x80, // the second
        0x08, 0x00, 0x01, 0x00, 0x06, 0x00, 0x00, 0x00, // CTRL_ATTR_OP_ID: 6
        0x08, 0x00, 0x02, 0x00, 0x14, 0x00, 0x00, 0x00, // CTRL_ATTR_OP_FLAGS: dump, admin of the namespace
    ];

    fn parse(attributes: &[u8]) -> Result<Details, Malformed> {
        Details::parse(&Reply { command: 1, attributes })
    }

    #[test]
    fn operations_and_their_flags() {
        let details = parse(&[&NET_DM[..], &REST].concat()).unwrap();
        assert_eq!((details.family.id, details.header_size, details.max_attribute), (27, 4, 23));
        let [configure, get] = details.operations[..] else { panic!("{details:?}") };
        assert_eq!((configure.number, get.number), (2, 6));
        assert!(configure.does() && configure.needs_admin() && configure.has_policy() && !configure.dumps());
        assert!(get.dumps() && get.needs_namespace_admin() && !get.does() && !get.needs_admin() && !get.has_policy());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..96), cut in 0_usize..=124) {
            let message = [&NET_DM[..], &REST].concat();
            _ = parse(&[&message[..cut], &bytes].concat());
        }
    }
}
