//! Signatures of tracepoints.

use super::*;

#[test]
fn signature_shows_the_arguments() {
    let arguments = |count| KernelBtf::from_bytes(&kernel(Shape { arguments: count, ..MODERN })).unwrap().tracepoint();
    assert_eq!(arguments(3).unwrap(), KfreeSkb { has_reason: false, has_rx_sk: false });
    assert_eq!(arguments(4).unwrap(), KfreeSkb { has_reason: true, has_rx_sk: false });
    assert_eq!(arguments(5).unwrap(), KfreeSkb { has_reason: true, has_rx_sk: true });
    let error = arguments(2).unwrap_err().to_string();
    assert!(error.contains("second argument is not an address"), "{error}");
}

#[test]
fn arguments_of_other_types_do_not_count() {
    let mut w = Writer::new();
    let skb = w.forward("sk_buff");
    let int = w.int("int", 4);
    let pointer = w.pointer(skb);
    let prototype = w.prototype(&[pointer, pointer, pointer, int, pointer]);
    let to_prototype = w.pointer(prototype);
    w.typedef("btf_trace_kfree_skb", to_prototype);
    let btf = KernelBtf::from_bytes(&w.finish()).unwrap();
    assert_eq!(btf.tracepoint().unwrap(), KfreeSkb { has_reason: false, has_rx_sk: false });
}

#[test]
fn a_kernel_without_the_tracepoint_says_so() {
    let error = KernelBtf::from_bytes(&Writer::new().finish()).unwrap().tracepoint().unwrap_err().to_string();
    assert!(error.contains("btf_trace_kfree_skb"), "{error}");
}

/// A kernel with one tracepoint `name` that has these arguments.
pub(crate) fn with_tracepoint(name: &str, arguments: impl FnOnce(&mut Writer) -> Vec<u32>) -> KernelBtf {
    let mut w = Writer::new();
    let void = w.pointer(0);
    let parameters = [vec![void], arguments(&mut w)].concat();
    let prototype = w.prototype(&parameters);
    let pointer = w.pointer(prototype);
    w.typedef(name, pointer);
    KernelBtf::from_bytes(&w.finish()).unwrap()
}

pub(crate) fn pointer_to(w: &mut Writer, structure: &str) -> u32 {
    let structure = w.forward(structure);
    w.pointer(structure)
}

#[test]
fn tracepoints_are_recognised_by_all_arguments_that_are_used() {
    const NAME: &str = "qdisc_drop";
    let btf = with_tracepoint("btf_trace_qdisc_drop", |w| {
        let skb = pointer_to(w, "sk_buff");
        vec![skb, w.int("int", 4), w.enumeration("qdisc_drop_reason", &[("QDISC_DROP_GENERIC", 0x3_0001)])]
    });
    let (skb, reason) = (Argument::Struct("sk_buff"), Argument::Enum("qdisc_drop_reason"));
    for right in [
        &[][..],
        &[skb],
        &[skb, Argument::Integer, reason],
        &[Argument::Any, Argument::Any, reason],
        &[Argument::Pointer, Argument::Integer],
        &[skb, Argument::OptionalInteger, reason, Argument::OptionalInteger],
    ] {
        assert!(btf.has_tracepoint(NAME, right), "{right:?}");
    }
    for wrong in [
        &[Argument::Struct("sock")][..],
        &[Argument::Integer],
        &[reason],
        &[skb, Argument::Pointer],
        &[Argument::OptionalInteger],
        &[skb, skb],
        &[skb, Argument::Integer, Argument::Enum("skb_drop_reason")],
        &[skb, Argument::Integer, reason, Argument::Integer],
    ] {
        assert!(!btf.has_tracepoint(NAME, wrong), "{wrong:?}");
    }
    assert!(!btf.has_tracepoint("qdisc", &[]));
    assert!(!KernelBtf::from_bytes(&kernel(MODERN)).unwrap().has_tracepoint(NAME, &[]));
}

#[test]
fn udp_failures_with_a_packet_are_reported_before_the_free() {
    let failure = |pointers: &[&str]| {
        let btf = with_tracepoint("btf_trace_udp_fail_queue_rcv_skb", |w| {
            let mut types = vec![w.int("int", 4)];
            types.extend(pointers.iter().map(|name| pointer_to(w, name)));
            types
        });
        btf.udp_failure()
    };
    assert_eq!(failure(&["sock"]), Some(UdpFailure::AfterFree));
    assert_eq!(failure(&["sock", "sk_buff"]), Some(UdpFailure::BeforeFree));
    for other in [&[][..], &["sk_buff"], &["sock", "sock"]] {
        assert_eq!(failure(other), None, "{other:?}");
    }
    assert_eq!(KernelBtf::from_bytes(&kernel(MODERN)).unwrap().udp_failure(), None);
}

#[test]
fn functions_are_recognised_by_all_arguments_that_are_used() {
    let mut w = Writer::new();
    let arguments = [pointer_to(&mut w, "sock"), pointer_to(&mut w, "sk_buff")];
    let prototype = w.prototype(&arguments);
    let id = w.function("tcp_conn_request", prototype);
    let btf = KernelBtf::from_bytes(&w.finish()).unwrap();
    let (sock, skb) = (Argument::Struct("sock"), Argument::Struct("sk_buff"));
    assert_eq!(btf.function_with("tcp_conn_request", &[sock, skb]), Some(id));
    assert_eq!(btf.function_with("tcp_conn_request", &[Argument::Any, skb]), Some(id));
    assert_eq!(btf.function_with("tcp_conn_request", &[skb, sock]), None);
    assert_eq!(btf.function_with("tcp_conn_request", &[sock, skb, skb]), None);
    assert_eq!(btf.function_with("tcp_v4_conn_request", &[]), None);
}

#[test]
fn counters_of_tcp_are_found_in_an_enum_without_a_name() {
    let with = |mibs: u32| {
        let mut w = Writer::new();
        let int = w.int("unsigned long", 8);
        let counters = w.array(int, 4);
        w.enumeration("other", &[("LINUX_MIB_LISTENDROPS", 9)]);
        w.enumeration("", &[("SOCK_STREAM", 1)]);
        w.enumeration("", &[("LINUX_MIB_LISTENOVERFLOWS", 2), ("LINUX_MIB_LISTENDROPS", 3)]);
        w.structure("linux_mib", 40, &[("mibs", counters, mibs)]);
        KernelBtf::from_bytes(&w.finish()).unwrap()
    };
    let names = ["LINUX_MIB_LISTENDROPS", "LINUX_MIB_LISTENOVERFLOWS"];
    assert_eq!(with(0).tcp_counters(names), Some([24, 16]));
    assert_eq!(with(64).tcp_counters(names), Some([32, 24]));
    assert_eq!(with(0).tcp_counters(["LINUX_MIB_LISTENDROPS", "LINUX_MIB_NUM"]), None);
    assert_eq!(with(0).tcp_counters(["LINUX_MIB_NUM"]), None);
}
