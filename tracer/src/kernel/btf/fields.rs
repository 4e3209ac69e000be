//! The offsets of fields in this kernel's structures.

use std::ops::ControlFlow;

use btf_rs::{BtfType, Member, Type};
use tracer_common::{ABSENT, IFNAMSIZ, Offsets};

use Shape::{Any, Bytes, Integer, Pointer};

use super::{Argument, BtfError, KernelBtf, MAX_MODIFIERS};

/// The greatest depth of nested anonymous structures; the kernel nests four deep.
const MAX_NESTING: usize = 16;
/// The greatest number of members that one search visits; `struct net_device` has about 200. The limit also ends the
/// search in types that contain themselves.
const MAX_MEMBERS: usize = 20_000;
/// The greatest number of types with one name that are tried; a kernel whose types were not all merged has two or
/// three.
const MAX_NAMESAKES: usize = 8;
/// The width of `sk_buff.pkt_type`, in bits.
const PKT_TYPE_BITS: u32 = 3;
/// The size of `sk_buff.cb`, in bytes.
const CONTROL_BYTES: u64 = 48;
/// The size in bytes of each tracepoint argument, as BPF programs receive them.
const ARGUMENT: u32 = 8;
/// The size in bytes of each of TCP's counters.
const COUNTER: u32 = 8;

/// The type that a field must have so that droptrace reads it correctly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An integer or enum of this size in bytes.
    Integer(u64),
    Pointer,
    /// An array of this size in bytes.
    Bytes(u64),
    /// Any type, because only the offset is used.
    Any,
}

impl Shape {
    const fn size(self) -> u64 {
        match self {
            Self::Integer(size) | Self::Bytes(size) => size,
            // All supported kernels have 64-bit pointers, as the BPF machine has.
            Self::Pointer => 8,
            Self::Any => 0,
        }
    }
}

/// The types with one name: one, or a few where the kernel's types were not all merged.
pub(super) struct Structure(Vec<Type>);

impl KernelBtf {
    /// The offsets of the fields that the BPF programs read, in bytes from the start of their structures.
    ///
    /// # Errors
    /// [`BtfError::Field`] if a required field is missing. The offset of any other missing field is [`ABSENT`]. A bit
    /// field, or a field of another size or kind than expected, counts as missing.
    pub fn offsets(&self) -> Result<Offsets, BtfError> {
        let (skb, device) = (self.structure("sk_buff"), self.structure("net_device"));
        let (sock, net) = (self.structure("sock"), self.structure("net"));
        let (task, files) = (self.structure("task_struct"), self.structure("files_struct"));
        let (table, file) = (self.structure("fdtable"), self.structure("file"));
        let (shared, route) = (self.structure("skb_shared_info"), self.structure("dst_entry"));
        let metadata = self.structure("devlink_trap_metadata");
        let optional = |structure, path, shape| self.offset(structure, path, shape).unwrap_or(ABSENT);
        let required =
            |field, shape| self.offset(&skb, field, shape).ok_or(BtfError::Field { structure: "sk_buff", field });
        let tracepoint = self.tracepoint().ok();
        // TCP's own part of a packet (`TCP_SKB_CB`, `include/net/tcp.h`).
        let control = self.offset(&skb, "cb", Bytes(CONTROL_BYTES));
        let in_control = self.structure("tcp_skb_cb");
        let segment = |field, shape| {
            control.zip(self.offset(&in_control, field, shape)).map_or(ABSENT, |(control, field)| control + field)
        };
        let has_error = self.has_tracepoint("tcp_retransmit_skb", &[Argument::Any, Argument::Any, Argument::Integer]);
        let argument = |index, is_there| if is_there { index * ARGUMENT } else { ABSENT };
        Ok(Offsets {
            skb_len: required("len", Integer(4))?,
            skb_data_len: optional(&skb, "data_len", Integer(4)),
            skb_protocol: required("protocol", Integer(2))?,
            skb_dev: optional(&skb, "dev", Pointer),
            skb_iif: optional(&skb, "skb_iif", Integer(4)),
            skb_sk: optional(&skb, "sk", Pointer),
            skb_head: required("head", Pointer)?,
            skb_data: required("data", Pointer)?,
            skb_mac_header: required("mac_header", Integer(2))?,
            skb_network_header: required("network_header", Integer(2))?,
            skb_refdst: optional(&skb, "_skb_refdst", Integer(8)),
            skb_vlan_tci: optional(&skb, "vlan_tci", Integer(2)),
            skb_vlan_proto: optional(&skb, "vlan_proto", Integer(2)),
            skb_vlan_present: self.bits(&skb, "vlan_present", 1).map_or(ABSENT, |(offset, _)| offset),
            skb_pkt_type: self.bits(&skb, "pkt_type", PKT_TYPE_BITS).map_or(ABSENT, |(offset, _)| offset),
            skb_mark: optional(&skb, "mark", Integer(4)),
            skb_queue: optional(&skb, "queue_mapping", Integer(2)),
            skb_end: optional(&skb, "end", Integer(4)),
            shared_gso_size: optional(&shared, "gso_size", Integer(2)),
            shared_gso_segments: optional(&shared, "gso_segs", Integer(2)),
            dev_ifindex: optional(&device, "ifindex", Integer(4)),
            dev_name: optional(&device, "name", Bytes(IFNAMSIZ as u64)),
            dev_net: optional(&device, "nd_net.net", Pointer),
            dev_index_hlist: optional(&device, "index_hlist.next", Pointer),
            dev_mtu: optional(&device, "mtu", Integer(4)),
            dev_addr: optional(&device, "dev_addr", Pointer),
            dev_xdp_prog: optional(&device, "xdp_prog", Pointer),
            dev_xdp_state: optional(&device, "xdp_state", Any),
            dev_rtnl_link_ops: optional(&device, "rtnl_link_ops", Pointer),
            link_ops_kind: optional(&self.structure("rtnl_link_ops"), "kind", Pointer),
            prog_attach_type: optional(&self.structure("bpf_prog"), "expected_attach_type", Integer(4)),
            sock_net: optional(&sock, "__sk_common.skc_net.net", Pointer),
            sock_family: optional(&sock, "__sk_common.skc_family", Integer(2)),
            sock_state: optional(&sock, "__sk_common.skc_state", Integer(1)),
            sock_cookie: optional(&sock, "__sk_common.skc_cookie.counter", Integer(8)),
            sock_port: optional(&sock, "__sk_common.skc_num", Integer(2)),
            sock_uid: optional(&sock, "sk_uid.val", Integer(4)),
            sock_kernel: self.bits(&sock, "sk_kern_sock", 1).map_or(ABSENT, |(offset, _)| offset),
            sock_receive_buffer: optional(&sock, "sk_rcvbuf", Integer(4)),
            sock_receive_queued: optional(&sock, "sk_backlog.rmem_alloc.counter", Integer(4)),
            sock_socket: optional(&sock, "sk_socket", Pointer),
            socket_inode: optional(&self.structure("socket_alloc"), "vfs_inode.i_ino", Integer(8)),
            sock_listener: optional(&sock, "__sk_common.skc_listener", Pointer),
            sock_cgroup: optional(&sock, "sk_cgrp_data.cgroup", Pointer),
            sock_cgroup_value: optional(&sock, "sk_cgrp_data.val", Integer(8)),
            cgroup_node: optional(&self.structure("cgroup"), "kn", Pointer),
            node_id: optional(&self.structure("kernfs_node"), "id", Integer(8)),
            net_inum: optional(&net, "ns.inum", Integer(4)),
            net_ops: optional(&net, "ns.ops", Pointer),
            net_cookie: optional(&net, "net_cookie", Integer(8)),
            net_ns: optional(&net, "ns", Any),
            net_dev_index_head: optional(&net, "dev_index_head", Pointer),
            dst_dev: optional(&route, "dev", Pointer),
            dst_metrics: optional(&route, "_metrics", Integer(8)),
            trap_name: optional(&metadata, "trap_name", Pointer),
            trap_group_name: optional(&metadata, "trap_group_name", Pointer),
            trap_input_dev: optional(&metadata, "input_dev", Pointer),
            trap_type: optional(&metadata, "trap_type", Integer(4)),
            task_files: optional(&task, "files", Pointer),
            files_fdt: optional(&files, "fdt", Pointer),
            fdt_fd: optional(&table, "fd", Pointer),
            fdt_max_fds: optional(&table, "max_fds", Integer(4)),
            file_inode: optional(&file, "f_inode", Pointer),
            inode_private: optional(&self.structure("inode"), "i_private", Pointer),
            tcp_seq: segment("seq", Integer(4)),
            tcp_end_seq: segment("end_seq", Integer(4)),
            tcp_segments: segment("tcp_gso_segs", Integer(2)),
            tcp_clock: optional(&self.structure("tcp_sock"), "tcp_clock_cache", Integer(8)),
            sock_source: optional(&sock, "__sk_common.skc_rcv_saddr", Integer(4)),
            sock_destination: optional(&sock, "__sk_common.skc_daddr", Integer(4)),
            sock_source_v6: optional(&sock, "__sk_common.skc_v6_rcv_saddr", Any),
            sock_destination_v6: optional(&sock, "__sk_common.skc_v6_daddr", Any),
            sock_peer_port: optional(&sock, "__sk_common.skc_dport", Integer(2)),
            net_statistics: optional(&net, "mib.net_statistics", Pointer),
            // Read where they are needed, because the search takes time.
            mib_listen_drops: ABSENT,
            mib_listen_overflows: ABSENT,
            mib_syn_queue_full: ABSENT,
            array_pptrs: optional(&self.structure("bpf_array"), "pptrs", Any),
            arg_retransmit_error: argument(2, has_error),
            arg_reason: argument(2, tracepoint.is_some_and(|arguments| arguments.has_reason)),
            arg_rx_sk: argument(3, tracepoint.is_some_and(|arguments| arguments.has_rx_sk)),
        })
    }

    /// The offsets, in `struct linux_mib`, of the counters of TCP with these names (`LINUX_MIB_…`,
    /// `include/uapi/linux/snmp.h`), whose enum has no name: the search walks over all types. Absent if one of them does not
    /// exist.
    pub(crate) fn tcp_counters<const N: usize>(&self, names: [&str; N]) -> Option<[u32; N]> {
        let first = self.offset(&self.structure("linux_mib"), "mibs", Any)?;
        let values = self.enumerators_beside(names.first()?)?;
        let offset = |name: &str| {
            let (_, index) = values.iter().find(|(known, _)| known == name)?;
            first.checked_add(u32::try_from(*index).ok()?.checked_mul(COUNTER)?)
        };
        let mut offsets = [0; N];
        for (to, name) in offsets.iter_mut().zip(names) {
            *to = offset(name)?;
        }
        Some(offsets)
    }

    /// All structures with this name.
    pub(super) fn structure(&self, name: &str) -> Structure {
        let mut types = self.types_of(name);
        types.retain(|found| matches!(found, Type::Struct(_)));
        types.truncate(MAX_NAMESAKES);
        Structure(types)
    }

    /// The offset of a field in bytes; `path` has the names of the members on the way to the field.
    pub(super) fn offset(&self, structure: &Structure, path: &str, shape: Shape) -> Option<u32> {
        structure.0.iter().find_map(|found| self.offset_within(found, path, shape))
    }

    fn offset_within(&self, structure: &Type, path: &str, shape: Shape) -> Option<u32> {
        let Type::Struct(outer) = structure else { return None };
        let mut current = structure.clone();
        let mut bits = 0_u64;
        for name in path.split('.') {
            let (offset, member) = Search { btf: self, name, left: MAX_MEMBERS }.find(&current)?;
            if member.bitfield_size().unwrap_or(0) != 0 {
                return None;
            }
            bits = bits.checked_add(offset)?;
            current = self.plain_type(member.get_type_id()?)?;
        }
        let bytes = bits / 8;
        let inside = bytes.checked_add(shape.size())? <= outer.size() as u64;
        let usable = bits.is_multiple_of(8) && inside && self.has_shape(&current, shape);
        u32::try_from(bytes).ok().filter(|_| usable)
    }

    /// The byte offset of a bit field of this width in bits, and the mask of its lowest bit within that byte. It is
    /// absent if the field has another width or crosses a byte boundary.
    pub(super) fn bits(&self, structure: &Structure, name: &str, width: u32) -> Option<(u32, u32)> {
        let found = structure.0.iter().find_map(|found| {
            let (bits, member) = Search { btf: self, name, left: MAX_MEMBERS }.find(found)?;
            (member.bitfield_size() == Some(width)).then_some(bits)
        })?;
        let (byte, lowest) = (u32::try_from(found / 8).ok()?, u32::try_from(found % 8).ok()?);
        (lowest + width <= 8).then_some((byte, 1 << lowest))
    }

    /// The mask of `sk_buff.vlan_present` in its byte; 0 where the kernel has no such field (6.2 and later).
    pub fn vlan_present_mask(&self) -> u32 {
        self.bits(&self.structure("sk_buff"), "vlan_present", 1).map_or(0, |(_, lowest)| lowest)
    }

    /// The mask of `sock.sk_kern_sock` in its byte; 0 where the kernel has no such field (before 4.11).
    pub(crate) fn sock_kernel_mask(&self) -> u32 {
        self.bits(&self.structure("sock"), "sk_kern_sock", 1).map_or(0, |(_, lowest)| lowest)
    }

    /// The lowest bit of `sk_buff.pkt_type` in its byte, and the mask of all its bits; 0 where the kernel has no such
    /// field.
    pub fn pkt_type_mask(&self) -> (u32, u32) {
        let lowest = self.bits(&self.structure("sk_buff"), "pkt_type", PKT_TYPE_BITS).map_or(0, |(_, lowest)| lowest);
        (lowest, lowest * ((1 << PKT_TYPE_BITS) - 1))
    }

    fn has_shape(&self, found: &Type, shape: Shape) -> bool {
        match shape {
            Integer(size) => match found {
                Type::Int(_) | Type::Enum(_) | Type::Enum64(_) => self.size(found) == Some(size),
                _ => false,
            },
            Pointer => matches!(found, Type::Ptr(_)),
            Any => true,
            Bytes(size) => matches!(found, Type::Array(_)) && self.size(found) == Some(size),
        }
    }

    /// The size of a type in bytes, also of nested arrays.
    fn size(&self, found: &Type) -> Option<u64> {
        let mut found = found.clone();
        let mut count = 1_u64;
        for _ in 0..MAX_MODIFIERS {
            let size = match &found {
                Type::Int(t) => t.size(),
                Type::Enum(t) => t.size(),
                Type::Enum64(t) => t.size(),
                Type::Array(t) => {
                    count = count.checked_mul(t.len() as u64)?;
                    found = self.plain_type(t.get_type_id()?)?;
                    continue;
                }
                _ => return None,
            };
            return count.checked_mul(size as u64);
        }
        None
    }
}

/// A search for one member, through anonymous structures and unions.
struct Search<'a> {
    btf: &'a KernelBtf,
    name: &'a str,
    left: usize,
}

impl Search<'_> {
    /// Returns the member and its offset in bits.
    fn find(mut self, structure: &Type) -> Option<(u64, Member)> {
        match self.visit(structure, 0, 0) {
            ControlFlow::Break(found) => found,
            ControlFlow::Continue(()) => None,
        }
    }

    /// Breaks with the member, or without a value after the search has visited too many members.
    fn visit(&mut self, structure: &Type, base: u64, depth: usize) -> ControlFlow<Option<(u64, Member)>> {
        let (Type::Struct(structure) | Type::Union(structure)) = structure else { return ControlFlow::Continue(()) };
        self.left = match self.left.checked_sub(structure.members.len() + 1) {
            Some(left) => left,
            None => return ControlFlow::Break(None),
        };
        for member in &structure.members {
            let offset = base + u64::from(member.bit_offset());
            let name = self.btf.btf.resolve_name(member).unwrap_or_default();
            if name == self.name {
                return ControlFlow::Break(Some((offset, member.clone())));
            }
            if name.is_empty() && depth < MAX_NESTING {
                let inner = member.get_type_id().and_then(|id| self.btf.plain_type(id));
                if let Some(inner) = inner {
                    self.visit(&inner, offset, depth + 1)?;
                }
            }
        }
        ControlFlow::Continue(())
    }
}
