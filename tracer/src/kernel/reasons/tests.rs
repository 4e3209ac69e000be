use droptrace_base::explain::Explanations;
use proptest::prelude::*;

use super::super::btf::tests::running_kernel;
use super::super::btf::writer::Writer;
use super::*;

const FORMAT: &str = include_str!("../fixtures/kfree_skb-format-6.18");
const FORMAT_WITHOUT_REASON: &str = include_str!("../fixtures/kfree_skb-format-5.10");

/// The types of the kernel's image: core reasons, the subsystems, and one subsystem that is built in.
fn image() -> Writer {
    let mut w = Writer::new();
    w.enumeration(
        "skb_drop_reason",
        &[
            ("SKB_NOT_DROPPED_YET", 0),
            ("SKB_CONSUMED", 1),
            ("SKB_DROP_REASON_NOT_SPECIFIED", 2),
            ("SKB_DROP_REASON_NO_SOCKET", 3),
            ("SKB_DROP_REASON_MAX", 4),
            ("SKB_DROP_REASON_SUBSYS_MASK", 0xffff_0000),
        ],
    );
    w.enumeration(
        "skb_drop_reason_subsys",
        &[
            ("SKB_DROP_REASON_SUBSYS_CORE", 0),
            ("SKB_DROP_REASON_SUBSYS_MAC80211_UNUSABLE", 1),
            ("SKB_DROP_REASON_SUBSYS_OPENVSWITCH", 2),
            ("SKB_DROP_REASON_SUBSYS_QDISC", 3),
            ("SKB_DROP_REASON_SUBSYS_NUM", 4),
        ],
    );
    w.enumeration(
        "qdisc_drop_reason",
        &[
            ("QDISC_DROP_UNSPEC", 0),
            ("__QDISC_DROP_REASON", 0x3_0000),
            ("QDISC_DROP_GENERIC", 0x3_0001),
            ("QDISC_DROP_MAX", 0x3_0002),
        ],
    );
    // The kernel has no such subsystem, so the numbers of this enum are not its reasons.
    w.enumeration("rxrpc_drop_reason", &[("RXRPC_A", 1), ("RXRPC_B", 0x9_0001)]);
    w
}

fn openvswitch() -> Vec<u8> {
    let mut w = Writer::on(&image());
    w.enumeration(
        "ovs_drop_reason",
        &[("__OVS_DROP_REASON", 0x2_0000), ("OVS_DROP_LAST_ACTION", 0x2_0001), ("OVS_DROP_MAX", 0x2_0002)],
    );
    w.finish()
}

/// A folder in place of `/sys/kernel/btf`, removed when the value is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("droptrace-reasons-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn names(&self) -> ReasonNames {
        ReasonNames::from_btf(&KernelBtf::from_bytes(&image().finish()).unwrap(), self.0.clone())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The system clears its temporary folder if the removal fails.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The reason as `subsystem/name`.
fn shown(reason: &Reason) -> String {
    format!("{}/{}", reason.subsystem, reason.name)
}

#[test]
fn core_reasons_lose_their_prefix() {
    let folder = Folder::new("core");
    let mut names = folder.names();
    let expected = ["core/SKB_NOT_DROPPED_YET", "core/SKB_CONSUMED", "core/NOT_SPECIFIED", "core/NO_SOCKET"];
    for (raw, expected) in (0..).zip(expected) {
        let reason = names.resolve(raw);
        assert_eq!((reason.value, shown(&reason).as_str()), (Some(raw), expected));
        assert!(Arc::ptr_eq(&reason, &names.resolve(raw)));
    }
}

#[test]
fn masks_and_ends_are_no_reasons() {
    let folder = Folder::new("ends");
    let mut names = folder.names();
    for (raw, expected) in [
        (4, "core/4"),
        (0xffff_0000, "65535/4294901760"),
        (0x3_0000, "qdisc/196608"),
        (0x3_0002, "qdisc/196610"),
        (0x9_0001, "9/589825"),
    ] {
        assert_eq!(shown(&names.resolve(raw)), expected);
    }
}

#[test]
fn a_kernel_that_gives_no_reason_means_not_specified() {
    let folder = Folder::new("absent");
    let reason = folder.names().resolve(REASON_ABSENT);
    assert_eq!((reason.value, shown(&reason).as_str()), (Some(REASON_ABSENT), "core/NOT_SPECIFIED"));
}

#[test]
fn subsystems_of_the_image_and_of_modules_keep_the_kernels_names() {
    let folder = Folder::new("modules");
    std::fs::write(folder.0.join("openvswitch"), openvswitch()).unwrap();
    std::fs::write(folder.0.join("broken"), b"\x9f\xebovs_drop_reason\0").unwrap();
    let mut names = folder.names();
    assert!(names.searched.is_empty(), "nothing is read before it is needed");
    names.resolve(3);
    assert!(names.searched.is_empty());
    assert_eq!(shown(&names.resolve(0x3_0001)), "qdisc/QDISC_DROP_GENERIC");
    assert_eq!(shown(&names.resolve(0x2_0001)), "openvswitch/OVS_DROP_LAST_ACTION");
    assert_eq!(shown(&names.resolve(0x1_0001)), "mac80211_unusable/65537");
}

#[test]
fn a_module_loaded_later_is_found_within_a_second() {
    let folder = Folder::new("later");
    let mut names = folder.names();
    let start = Instant::now();
    assert_eq!(shown(&names.resolve_at(0x3_0001, start)), "qdisc/QDISC_DROP_GENERIC");
    std::fs::write(folder.0.join("openvswitch"), openvswitch()).unwrap();
    assert_eq!(shown(&names.resolve_at(0x2_0001, start)), "openvswitch/131073");
    let later = names.resolve_at(0x2_0001, start + SEARCH_INTERVAL);
    assert_eq!(shown(&later), "openvswitch/OVS_DROP_LAST_ACTION");
}

#[test]
fn the_format_file_stands_in_for_btf() {
    let btf = KernelBtf::from_bytes(&Writer::new().finish()).unwrap();
    let mut names = ReasonNames::from_btf(&btf, "/no/such/folder".into());
    names.add_format(FORMAT);
    for (raw, expected) in [(2, "NOT_SPECIFIED"), (6, "SOCKET_RCVBUFF"), (127, "RECURSION_LIMIT"), (128, "128")] {
        assert_eq!(shown(&names.resolve(raw)), format!("core/{expected}"));
    }
    assert_eq!(shown(&names.resolve(0x2_0001)), "2/131073");
}

#[test]
fn a_format_file_without_reasons_names_none() {
    assert_eq!(format::parse(FORMAT_WITHOUT_REASON), []);
    assert_eq!(format::parse(FORMAT).len(), 127);
    assert_eq!(format::parse("__print_symbolic(REC->reason, { 1, \"A\" }, { X, \"B\" }, {, { 7, \"C"), [(1, "A")]);
}

#[test]
fn the_running_kernels_format_file_agrees_with_its_btf() {
    const NAME: &str = "the_running_kernels_format_file_agrees_with_its_btf";
    let Some(btf) = running_kernel(NAME) else { return };
    let text = format::read();
    if text.is_empty() {
        crate::skipped(NAME, "tracefs is not mounted or not readable");
        return;
    }
    let mut names = ReasonNames::load(&btf);
    for (value, name) in format::parse(&text).into_iter().filter(|(_, name)| is_reason(name)) {
        assert_eq!(&*names.resolve(value).name, name);
    }
}

#[test]
fn the_running_kernel_names_its_reasons() {
    let Some(btf) = running_kernel("the_running_kernel_names_its_reasons") else { return };
    if !btf.tracepoint().unwrap().has_reason {
        crate::skipped("the_running_kernel_names_its_reasons", "its tracepoint gives no reason");
        return;
    }
    let mut names = ReasonNames::load(&btf);
    let no_socket = (0..300).filter(|raw| &*names.resolve(*raw).name == "NO_SOCKET").count();
    assert_eq!(no_socket, 1);
}

proptest! {
    #[test]
    fn any_format_is_accepted(text: String, cut: prop::sample::Index) {
        format::parse(&text);
        format::parse(&format!("__print_symbolic(REC->reason,{text}"));
        format::parse(&FORMAT[..cut.index(FORMAT.len())]);
    }

    #[test]
    fn any_number_has_a_name(raw: u32) {
        let btf = KernelBtf::from_bytes(&image().finish()).unwrap();
        let mut names = ReasonNames::from_btf(&btf, "/no/such/folder".into());
        let reason = names.resolve(raw);
        prop_assert!(reason.value == Some(raw) && !reason.name.is_empty() && !reason.subsystem.is_empty());
    }
}

#[test]
fn every_core_reason_of_the_running_kernel_is_explained() {
    const NAME: &str = "every_core_reason_of_the_running_kernel_is_explained";
    let Some(btf) = running_kernel(NAME) else { return };
    let reasons = btf.enumerators("skb_drop_reason").into_iter().filter_map(|(name, _)| {
        let name = name.strip_prefix("SKB_DROP_REASON_")?.to_owned();
        (name != "MAX" && name != "SUBSYS_MASK").then_some(name)
    });
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() {
        crate::skipped(NAME, "its BTF has no such enum");
        return;
    }
    let explanations = Explanations::built_in().unwrap();
    let is_explained = |name: &String| explanations.get(name).is_some_and(|(_, found)| found.subsystem == "core");
    let unexplained: Vec<_> = reasons.iter().filter(|name| !is_explained(name)).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}
