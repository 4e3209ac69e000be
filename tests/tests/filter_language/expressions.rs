//! Random expressions in the language of pcap-filter(7), as tcpdump takes them.

use rand::RngExt as _;
use rand_xorshift::XorShiftRng;

const PROTOCOLS: [&str; 18] = [
    "ip",
    "ip6",
    "arp",
    "rarp",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "igmp",
    "pim",
    "vrrp",
    "esp",
    "ah",
    "ether broadcast",
    "ip broadcast",
    "ip multicast",
    "ip6 multicast",
];
const SIDES: [&str; 8] = ["", "src ", "dst ", "src or dst ", "src and dst ", "dst or src ", "dst and src ", ""];
const IPV4: [&str; 6] = ["10.0.0.1", "10.1.2.3", "192.0.2.1", "224.0.0.251", "255.255.255.255", "0.0.0.0"];
const IPV6: [&str; 4] = ["::1", "fe80::1", "2001:db8::1", "ff02::fb"];
const NETS: [&str; 9] = [
    "10",
    "10.1",
    "192.0.2",
    "10.0.0.0/8",
    "10.1.2.0/23",
    "224.0.0.0/4",
    "192.0.2.0 mask 255.255.255.0",
    "10.1.2.3/32",
    "192.0.2.1",
];
const LONG_PREFIXES: [&str; 3] = ["fe80::1/128", "2001:db8::/100", "ff02::f0/124"];
const SHORT_PREFIXES: [&str; 4] = ["fe80::/10", "2001:db8::/32", "ff00::/8", "::/0"];
const ETHERNET: [&str; 4] = ["02:00:00:00:00:01", "2:0:0:0:0:2", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb"];
const PORTS: [&str; 7] = ["53", "80", "443", "5000", "0x35", "0120", "33434"];
const RANGES: [&str; 5] = ["50-90", "5000-5100", "443-443", "90-50", "1-40000"];
const HEADERS: [&str; 12] = ["ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "ether", "igmp", "pim"];
const RELATIONS: [&str; 7] = ["=", "==", "!=", "<", "<=", ">", ">="];
const OPERATORS: [&str; 10] = ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"];
const NAMED: [&str; 8] = [
    "tcp[tcpflags] & (tcp-syn|tcp-ack) != 0",
    "tcp[tcpflags] & tcp-push != 0",
    "icmp[icmptype] = icmp-echo",
    "icmp[icmptype] != icmp-unreach and icmp[icmpcode] = 1",
    "icmp6[icmp6type] = icmp6-echo",
    "icmp6[icmp6type] == icmp6-neighborsolicit",
    "ip[6:2] & 0x1fff = 0",
    "(ip[0] & 15) << 2 = 20",
];

/// An expression.
pub(crate) struct Expression {
    pub(crate) text: String,
    /// Whether it has an IPv6 net whose prefix leaves a whole word of the address out.
    pub(crate) has_short_prefix: bool,
}

/// Makes expressions.
pub(crate) struct Expressions {
    pub(crate) random: XorShiftRng,
}

/// The values that may follow a head without it.
#[derive(Clone, Copy)]
enum Values {
    Ipv4,
    Port,
    Range,
}

impl Expressions {
    pub(crate) fn next(&mut self) -> Expression {
        let text = self.expression(2);
        let has_short_prefix = SHORT_PREFIXES.iter().any(|net| text.contains(net));
        Expression { text, has_short_prefix }
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.random.random_range(0..values.len())]
    }

    fn is_one_of(&mut self, number: u32) -> bool {
        self.random.random_ratio(1, number)
    }

    fn expression(&mut self, depth: u32) -> String {
        let mut carried = None;
        let mut text = self.operand(depth, &mut carried);
        for _ in 0..self.pick(&[0, 0, 1, 1, 2, 3]) {
            let join = self.pick(&[" and ", " or ", " && ", " || "]);
            text.push_str(join);
            text.push_str(&self.operand(depth, &mut carried));
        }
        text
    }

    /// One condition; values without a head only where the last condition had one.
    fn operand(&mut self, depth: u32, carried: &mut Option<Values>) -> String {
        let not = self.pick(&["", "", "", "not ", "!", "not not "]);
        let positive = match *carried {
            _ if depth > 0 && self.is_one_of(4) => format!("({})", self.expression(depth - 1)),
            Some(values) if self.is_one_of(2) => self.value(values),
            _ => self.term(carried),
        };
        format!("{not}{positive}")
    }

    fn value(&mut self, values: Values) -> String {
        match values {
            Values::Ipv4 => self.pick(&IPV4),
            Values::Port => self.pick(&PORTS),
            Values::Range => self.pick(&RANGES),
        }
        .to_owned()
    }

    /// A head with one value, or several in parentheses.
    fn with_values(&mut self, head: &str, values: Values) -> String {
        let value = self.value(values);
        if self.is_one_of(5) {
            let (join, other) = (self.pick(&["or", "and"]), self.value(values));
            return format!("{head}({value} {join} {other})");
        }
        let not = if self.is_one_of(12) { "not " } else { "" };
        format!("{head}{not}{value}")
    }

    fn term(&mut self, carried: &mut Option<Values>) -> String {
        let side = self.pick(&SIDES);
        *carried = None;
        match self.random.random_range(0..16) {
            0 | 1 => self.pick(&PROTOCOLS).to_owned(),
            2 | 3 => {
                *carried = Some(Values::Ipv4);
                let protocol = self.pick(&["", "", "ip ", "arp ", "rarp "]);
                let kind = if side.is_empty() || self.is_one_of(2) { "host " } else { "" };
                self.with_values(&format!("{protocol}{side}{kind}"), Values::Ipv4)
            }
            4 => format!("{}{side}host {}", self.pick(&["", "ip6 "]), self.pick(&IPV6)),
            5 => format!("{}{side}net {}", self.pick(&["", "ip ", "arp "]), self.pick(&NETS)),
            6 => {
                let nets = if self.is_one_of(2) { &LONG_PREFIXES[..] } else { &SHORT_PREFIXES[..] };
                format!("{}{side}net {}", self.pick(&["", "ip6 "]), self.pick(nets))
            }
            7 | 8 => {
                *carried = Some(Values::Port);
                let protocol = self.pick(&["", "", "tcp ", "udp ", "sctp "]);
                self.with_values(&format!("{protocol}{side}port "), Values::Port)
            }
            9 => {
                *carried = Some(Values::Range);
                let protocol = self.pick(&["", "tcp ", "udp ", "sctp "]);
                self.with_values(&format!("{protocol}{side}portrange "), Values::Range)
            }
            10 => format!("ether {side}host {}", self.pick(&ETHERNET)),
            11 => self.protocol(),
            12 => format!("{} {}", self.pick(&["less", "greater"]), self.random.random_range(20..100)),
            13 => self.pick(&NAMED).to_owned(),
            _ => self.relation(),
        }
    }

    fn protocol(&mut self) -> String {
        if self.is_one_of(3) {
            return format!("ether proto {}", self.pick(&["0x800", "2054", "\\ip6", "\\arp", "0x88cc", "\\rarp"]));
        }
        let family = self.pick(&["", "ip ", "ip6 "]);
        format!("{family}proto {}", self.pick(&["6", "17", "\\tcp", "\\udp", "\\icmp", "132", "58", "0", "255"]))
    }

    fn relation(&mut self) -> String {
        format!("{} {} {}", self.number(2), self.pick(&RELATIONS), self.number(1))
    }

    /// A number; operands of operators are in parentheses.
    fn number(&mut self, depth: u32) -> String {
        if depth == 0 || self.is_one_of(4) {
            return self.plain();
        }
        if self.is_one_of(2) {
            return self.bytes(depth);
        }
        let (left, operator) = (self.number(depth - 1), self.pick(&OPERATORS));
        format!("({left}) {operator} ({})", self.right(operator))
    }

    /// A number without bytes of the packet.
    fn plain(&mut self) -> String {
        match self.random.random_range(0..6) {
            0 => "len".to_owned(),
            1 => format!("-{}", self.random.random_range(0..9)),
            2 => self.pick(&["0x10", "017", "4294967295", "65535"]).to_owned(),
            _ => self.random.random_range(0..70).to_string(),
        }
    }

    /// A right operand: tcpdump does not check whether the packet has its header, and refuses constants that it cannot
    /// divide or shift by.
    fn right(&mut self, operator: &str) -> String {
        match operator {
            _ if self.is_one_of(4) => format!("ether[{}]", self.random.random_range(1..20)),
            "/" | "%" | "<<" | ">>" => self.random.random_range(1..32).to_string(),
            _ => self.plain(),
        }
    }

    /// Bytes of a header, whose offset may be read from a header as well. A packet may have both headers: if it cannot,
    /// and is cut, it depends on the order of the checks whether a load or a check ends the run.
    fn bytes(&mut self, depth: u32) -> String {
        let header = self.pick(&HEADERS);
        let offset = if depth > 1 && self.is_one_of(3) {
            let inner = self.pick(&["ip", "ether", header]);
            format!("({inner}[{}]) & 31", self.random.random_range(0..20))
        } else {
            self.random.random_range(0..44).to_string()
        };
        let size = self.pick(&["", ":1", ":2", ":4"]);
        format!("{header}[{offset}{size}]")
    }
}
