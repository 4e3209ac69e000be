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
fn with_tracepoint(name: &str, arguments: impl FnOnce(&mut Writer) -> Vec<u32>) -> KernelBtf {
    let mut w = Writer::new();
    let void = w.pointer(0);
    let parameters = [vec![void], arguments(&mut w)].concat();
    let prototype = w.prototype(&parameters);
    let pointer = w.pointer(prototype);
    w.typedef(name, pointer);
    KernelBtf::from_bytes(&w.finish()).unwrap()
}

fn pointer_to(w: &mut Writer, structure: &str) -> u32 {
    let structure = w.forward(structure);
    w.pointer(structure)
}

#[test]
fn qdisc_drop_tracepoint_needs_a_qdisc_reason() {
    let reports = |reason: &str| {
        let btf = with_tracepoint("btf_trace_qdisc_drop", |w| {
            let others = ["Qdisc", "netdev_queue", "net_device", "sk_buff"].map(|name| pointer_to(w, name));
            [others.to_vec(), vec![w.enumeration(reason, &[("QDISC_DROP_GENERIC", 0x3_0001)])]].concat()
        });
        btf.reports_qdisc_drops()
    };
    assert!(reports("qdisc_drop_reason"));
    assert!(!reports("skb_drop_reason"));
    assert!(!KernelBtf::from_bytes(&kernel(MODERN)).unwrap().reports_qdisc_drops());
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
fn hardware_drop_tracepoint_needs_trap_metadata() {
    let reports = |last: &str| {
        let btf = with_tracepoint("btf_trace_devlink_trap_report", |w| {
            ["devlink", "sk_buff", last].map(|name| pointer_to(w, name)).to_vec()
        });
        btf.reports_hardware_drops()
    };
    assert!(reports("devlink_trap_metadata"));
    assert!(!reports("net_dm_hw_metadata"));
}

#[test]
fn a_retransmission_has_a_socket_and_a_segment() {
    let found = |second: &str, has_error: bool| {
        let btf = with_tracepoint("btf_trace_tcp_retransmit_skb", |w| {
            let mut types = vec![pointer_to(w, "sock"), pointer_to(w, second)];
            if has_error {
                types.push(w.int("int", 4));
            }
            types
        });
        btf.retransmission().map(|found| found.has_error)
    };
    assert_eq!((found("sk_buff", false), found("sk_buff", true)), (Some(false), Some(true)));
    assert_eq!(found("request_sock", false), None);
}

#[test]
fn xdp_tracepoints_have_a_device_and_a_program() {
    let reports = |program: &str| {
        let of_type = |name: &str, pointers: &[&str]| {
            with_tracepoint(name, |w| {
                let mut types: Vec<_> = pointers.iter().map(|name| pointer_to(w, name)).collect();
                types.push(w.int("int", 4));
                types
            })
        };
        let exceptions = of_type("btf_trace_xdp_exception", &["net_device", program]);
        let errors = of_type("btf_trace_xdp_redirect_err", &["net_device", program, "target"]);
        (exceptions.reports_xdp_exceptions(), errors.reports_xdp_redirect_errors())
    };
    assert_eq!(reports("bpf_prog"), (true, true));
    assert_eq!(reports("bpf_map"), (false, false));
    let none = KernelBtf::from_bytes(&kernel(MODERN)).unwrap();
    assert!(!none.reports_xdp_exceptions() && !none.reports_xdp_redirect_errors());
}
