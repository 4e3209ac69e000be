//! Names for numbers, from the kernel's headers; netlink itself does not report them.

/// The name of a well-known family's command, without its prefix.
pub(crate) fn command(family: &str, number: u32) -> Option<&'static str> {
    let names: &[&str] = match family {
        "nlctrl" => &NLCTRL_COMMANDS,
        "NET_DM" => &NET_DM_COMMANDS,
        "irda" => &["SET_MODE", "GET_MODE"],
        _ => &[],
    };
    nth(names, number.checked_sub(1)?)
}

/// The name of a well-known family's attribute, without its prefix. Nested attributes have no names here.
pub(crate) fn attribute(family: &str, number: u16) -> Option<&'static str> {
    let names: &[&str] = match family {
        "nlctrl" => &NLCTRL_ATTRIBUTES,
        "NET_DM" => &NET_DM_ATTRIBUTES,
        "irda" => &["IFNAME", "MODE"],
        _ => &[],
    };
    nth(names, u32::from(number).checked_sub(1)?)
}

/// The name of a netlink protocol, `NETLINK_…` without its prefix (`include/uapi/linux/netlink.h`).
pub(crate) fn protocol(number: u32) -> Option<&'static str> {
    nth(&PROTOCOLS, number).filter(|name| !name.is_empty())
}

/// The name of a multicast group of a protocol with fixed groups. The families of generic netlink report their groups.
pub(crate) fn group(protocol: u32, number: u32) -> Option<&'static str> {
    let names: &[&str] = match protocol {
        0 => &ROUTE_GROUPS,
        4 => &["INET_TCP_DESTROY", "INET_UDP_DESTROY", "INET6_TCP_DESTROY", "INET6_UDP_DESTROY"],
        6 => &["ACQUIRE", "EXPIRE", "SA", "POLICY", "AEVENTS", "REPORT", "MIGRATE", "MAPPING"],
        9 => &["READLOG"],
        12 => &NETFILTER_GROUPS,
        15 => &["kernel", "udev"],
        _ => &[],
    };
    nth(names, number.checked_sub(1)?)
}

fn nth(names: &[&'static str], index: u32) -> Option<&'static str> {
    names.get(usize::try_from(index).ok()?).copied()
}

/// `CTRL_CMD_…` (`include/uapi/linux/genetlink.h`), from 1.
const NLCTRL_COMMANDS: [&str; 10] = [
    "NEWFAMILY",
    "DELFAMILY",
    "GETFAMILY",
    "NEWOPS",
    "DELOPS",
    "GETOPS",
    "NEWMCAST_GRP",
    "DELMCAST_GRP",
    "GETMCAST_GRP",
    "GETPOLICY",
];

/// `CTRL_ATTR_…` (`include/uapi/linux/genetlink.h`), from 1.
const NLCTRL_ATTRIBUTES: [&str; 10] =
    ["FAMILY_ID", "FAMILY_NAME", "VERSION", "HDRSIZE", "MAXATTR", "OPS", "MCAST_GROUPS", "POLICY", "OP_POLICY", "OP"];

/// `NET_DM_CMD_…` (`include/uapi/linux/net_dropmon.h`), from 1.
const NET_DM_COMMANDS: [&str; 9] =
    ["ALERT", "CONFIG", "START", "STOP", "PACKET_ALERT", "CONFIG_GET", "CONFIG_NEW", "STATS_GET", "STATS_NEW"];

/// `NET_DM_ATTR_…` (`include/uapi/linux/net_dropmon.h`), from 1.
const NET_DM_ATTRIBUTES: [&str; 23] = [
    "ALERT_MODE",
    "PC",
    "SYMBOL",
    "IN_PORT",
    "TIMESTAMP",
    "PROTO",
    "PAYLOAD",
    "PAD",
    "TRUNC_LEN",
    "ORIG_LEN",
    "QUEUE_LEN",
    "STATS",
    "HW_STATS",
    "ORIGIN",
    "HW_TRAP_GROUP_NAME",
    "HW_TRAP_NAME",
    "HW_ENTRIES",
    "HW_ENTRY",
    "HW_TRAP_COUNT",
    "SW_DROPS",
    "HW_DROPS",
    "FLOW_ACTION_COOKIE",
    "REASON",
];

const PROTOCOLS: [&str; 23] = [
    "ROUTE",
    "UNUSED",
    "USERSOCK",
    "FIREWALL",
    "SOCK_DIAG",
    "NFLOG",
    "XFRM",
    "SELINUX",
    "ISCSI",
    "AUDIT",
    "FIB_LOOKUP",
    "CONNECTOR",
    "NETFILTER",
    "IP6_FW",
    "DNRTMSG",
    "KOBJECT_UEVENT",
    "GENERIC",
    "",
    "SCSITRANSPORT",
    "ECRYPTFS",
    "RDMA",
    "CRYPTO",
    "SMC",
];

/// `RTNLGRP_…` (`include/uapi/linux/rtnetlink.h`), from 1.
const ROUTE_GROUPS: [&str; 36] = [
    "LINK",
    "NOTIFY",
    "NEIGH",
    "TC",
    "IPV4_IFADDR",
    "IPV4_MROUTE",
    "IPV4_ROUTE",
    "IPV4_RULE",
    "IPV6_IFADDR",
    "IPV6_MROUTE",
    "IPV6_ROUTE",
    "IPV6_IFINFO",
    "DECnet_IFADDR",
    "NOP2",
    "DECnet_ROUTE",
    "DECnet_RULE",
    "NOP4",
    "IPV6_PREFIX",
    "IPV6_RULE",
    "ND_USEROPT",
    "PHONET_IFADDR",
    "PHONET_ROUTE",
    "DCB",
    "IPV4_NETCONF",
    "IPV6_NETCONF",
    "MDB",
    "MPLS_ROUTE",
    "NSID",
    "MPLS_NETCONF",
    "IPV4_MROUTE_R",
    "IPV6_MROUTE_R",
    "NEXTHOP",
    "BRVLAN",
    "MCTP_IFADDR",
    "TUNNEL",
    "STATS",
];

/// `NFNLGRP_…` (`include/uapi/linux/netfilter/nfnetlink.h`), from 1.
const NETFILTER_GROUPS: [&str; 9] = [
    "CONNTRACK_NEW",
    "CONNTRACK_UPDATE",
    "CONNTRACK_DESTROY",
    "CONNTRACK_EXP_NEW",
    "CONNTRACK_EXP_UPDATE",
    "CONNTRACK_EXP_DESTROY",
    "NFTABLES",
    "ACCT_QUOTA",
    "NFTRACE",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers as in the kernel's headers, at both ends of each list.
    #[test]
    fn numbers_have_their_names() {
        assert_eq!((command("nlctrl", 3), command("nlctrl", 10)), (Some("GETFAMILY"), Some("GETPOLICY")));
        assert_eq!((command("NET_DM", 1), command("NET_DM", 9)), (Some("ALERT"), Some("STATS_NEW")));
        assert_eq!((command("NET_DM", 0), command("NET_DM", 10), command("devlink", 1)), (None, None, None));
        assert_eq!((attribute("NET_DM", 9), attribute("NET_DM", 23)), (Some("TRUNC_LEN"), Some("REASON")));
        assert_eq!((attribute("nlctrl", 10), attribute("irda", 2)), (Some("OP"), Some("MODE")));
        assert_eq!((command("irda", 1), command("irda", 3)), (Some("SET_MODE"), None));
        assert_eq!((protocol(0), protocol(16), protocol(22)), (Some("ROUTE"), Some("GENERIC"), Some("SMC")));
        assert_eq!((protocol(17), protocol(23)), (None, None));
        assert_eq!((group(0, 1), group(0, 36), group(0, 37)), (Some("LINK"), Some("STATS"), None));
        assert_eq!((group(0, 0), group(15, 2), group(12, 9)), (None, Some("udev"), Some("NFTRACE")));
        let libcs = [(libc::RTNLGRP_ND_USEROPT, "ND_USEROPT"), (libc::RTNLGRP_NSID, "NSID")];
        assert!(libcs.iter().all(|(number, name)| group(0, *number) == Some(name)));
    }
}
