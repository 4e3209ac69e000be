//! The constants that userspace writes into the kernel program before it is loaded.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Offset of a structure's field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// [`Config::reads`]: objects beyond the `sk_buff` are read with plain loads, which are fault-tolerant because this
/// kernel's verifier trusts no pointer (before 6.2).
pub const READ_PLAIN: u32 = 0;
/// [`Config::reads`]: with plain loads through pointers that `bpf_rdonly_cast` has made untrusted (6.2 and later): a
/// load that faults reads 0.
pub const READ_CAST: u32 = 1;

/// [`Config::bytes`]: this kernel does not let the program read bytes of packets.
pub const BYTES_NONE: u32 = 0;
/// [`Config::bytes`]: bytes of packets are read with the helper `bpf_probe_read_kernel`.
pub const BYTES_PROBE: u32 = 1;
/// [`Config::bytes`]: bytes of packets are read through `bpf_rdonly_cast`, because the kernel refuses the helper
/// (`lockdown=confidentiality`).
pub const BYTES_CAST: u32 = 2;

/// [`Config::udp_receivers`]: nothing leads from a packet that UDP cannot queue to the socket; or `kfree_skb` reports the
/// socket itself, or nobody asks for it.
pub const UDP_RECEIVERS_UNKNOWN: u32 = 0;
/// [`Config::udp_receivers`]: `udp_fail_queue_rcv_skb` reports packet and socket before the packet is freed (6.10).
pub const UDP_RECEIVERS_NOTED: u32 = 1;
/// [`Config::udp_receivers`]: `udp_fail_queue_rcv_skb` reports the socket after the packet was freed (before 6.10).
pub const UDP_RECEIVERS_LATER: u32 = 2;

/// The number of the call that stands for the kernel function `bpf_rdonly_cast` in the object. No helper has this
/// number. Userspace replaces each such call before loading: with a call of the function, or with a move if the kernel
/// lacks it.
pub const CALL_RDONLY_CAST: u32 = 0x6472_6f70;

/// The upper half of the number in an instruction that stands for a number of [`Config`], whose offset is the lower
/// half: a move of 32 bits, or one of 64 bits with the number in both halves. Userspace replaces each before loading.
pub const CONSTANT: u32 = 0x6472_0000;
/// A value that is added to the offset of a load of a kernel field: the lower part of the offset is eight times the
/// field's index in [`Offsets`], plus the number of words beyond. No other load has such an offset. Userspace replaces
/// each before loading.
pub const FIELD: u16 = 0x7000;

/// Byte offsets of kernel fields, from BTF. [`ABSENT`] if this kernel has no such field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Offsets {
    /// `sk_buff.len`: bytes of data from `data` on, paged part included.
    pub skb_len: u32,
    /// `sk_buff.data_len`: the paged part of `len`.
    pub skb_data_len: u32,
    /// `sk_buff.protocol`: `EtherType`, big-endian.
    pub skb_protocol: u32,
    /// `sk_buff.dev`, in a union with `dev_scratch` and with links of trees and lists: not always a device.
    pub skb_dev: u32,
    /// `sk_buff.skb_iif`: index of the interface that received the packet, 0 without one.
    pub skb_iif: u32,
    /// `sk_buff.sk`: the socket that owns the packet, or NULL; in a union with `ip_defrag_offset`.
    pub skb_sk: u32,
    /// `sk_buff.head`: start of the buffer, from which `mac_header` and `network_header` count.
    pub skb_head: u32,
    /// `sk_buff.data`: start of the remaining data of the packet.
    pub skb_data: u32,
    /// `sk_buff.mac_header`: 0xffff when not set.
    pub skb_mac_header: u32,
    /// `sk_buff.network_header`: 0 when not set.
    pub skb_network_header: u32,
    /// `sk_buff._skb_refdst`: the packet's route, with flags in the lowest bits; in a union with a list's links.
    pub skb_refdst: u32,
    /// `sk_buff.vlan_tci`: the VLAN tag that the kernel removed from the bytes.
    pub skb_vlan_tci: u32,
    /// `sk_buff.vlan_proto`: the `EtherType` of that tag, big-endian; 0 without a tag (6.2 and later).
    pub skb_vlan_proto: u32,
    /// The byte with the bit `sk_buff.vlan_present` (before 6.2).
    pub skb_vlan_present: u32,
    /// The byte with the bits of `sk_buff.pkt_type`.
    pub skb_pkt_type: u32,
    /// `sk_buff.mark`.
    pub skb_mark: u32,
    /// `sk_buff.queue_mapping`.
    pub skb_queue: u32,
    /// `sk_buff.end`: the end of the buffer as a distance from `head`, which is the position of `struct
    /// skb_shared_info`.
    pub skb_end: u32,
    /// `skb_shared_info.gso_size`.
    pub shared_gso_size: u32,
    /// `skb_shared_info.gso_segs`.
    pub shared_gso_segments: u32,
    /// `net_device.ifindex`.
    pub dev_ifindex: u32,
    /// `net_device.name`: [`crate::IFNAMSIZ`] bytes.
    pub dev_name: u32,
    /// `net_device.nd_net.net`: the device's network namespace.
    pub dev_net: u32,
    /// `net_device.index_hlist`: an interface's link in its namespace's hash of interfaces.
    pub dev_index_hlist: u32,
    /// `net_device.mtu`.
    pub dev_mtu: u32,
    /// `net_device.dev_addr`: pointer to the device's link address.
    pub dev_addr: u32,
    /// `net_device.xdp_prog`: the generic XDP program.
    pub dev_xdp_prog: u32,
    /// `net_device.xdp_state`: an array of `struct bpf_xdp_entity`, by `enum bpf_xdp_mode` (5.9 and later).
    pub dev_xdp_state: u32,
    /// `net_device.rtnl_link_ops`: the kind of a virtual device; NULL for other devices.
    pub dev_rtnl_link_ops: u32,
    /// `rtnl_link_ops.kind`: pointer to text, such as `veth`.
    pub link_ops_kind: u32,
    /// `bpf_prog.expected_attach_type`: `enum bpf_attach_type`.
    pub prog_attach_type: u32,
    /// `sock.__sk_common.skc_net.net`: the socket's network namespace.
    pub sock_net: u32,
    /// `sock.__sk_common.skc_family`.
    pub sock_family: u32,
    /// `sock.__sk_common.skc_state`.
    pub sock_state: u32,
    /// `sock.__sk_common.skc_cookie.counter`.
    pub sock_cookie: u32,
    /// `sock.__sk_common.skc_num`.
    pub sock_port: u32,
    /// `sock.sk_uid.val`.
    pub sock_uid: u32,
    /// The byte with the bit `sock.sk_kern_sock`.
    pub sock_kernel: u32,
    /// `sock.sk_rcvbuf`.
    pub sock_receive_buffer: u32,
    /// `sock.sk_backlog.rmem_alloc.counter`.
    pub sock_receive_queued: u32,
    /// `sock.sk_socket`: the user-space side of the socket, or NULL.
    pub sock_socket: u32,
    /// The number of the inode next to it (`socket_alloc.vfs_inode.i_ino`).
    pub socket_inode: u32,
    /// `sock.__sk_common.skc_listener` of a request socket: the listener.
    pub sock_listener: u32,
    /// `sock.sk_cgrp_data.cgroup`: pointer to the control group (`struct cgroup`) of the process that made the socket.
    pub sock_cgroup: u32,
    /// `sock.sk_cgrp_data.val` (before 5.15): the same pointer as a number, unless one of its lowest bits is set
    /// (`sock_cgroup_ptr`, `include/linux/cgroup.h`).
    pub sock_cgroup_value: u32,
    /// `cgroup.kn`: the control group's folder.
    pub cgroup_node: u32,
    /// `kernfs_node.id`: the number of that folder, its inode number where `ino_t` has 64 bits.
    pub node_id: u32,
    /// `net.ns.inum`: the namespace's inode number, as `/proc/PID/ns/net` shows it.
    pub net_inum: u32,
    /// `net.ns.ops`: the same pointer in every network namespace, by which a namespace is recognised.
    pub net_ops: u32,
    /// `net.net_cookie`, an `u64` that is never reused (5.12 and later).
    pub net_cookie: u32,
    /// `net.ns`: the part to which an nsfs inode points.
    pub net_ns: u32,
    /// `net.dev_index_head`: the namespace's interfaces, hashed by index.
    pub net_dev_index_head: u32,
    /// `dst_entry.dev`: the route's device.
    pub dst_dev: u32,
    /// `dst_entry._metrics`: a pointer to the route's metrics, with flags in the lowest bits.
    pub dst_metrics: u32,
    /// `devlink_trap_metadata.trap_name`: a pointer to text.
    pub trap_name: u32,
    /// `devlink_trap_metadata.trap_group_name`, likewise.
    pub trap_group_name: u32,
    /// `devlink_trap_metadata.input_dev`: the device that received the packet, or NULL.
    pub trap_input_dev: u32,
    /// `devlink_trap_metadata.trap_type`: `enum devlink_trap_type`.
    pub trap_type: u32,
    /// `task_struct.files`.
    pub task_files: u32,
    /// `files_struct.fdt`.
    pub files_fdt: u32,
    /// `fdtable.fd`: the array of open files.
    pub fdt_fd: u32,
    /// `fdtable.max_fds`.
    pub fdt_max_fds: u32,
    /// `file.f_inode`.
    pub file_inode: u32,
    /// `inode.i_private`.
    pub inode_private: u32,
    /// `tcp_skb_cb.seq` in `sk_buff.cb`: the first sequence number of a segment in TCP's own queues.
    pub tcp_seq: u32,
    /// `tcp_skb_cb.end_seq`, likewise: the sequence number behind the segment.
    pub tcp_end_seq: u32,
    /// `tcp_skb_cb.tcp_gso_segs`, likewise: packets on the wire.
    pub tcp_segments: u32,
    /// `tcp_sock.tcp_clock_cache`: nanoseconds of `CLOCK_MONOTONIC` at the socket's last event.
    pub tcp_clock: u32,
    /// `sock.__sk_common.skc_rcv_saddr`.
    pub sock_source: u32,
    /// `sock.__sk_common.skc_daddr`.
    pub sock_destination: u32,
    /// `sock.__sk_common.skc_v6_rcv_saddr`: sixteen bytes.
    pub sock_source_v6: u32,
    /// `sock.__sk_common.skc_v6_daddr`, likewise.
    pub sock_destination_v6: u32,
    /// `sock.__sk_common.skc_dport`.
    pub sock_peer_port: u32,
    /// Index of the argument `err` of `tcp_retransmit_skb`: not 0 if the segment was not sent.
    pub arg_retransmit_error: u32,
    /// `net.mib.net_statistics`: the address of the first copy, to which the distance of a CPU's own memory is added.
    pub net_statistics: u32,
    /// `linux_mib.mibs[LINUX_MIB_LISTENDROPS]`; this and the next two are [`ABSENT`] where refused SYNs are not counted.
    pub mib_listen_drops: u32,
    /// `linux_mib.mibs[LINUX_MIB_LISTENOVERFLOWS]`.
    pub mib_listen_overflows: u32,
    /// `linux_mib.mibs[LINUX_MIB_TCPREQQFULLDROP]`.
    pub mib_syn_queue_full: u32,
    /// `bpf_array.pptrs`: of a per-CPU array, the addresses of the elements' first copies.
    pub array_pptrs: u32,
    /// Index of the argument `reason` for the programs on `kfree_skb` (5.17 and later, and backports).
    pub arg_reason: u32,
    /// Likewise `rx_sk` (6.11 and later, and backports); it may be NULL.
    pub arg_rx_sk: u32,
}

/// BTF ids of the types that `bpf_rdonly_cast` casts to; 0 if it is not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct TypeIds {
    /// `struct sk_buff`.
    pub sk_buff: u32,
    /// `struct net_device`.
    pub net_device: u32,
    /// `struct sock`.
    pub sock: u32,
    /// `struct in6_addr`: sixteen plain bytes, through which plain numbers are read.
    pub in6_addr: u32,
}

/// The configuration of the kernel program, which userspace writes before loading. The verifier sees constants and
/// removes dead branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Config {
    /// Addresses below this are not kernel pointers (another member of a union shows through).
    pub kernel_space: u64,
    /// The offsets of this kernel's fields.
    pub offsets: Offsets,
    /// The types of casts.
    pub types: TypeIds,
    /// How the program that is attached as `tp_btf` reads objects beyond the `sk_buff`: one of the `READ_*` values.
    pub reads: u32,
    /// How bytes of packets are read: one of the `BYTES_*` values.
    pub bytes: u32,
    /// Not 0: the kernel lets programs call `bpf_probe_read_kernel`.
    pub may_probe: u32,
    /// The bits that are set in each reason, whatever the kernel reports: [`crate::REASON_ABSENT`] if it reports none,
    /// else 0.
    pub absent_reason: u32,
    /// Nanoseconds of a tick of the kernel's timer (`TICK_NSEC`).
    pub tick_ns: u32,
    /// Not 0: send records to the ring buffer.
    pub events: u32,
    /// Leading bytes of the packet in each record, at most [`crate::MAX_SNAPLEN`].
    pub snaplen: u32,
    /// Records per second for each flow at a drop site and CPU; 0 for no limit.
    pub rate: u32,
    /// Number of bytes in the ring buffer at which the reader is woken; below, the reader polls.
    pub wakeup_bytes: u32,
    /// Not 0: count only the network namespace in [`crate::CpuState::wanted_netns`].
    pub filters_netns: u32,
    /// Count only this interface; 0 = all.
    pub ifindex: u32,
    /// Slots of the cache in use, less one. The number of slots is a power of two up to [`crate::CACHE_SLOTS`].
    pub cache_mask: u32,
    /// The general reason (`SKB_DROP_REASON_QDISC_DROP`) of packets whose exact reason `qdisc_drop` has just reported;
    /// 0 if the kernel has no such tracepoint.
    pub qdisc_reason: u32,
    /// `SKB_DROP_REASON_NOT_SPECIFIED`; [`crate::REASON_ABSENT`] if the kernel reports no reasons.
    pub unspecified_reason: u32,
    /// `SKB_DROP_REASON_XDP`; [`crate::REASON_ABSENT`] if the kernel has no such reason.
    pub xdp_reason: u32,
    /// The type of devlink traps whose packets are not dropped (`DEVLINK_TRAP_TYPE_CONTROL`).
    pub trap_control: u32,
    /// The bit of `sk_buff.vlan_present` in its byte (before 6.2).
    pub vlan_present_mask: u32,
    /// The bits of `sk_buff.pkt_type` in its byte; 0 if there is no such field.
    pub pkt_type_mask: u32,
    /// `PACKET_OUTGOING` (`include/uapi/linux/if_packet.h`) in those bits.
    pub pkt_type_outgoing: u32,
    /// Not 0: the control group of each drop's socket is read: one of the `CGROUPS_*` values.
    pub cgroups: u32,
    /// Not 0: drops are also counted by flow, with these facts: the `FLOW_*` bits.
    pub flows: u32,
    /// Tables of a generation in use: 0, or one of the powers of two up to [`crate::MOST_TABLES`].
    pub tables: u32,
    /// How the socket of a packet that UDP cannot queue is known: one of the `UDP_RECEIVERS_*` values.
    pub udp_receivers: u32,
    /// Not 0: records have the call stack of the drop.
    pub stacks: u32,
    /// Records are made only of the first [`crate::SAMPLED_FIRST`] drops of a key, and of each drop whose number has none of
    /// these bits; 0: of all drops.
    pub sample_mask: u32,
    /// The `FILTER_*` bits; 0 without a filter.
    pub filter: u32,
    /// The bit of `sock.sk_kern_sock` in its byte; 0 if there is no such field.
    pub sock_kernel_mask: u32,
    /// Not 0: send records of drops of TCP, and of retransmissions.
    pub retransmits: u32,
    /// Not 0: write rare events to the program's own log.
    pub log: u32,
}

const _: () = {
    assert!(size_of::<Offsets>() == 81 * 4);
    assert!(FIELD as usize + size_of::<Offsets>() / size_of::<u32>() * 8 <= i16::MAX as usize);
    assert!(size_of::<crate::Counts>() <= FIELD as usize);
    assert!(size_of::<TypeIds>() == 16);
    assert!(size_of::<Config>() == 464);
};
