//! UDP and ICMP.

use tests::case::Case;
use tests::frame;
use tests::wire::Wire;
use tests::witness::Witness;

pub(crate) const CASES: &[Case] = &[Case {
    name: "udp_no_socket",
    reason: "NO_SOCKET",
    symbols: &["__udp4_lib_rcv"],
    interface: Some("host0"),
    protocol: Some("ipv4"),
    count: 20,
    witness: Some(Witness::Snmp("Udp", "NoPorts")),
    provoke: |case| {
        let wire = Wire::new()?;
        case.watch(&wire.host, || wire.repeat(case.count, &frame::udp4(9)?))
    },
}];
