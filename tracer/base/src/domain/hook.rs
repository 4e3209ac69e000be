//! The hook of netfilter at which a packet was dropped, by the call stack.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::event::Location;

/// A hook of netfilter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NetfilterHook {
    /// The family of the packet, as `nft` writes it: `ip`, `ip6`, `inet` (one of these two), `arp`, `bridge`
    /// or `netdev`.
    pub family: &'static str,
    /// The name of the hook, as `nft` writes it: `input`.
    pub hook: &'static str,
    /// The packet is a bridged one, for which `br_netfilter` calls the hooks of IP.
    pub is_bridged: bool,
}

impl fmt::Display for NetfilterHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.hook)?;
        if self.is_bridged { f.write_str(" (bridged)") } else { Ok(()) }
    }
}

/// The functions that call hooks by `NF_HOOK` and its like (`include/linux/netfilter.h`), which the compiler puts into them,
/// and the hook. A function that calls several hooks is not among them, nor is one that may be a part of such a function.
const CALLERS: [(&str, &str, &str); 33] = [
    ("ip_rcv", "ip", "prerouting"),
    ("ip_list_rcv", "ip", "prerouting"),
    ("ip_sublist_rcv", "ip", "prerouting"),
    ("ip_local_deliver", "ip", "input"),
    ("ip_forward", "ip", "forward"),
    ("__ip_local_out", "ip", "output"),
    ("ip_local_out", "ip", "output"),
    ("raw_sendmsg", "ip", "output"),
    ("raw_send_hdrinc", "ip", "output"),
    ("ip_output", "ip", "postrouting"),
    ("ip_mc_output", "ip", "postrouting"),
    ("ipv6_rcv", "ip6", "prerouting"),
    ("ipv6_list_rcv", "ip6", "prerouting"),
    ("ip6_sublist_rcv", "ip6", "prerouting"),
    ("ip6_input", "ip6", "input"),
    ("ip6_mc_input", "ip6", "input"),
    ("ip6_forward", "ip6", "forward"),
    ("__ip6_local_out", "ip6", "output"),
    ("ip6_local_out", "ip6", "output"),
    ("ip6_xmit", "ip6", "output"),
    ("rawv6_sendmsg", "ip6", "output"),
    ("rawv6_send_hdrinc", "ip6", "output"),
    ("ndisc_send_skb", "ip6", "output"),
    ("mld_sendpack", "ip6", "output"),
    ("igmp6_send", "ip6", "output"),
    ("ip6_output", "ip6", "postrouting"),
    ("arp_rcv", "arp", "input"),
    ("arp_xmit", "arp", "output"),
    ("arp_send_dst", "arp", "output"),
    ("br_pass_frame_up", "bridge", "input"),
    ("br_forward_finish", "bridge", "postrouting"),
    ("__netif_receive_skb_core", "netdev", "ingress"),
    ("__dev_queue_xmit", "netdev", "egress"),
];

/// As [`CALLERS`], in `net/bridge/br_netfilter_hooks.c`.
/// `br_nf_forward_ip` and `br_nf_post_routing` call the hook of IPv4 or that of IPv6.
const BRIDGED: [(&str, &str, &str); 5] = [
    ("br_nf_pre_routing", "ip", "prerouting"),
    ("br_nf_pre_routing_ipv6", "ip6", "prerouting"),
    ("br_nf_forward_ip", "inet", "forward"),
    ("br_nf_forward_arp", "arp", "forward"),
    ("br_nf_post_routing", "inet", "postrouting"),
];

/// The hook at which the packet was dropped: the one whose function called `nf_hook_slow`, which freed the packet or called
/// the chain of nftables that did. `None` for other drops, without a call stack, and for a caller that is not known.
pub fn netfilter_hook(stack: &[Arc<Location>]) -> Option<NetfilterHook> {
    let mut names = stack.iter().map(|location| location.symbol.as_ref().map(|symbol| base_name(&symbol.name)));
    let mut first = names.next()??;
    // An expression of nftables, the chain, and the function of its family.
    while first.starts_with("nft_") {
        first = names.next()??;
    }
    if first != "nf_hook_slow" {
        return None;
    }
    let mut caller = names.next()??;
    if caller == "nf_hook_slow_list" {
        caller = names.next()??;
    }
    let found = |callers: &[(&str, &'static str, &'static str)], is_bridged| {
        let (_, family, hook) = callers.iter().find(|(name, ..)| *name == caller)?;
        Some(NetfilterHook { family, hook, is_bridged })
    };
    found(&CALLERS, false).or_else(|| found(&BRIDGED, true))
}

/// The name of a function without what the compiler adds, such as `.constprop.0`.
fn base_name(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::super::event::Symbol;
    use super::*;

    fn stack(names: &[&str]) -> Vec<Arc<Location>> {
        let location = |name: &&str| {
            let symbol = Symbol { name: (*name).into(), offset: 1, module: None };
            Arc::new(Location { address: 1, symbol: Some(symbol), trap_group: None })
        };
        names.iter().map(location).collect()
    }

    fn shown(names: &[&str]) -> Option<String> {
        netfilter_hook(&stack(names)).map(|hook| hook.to_string())
    }

    #[test]
    fn the_caller_of_the_hook_says_which() {
        let by_nftables = ["nft_do_chain", "nft_do_chain_inet", "nf_hook_slow", "ip_local_deliver", "ip_rcv"];
        assert_eq!(shown(&by_nftables).as_deref(), Some("ip input"));
        let older = ["nf_hook_slow", "ip6_forward", "ipv6_rcv"];
        assert_eq!(shown(&older).as_deref(), Some("ip6 forward"));
        let of_a_list = ["nf_hook_slow.constprop.0", "nf_hook_slow_list", "ip_sublist_rcv", "ip_list_rcv"];
        assert_eq!(shown(&of_a_list).as_deref(), Some("ip prerouting"));
        let bridged = ["nf_hook_slow", "br_nf_pre_routing", "br_handle_frame"];
        assert_eq!(shown(&bridged).as_deref(), Some("ip prerouting (bridged)"));
        let forwarded =
            ["nft_do_chain", "nft_do_chain_inet", "nf_hook_slow", "br_nf_forward_ip.part.0", "nf_hook_slow"];
        assert_eq!(shown(&forwarded).as_deref(), Some("inet forward (bridged)"));
        let leaving = ["nf_hook_slow", "br_nf_post_routing", "nf_hook_slow", "br_forward_finish"];
        assert_eq!(shown(&leaving).as_deref(), Some("inet postrouting (bridged)"));
    }

    #[test]
    fn what_is_not_certain_has_no_hook() {
        // A drop of something that a hook sent, an unknown caller, and stacks that end.
        for names in [
            &["tcp_v4_rcv", "nf_hook_slow", "ip_local_deliver"][..],
            &["nf_hook_slow", "xfrm_output_resume"],
            &["nf_hook_slow"],
            &["nft_do_chain"],
            &["ip_rcv"],
            &[],
        ] {
            assert_eq!(shown(names), None, "{names:?}");
        }
        let hidden = [Arc::new(Location { address: 1, symbol: None, trap_group: None })];
        assert_eq!(netfilter_hook(&hidden), None);
    }
}
