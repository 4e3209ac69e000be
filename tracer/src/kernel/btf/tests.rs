pub(crate) mod signatures;

use proptest::prelude::*;
use tracer_common::{ABSENT, Offsets};
use zerocopy::FromBytes;

use super::writer::{Member, Writer};
use super::*;

/// The properties in which the kernels that [`kernel`] writes differ.
#[derive(Clone, Copy)]
struct Shape {
    len_size: u32,
    with_data_len: bool,
    namespaces: bool,
    arguments: usize,
}

const MODERN: Shape = Shape { len_size: 4, with_data_len: true, namespaces: true, arguments: 5 };

/// A small kernel whose `sk_buff` keeps its fields in anonymous structures, unions and a named group, as the real
/// `sk_buff` does.
fn kernel(shape: Shape) -> Vec<u8> {
    let mut w = Writer::new();
    let types = Basics::write(&mut w, shape);
    let net = types.net(&mut w, shape);
    types.net_device(&mut w, net);
    let skb = types.sk_buff(&mut w, shape);
    tracepoint(&mut w, skb, types.sock, shape.arguments);
    w.enumeration("bpf_func_id", &[("BPF_FUNC_unspec", 0), ("BPF_FUNC_ktime_get_coarse_ns", 160)]);
    w.finish()
}

struct Basics {
    len: u32,
    u32: u32,
    be16: u32,
    name: u32,
    pointer: u32,
    sock: u32,
    device: u32,
}

impl Basics {
    fn write(w: &mut Writer, shape: Shape) -> Self {
        let byte = w.int("char", 1);
        let short = w.int("unsigned short", 2);
        let be16 = w.typedef("__u16", short);
        let len = w.int("unsigned int", shape.len_size);
        let pointer = w.pointer(byte);
        let device = w.forward("net_device");
        let sock = w.forward("sock");
        Self {
            len,
            u32: if shape.len_size == 4 { len } else { w.int("u32", 4) },
            be16: w.typedef("__be16", be16),
            name: w.array(byte, 16),
            pointer,
            sock: w.pointer(sock),
            device: w.pointer(device),
        }
    }

    fn net(&self, w: &mut Writer, shape: Shape) -> u32 {
        let ns = w.structure("ns_common", 16, &[("inum", self.u32, 96)]);
        let net = w.structure("net", 64, &[("ns", ns, 256)]);
        let pointer = w.pointer(net);
        let members: &[Member] = if shape.namespaces { &[("net", pointer, 0)] } else { &[] };
        let possible = w.structure("", 8, members);
        w.typedef("possible_net_t", possible)
    }

    fn net_device(&self, w: &mut Writer, net: u32) {
        let group = w.structure("", 16, &[("name", self.name, 0)]);
        let ifindex = w.constant(self.u32);
        w.structure("net_device", 64, &[("", group, 0), ("ifindex", ifindex, 256), ("nd_net", net, 320)]);
        let common = w.structure("sock_common", 32, &[("skc_net", net, 128)]);
        w.structure("sock", 64, &[("__sk_common", common, 64)]);
    }

    fn sk_buff(&self, w: &mut Writer, shape: Shape) -> u32 {
        let dev = w.union("", 8, &[("dev", self.device, 0), ("dev_scratch", self.pointer, 0)]);
        let links = w.structure("", 24, &[("next", self.pointer, 0), ("prev", self.pointer, 64), ("", dev, 128)]);
        let node = w.structure("rb_node", 24, &[]);
        let first = w.union("", 24, &[("rbnode", node, 0), ("", links, 0)]);
        let headers: &[Member] =
            &[("protocol", self.be16, 0), ("network_header", self.be16, 16), ("mac_header", self.be16, 32)];
        let inner = w.structure("", 8, headers);
        let named = w.structure("", 8, headers);
        let group = w.union("", 8, &[("", inner, 0), ("headers", named, 0)]);
        let data_len = if shape.with_data_len { "data_len" } else { "something" };
        let members: &[Member] = &[
            ("", first, 0),
            ("sk", self.sock, 192),
            ("len", self.len, 256),
            (data_len, self.u32, 320),
            ("", group, 384),
            ("skb_iif", self.u32, 448),
            ("head", self.pointer, 512),
            ("data", self.pointer, 576),
        ];
        w.structure("sk_buff", 80, members)
    }
}

fn tracepoint(w: &mut Writer, skb: u32, sock: u32, arguments: usize) {
    let void = w.pointer(0);
    let skb = w.pointer(skb);
    let reason = w.enumeration("skb_drop_reason", &[("SKB_NOT_DROPPED_YET", 0), ("SKB_DROP_REASON_NO_SOCKET", 3)]);
    let prototype = w.prototype(&[void, skb, void, reason, sock][..arguments]);
    let pointer = w.pointer(prototype);
    w.typedef("btf_trace_kfree_skb", pointer);
}

fn offsets(shape: Shape) -> Result<Offsets, BtfError> {
    KernelBtf::from_bytes(&kernel(shape)).unwrap().offsets()
}

/// Offsets of a kernel without any field: [`ABSENT`] has all bits set.
fn absent() -> Offsets {
    Offsets::read_from_bytes(&[0xff; size_of::<Offsets>()]).unwrap()
}

#[test]
fn finds_fields_through_anonymous_members() {
    let expected = Offsets {
        skb_len: 32,
        skb_data_len: 40,
        skb_protocol: 48,
        skb_dev: 16,
        skb_iif: 56,
        skb_sk: 24,
        skb_head: 64,
        skb_data: 72,
        skb_mac_header: 52,
        skb_network_header: 50,
        dev_ifindex: 32,
        dev_name: 0,
        dev_net: 40,
        sock_net: 24,
        net_inum: 44,
        net_ns: 32,
        arg_reason: 16,
        arg_rx_sk: 24,
        ..absent()
    };
    assert_eq!(offsets(MODERN).unwrap(), expected);
}

#[test]
fn absent_fields_are_absent() {
    let found = offsets(Shape { with_data_len: false, namespaces: false, ..MODERN }).unwrap();
    assert_eq!((found.skb_data_len, found.dev_net, found.sock_net), (ABSENT, ABSENT, ABSENT));
    assert_eq!((found.skb_len, found.net_inum), (32, 44));
}

#[test]
fn a_required_field_of_another_size_is_named() {
    let error = offsets(Shape { len_size: 8, ..MODERN }).unwrap_err();
    assert!(matches!(error, BtfError::Field { structure: "sk_buff", field: "len" }), "{error}");
    assert!(error.to_string().contains("struct sk_buff has no field `len`"), "{error}");
}

/// The offset of `net.ns.inum` in the types that `write` adds.
fn inum(write: impl FnOnce(&mut Writer) -> u32) -> Option<u32> {
    let mut w = Writer::new();
    write(&mut w);
    let btf = KernelBtf::from_bytes(&w.finish()).unwrap();
    btf.offset(&btf.structure("net"), "ns.inum", fields::Shape::Integer(4))
}

#[test]
fn a_bit_field_is_not_a_field() {
    let with_width = |width| {
        inum(|w| {
            let u32 = w.int("u32", 4);
            let ns = w.with_bitfields("ns_common", 8, &[("inum", u32, 32)], &[width]);
            w.structure("net", 8, &[("ns", ns, 0)])
        })
    };
    assert_eq!(with_width(0), Some(4));
    assert_eq!(with_width(32), None);
}

#[test]
fn a_field_beyond_its_structure_is_not_a_field() {
    let at = |bits| {
        inum(|w| {
            let u32 = w.int("u32", 4);
            let ns = w.structure("ns_common", 8, &[("inum", u32, bits)]);
            w.structure("net", 8, &[("ns", ns, 0)])
        })
    };
    assert_eq!((at(32), at(33), at(40)), (Some(4), None, None));
}

#[test]
fn a_structure_that_holds_itself_ends() {
    let found = inum(|w| {
        let own_id = 1;
        w.structure("net", 8, &[("", own_id, 0); 500])
    });
    assert_eq!(found, None);
}

#[test]
fn typedefs_in_a_circle_end() {
    let found = inum(|w| {
        let circle = w.typedef("a", 2);
        w.typedef("b", circle);
        w.structure("net", 8, &[("ns", circle, 0)])
    });
    assert_eq!(found, None);
}

#[test]
fn wide_enums_are_enums() {
    let mut w = Writer::new();
    w.enumeration64("wide", &[("ONE", 1), ("HIGH", 1 << 40)]);
    let btf = KernelBtf::from_bytes(&w.finish()).unwrap();
    assert_eq!(btf.enumerators("wide"), [("ONE".to_owned(), 1), ("HIGH".to_owned(), 1 << 40)]);
}

#[test]
fn no_file_means_no_btf() {
    let error = KernelBtf::load_from(Path::new("/sys/kernel/btf/no-such-kernel")).err().unwrap();
    assert!(matches!(error, BtfError::Absent { .. }));
    assert!(error.to_string().contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
}

#[test]
fn headers_that_promise_too_much_are_refused() {
    let good = kernel(MODERN);
    for (at, what) in [(0, "starts with"), (4, "header has"), (12, "types reach"), (20, "strings reach")] {
        let mut bytes = good.clone();
        let value: u32 = if at == 4 { 3 } else { u32::MAX };
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        let error = KernelBtf::from_bytes(&bytes).err().unwrap().to_string();
        assert!(error.contains(what), "{error}");
    }
    assert!(KernelBtf::from_bytes(&[]).is_err());
}

/// The running kernel's type information, or `None` (the test then reports that it was skipped).
pub(crate) fn running_kernel(test: &str) -> Option<KernelBtf> {
    if !Path::new(VMLINUX).exists() {
        crate::skipped(test, "the kernel has no type information");
        return None;
    }
    Some(KernelBtf::load().unwrap())
}

#[test]
fn the_running_kernel_has_all_fields() {
    let Some(btf) = running_kernel("the_running_kernel_has_all_fields") else { return };
    let offsets = btf.offsets().unwrap();
    assert_ne!(offsets.skb_len, offsets.skb_data_len);
    for (name, offset) in [("dev", offsets.skb_dev), ("ifindex", offsets.dev_ifindex), ("inum", offsets.net_inum)] {
        assert_ne!(offset, ABSENT, "{name}");
    }
    btf.tracepoint().unwrap();
}

#[test]
fn copied_btf_equals_mapped_btf() {
    let Some(mapped) = running_kernel("copied_btf_equals_mapped_btf") else { return };
    let copied = KernelBtf::from_bytes(&std::fs::read(VMLINUX).unwrap()).unwrap();
    assert_eq!(copied.offsets().unwrap(), mapped.offsets().unwrap());
    assert_eq!(copied.tracepoint().unwrap(), mapped.tracepoint().unwrap());
    assert_eq!(copied.enumerators("skb_drop_reason"), mapped.enumerators("skb_drop_reason"));
}

#[test]
fn index_of_names_finds_the_same_types_as_a_search() {
    let Some(btf) = running_kernel("index_of_names_finds_the_same_types_as_a_search") else { return };
    assert!(btf.names.is_some(), "the names could not be read");
    // Structures, enums, functions, typedefs, several types with one name, and a name that no type has.
    for name in ["sk_buff", "skb_drop_reason", "kfree_skb_reason", "u64", "list_head", "bpf_prog", "no_such_type"] {
        assert_eq!(btf.search(name), btf.btf.resolve_ids_by_name(name).unwrap_or_default(), "{name}");
    }
    assert_eq!((btf.search("sk_buff").is_empty(), btf.search("no_such_type").is_empty()), (false, true));
}

/// Calls every query. The queries must return; their results do not matter.
fn call_every_query(bytes: &[u8]) {
    if let Ok(btf) = KernelBtf::from_bytes(bytes) {
        let _ = (btf.has_tracepoint("kfree_skb", &[Argument::Struct("sk_buff"); 8]), btf.udp_failure());
        let _ = (btf.offsets(), btf.tracepoint(), btf.enumerators_by_suffix("_drop_reason"));
        let _ = btf.module_from_bytes(bytes).map(|module| module.enumerators_by_suffix("_drop_reason"));
    }
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic(
        cut in 0_usize..2000,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
    ) {
        let mut bytes = kernel(MODERN);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        call_every_query(&bytes);
        bytes.truncate(cut);
        call_every_query(&bytes);
    }

    #[test]
    fn random_types_never_panic(types in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = Writer::new().finish();
        let len = u32::try_from(types.len()).unwrap();
        bytes[12..16].copy_from_slice(&len.to_ne_bytes());
        bytes[16..20].copy_from_slice(&len.to_ne_bytes());
        bytes.splice(24..24, types);
        call_every_query(&bytes);
    }
}
