use super::code::{Base, Comparison, Operand, TAGGED};
use super::*;

/// Answers yes to some questions.
struct Says<'a>(&'a [Question]);

impl Answers for Says<'_> {
    fn answer(&self, question: &Question) -> bool {
        self.0.contains(question)
    }
}

/// A UDP datagram from 192.0.2.1:1234 to 198.51.100.7:53 in an Ethernet frame.
const DATAGRAM: [u8; 46] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7,
    4, 210, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4,
];

fn view(frame: &[u8]) -> View<'_> {
    let length = frame.len().try_into().unwrap();
    View { link: frame, network: &frame[14..], protocol: 0x800, length, vlan_tag: 0 }
}

fn filter(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn matches(text: &str) -> bool {
    filter(text).matches(&view(&DATAGRAM), &Says(&[]))
}

#[test]
fn conditions_of_a_datagram_hold() {
    for text in [
        "ip",
        "udp",
        "ip proto udp",
        "proto \\udp",
        "proto 17",
        "port 53",
        "udp port domain",
        "src port 1234",
        "dst port 53",
        "portrange 50-60",
        "portrange 60-50",
        "host 192.0.2.1",
        "src host 192.0.2.1",
        "src 192.0.2.1",
        "dst net 198.51.100.0/24",
        "net 192",
        "net 192.0",
        "net 192.0.2.0 mask 255.255.255.0",
        "ip[8] = 64",
        "ip[8] > 5 and ip[8:2] = 0x4011",
        "udp[0:2] = 1234",
        "udp[2+2:2] == 014",
        "len = 46",
        "greater 46",
        "less 46",
        "ether src 02:00:00:00:00:02",
        "ether host 2-0-0-0-0-1",
        "ether host 0200.0000.0001",
        "ether proto 0x800",
        "ether proto ip",
        "not tcp dst port 80",
        "src or dst port 53",
        "src net 192 and dst 198.51.100.7",
        "not vlan",
        "net 0.0.0.0/0",
        "(udp)",
        "!!udp",
        "len - 40 = 6",
        "-1 > len",
        "1 + 2 * 3 = 7",
        "7 & 3 << 1 = 6",
        "(ip[0] & 15) * 4 = 20",
        "ip[ip[0] & 15] = 0",
        "ether[12:2] = 0x800",
        "udp[ip[8] - 60] = 0",
        "ip[9] = 17 || tcp",
        "udp && not tcp",
    ] {
        assert!(matches(text), "{text}");
    }
}

#[test]
fn conditions_of_other_packets_do_not_hold() {
    for text in [
        "ip6",
        "tcp",
        "arp",
        "port 54",
        "tcp port 53",
        "dst port 1234",
        "src and dst port 53",
        "host 192.0.2.2",
        "dst 192.0.2.1",
        "arp host 192.0.2.1",
        "ip6 proto 17",
        "icmp",
        "ip[8] != 64",
        "tcp[0] != 5",
        "vlan",
        "vlan 0",
        "broadcast",
        "multicast",
        "ip multicast",
        "ether dst 02:00:00:00:00:02",
        "less 45",
        "host 2001:db8::1",
        "net 2001:db8::/32",
        "not not tcp",
    ] {
        assert!(!matches(text), "{text}");
    }
}

#[test]
fn and_and_or_bind_equally_from_the_left() {
    assert!(!matches("udp or udp and tcp"), "(udp or udp) and tcp");
    assert!(matches("udp or (udp and tcp)"));
    assert!(matches("tcp and tcp or udp"));
    assert!(!matches("tcp or udp and tcp and udp"));
}

#[test]
fn a_head_carries_over_to_values_without_one() {
    for text in [
        "port 80 or 53",
        "src host 1.2.3.4 or 192.0.2.1",
        "udp dst port (80 or 53)",
        "port not 80",
        "net 10 or 192.0.0.0/8",
    ] {
        assert!(matches(text), "{text}");
    }
    for text in ["tcp port 80 or 53", "src port 80 or 53", "dst port 80 and tcp or dst port 54", "port 53 and not 1234"]
    {
        assert!(!matches(text), "{text}");
    }
    assert!(matches("port 80 and (tcp port 80) or 53"), "behind parentheses, the head before them");
}

#[test]
fn load_beyond_the_end_ends_the_run() {
    let cut = |text: &str, length: usize| filter(text).matches(&view(&DATAGRAM[..length]), &Says(&[]));
    assert!(cut("ip", 20) && !cut("udp", 20) && !cut("not udp", 20) && !cut("not port 53 or ip", 35));
    assert!(cut("src port 1234", 36) && cut("port 1234", 36) && !cut("port 53", 36) && !cut("not port 53", 36));
    assert!(!matches("1 / (ip[6] * 1) = 0") && !matches("not 1 % ip[6] = 0"), "a division by 0");
    assert!(!matches("not ip[0xffffffff] = 0") && !matches("not ip[-1] = 0") && !matches("not udp[0xfffffff0] = 0"));
}

#[test]
fn packet_without_link_header_has_no_bytes_there() {
    let bare = View { link: &[], ..view(&DATAGRAM) };
    assert!(filter("udp port 53").matches(&bare, &Says(&[])));
    assert!(
        !filter("ether[0] = 2").matches(&bare, &Says(&[])) && !filter("not ether[0] = 2").matches(&bare, &Says(&[]))
    );
}

#[test]
fn tags_are_numbers_beside_the_bytes() {
    let tagged = View { vlan_tag: TAGGED | 0x2007, ..view(&DATAGRAM) };
    for (text, expected) in
        [("vlan", true), ("vlan 7", true), ("vlan 8", false), ("udp and vlan 7", true), ("not vlan", false)]
    {
        assert_eq!(filter(text).matches(&tagged, &Says(&[])), expected, "{text}");
    }
    assert!(filter("vlan 0").matches(&View { vlan_tag: TAGGED, ..tagged }, &Says(&[])), "a priority without a VLAN");
}

#[test]
fn questions_are_asked_once_each() {
    let text = "reason SKB_DROP_REASON_TCP_* or NO_SOCKET and (site tcp_v4_rcv or udp and unusual) or reason NO_SOCKET \
                or cgroup '/a b' or \"/c\" or iface \\vlan or netns pid:1 or pod web/n-* or container 0af1 or uid 33";
    let name = Into::into;
    let expected = [
        Question::Reason(name("TCP_*")),
        Question::Reason(name("NO_SOCKET")),
        Question::Site(name("tcp_v4_rcv")),
        Question::Usual,
        Question::Cgroup(name("/a b")),
        Question::Cgroup(name("/c")),
        Question::Interface(name("vlan")),
        Question::Netns(name("pid:1")),
        Question::Pod(name("web/n-*")),
        Question::Container(name("0af1")),
        Question::User(name("33")),
    ];
    let filter = filter(text);
    assert_eq!(filter.questions, expected);
    let says = |yes: &[Question]| filter.matches(&view(&DATAGRAM), &Says(yes));
    assert!(says(&expected[..3]) && says(&expected[1..2]) && says(&expected[9..]));
    assert!(!says(&[Question::Usual]) && !says(&[]));
}

#[test]
fn filter_says_what_it_asks() {
    assert!(filter("port 53").asks_bytes() && filter("less 5").asks_packet() && !filter("less 5").asks_bytes());
    assert!(!filter("reason NO_SOCKET and usual").asks_packet());
}

#[test]
fn code_of_a_port_is_short() {
    assert!(filter("udp port 53").code.len() <= 23, "{:?}", filter("udp port 53").code);
    let number = |offset| Op::Load { base: Base::Network, size: code::Size::Byte, indexed: false, offset };
    let equal = |constant, then, otherwise| Op::Jump {
        comparison: Comparison::Equal,
        operand: Operand::Constant(constant),
        then,
        otherwise,
    };
    let expected = [
        Op::Number(code::Number::Protocol),
        equal(0x800, 0, 3),
        number(8),
        equal(64, 0, 1),
        Op::Return(true),
        Op::Return(false),
    ];
    assert_eq!(filter("ip[4 * 2] = 64").code, expected);
}

/// The error of a text, with the caret.
fn error(text: &str) -> String {
    Filter::parse(text).expect_err(text).to_string()
}

#[test]
fn errors_say_where_what_and_what_instead() {
    let texts = [
        "",
        "prot 53",
        "tcp port 53 udp",
        "host example.com",
        "host 10.1",
        "host 02:00:00:00:00:01",
        "1.2.3.4",
        "443",
        "tcp 80",
        "src and port 5",
        "net 10.1.2.3/8",
        "net 2001:db8::1/32",
        "port 70000",
        "port domian",
        "tcp port",
        "ip port 5",
        "tcp host 1.2.3.4",
        "portrange 5-",
        "ether host 1:2:3",
        "ether proto 0x8100",
        "ether proto 5",
        "ip proto 256",
        "udp proto 5",
        "(tcp",
        "tcp)",
        "tcp and",
        "tcp or or udp",
        "ip[0",
        "ip[0:3] = 1",
        "ip[0]",
        "ip[0] = foo",
        "len-5 > 3",
        "1 / 0 = 1",
        "1 << 32 = 1",
        "0x1ffffffff = 1",
        "vlan 4096",
        "reason",
        "site ()",
        "cgroup \"/a",
        "gateway x",
        "on eth0",
        "esp[0] = 1",
        "größe 5",
        "tcp and порт 80",
        "arp multicast",
        "ether",
        "tcp or 80",
        "less tcp",
        "host ::1/64",
        "ip host ::1",
        "resaon X",
        "ip6 net 10.0.0.0/8",
        "tcp €",
        "udp dport 53",
        "proto udp and dport 53",
        "port 53,54",
        "TCP",
        "tcp AND port 80",
        "NO_SOCKET",
        "unit web.service",
        "pid 4711",
        "interface eth0",
        "reason = NO_SOCKET",
    ];
    let shown: Vec<String> = texts.iter().map(|text| error(text)).collect();
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn deep_and_long_texts_have_bounds() {
    let deep = |depth: usize| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&deep(64)).is_ok() && Filter::parse(&deep(65)).is_err());
    let sum = |depth: usize| format!("{}1{} < len", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&sum(64)).is_ok() && Filter::parse(&sum(65)).is_err());
    assert!(Filter::parse(&format!("{}0{} = 1", "ip[".repeat(65), "]".repeat(65))).is_err());
    assert_eq!(filter(&format!("{}tcp", "not ".repeat(10_000))).code, filter("tcp").code);
    assert_eq!(filter(&format!("{}tcp", "!".repeat(60_001))).code, filter("not tcp").code);
    assert!(Filter::parse(&"not ".repeat(100_000)).is_err(), "longer than a text may be");
    assert!(Filter::parse(&format!("tcp{}", " or tcp".repeat(9_000))).is_err(), "more code than allowed");
    assert_eq!(filter(&format!("1{} < len", " + 1".repeat(10_000))).code.len(), 6);
    assert!(Filter::parse(&format!("len{} < 5", " + (len".repeat(17))).is_err());
}

#[test]
fn numbers_in_memory_have_a_bound() {
    let nested = |depth: usize| format!("{}len{} > 1", "len + (".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&nested(16)).is_ok());
    assert!(error(&nested(17)).starts_with("a comparison needs more than 16 numbers at a time"));
}
