//! The conditions that every packet meets which matches a filter, as far as a firewall can check them.

use super::ast::{Carrier, Expression, Join, Side, Test};
use super::question::Question;
use super::{Filter, parse};

/// A condition that all packets meet which match a filter. Packets that meet all such conditions need not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Necessary {
    /// The number of the protocol in IP.
    Payload(u8),
    /// An IPv4 address or net.
    Ipv4 {
        /// Which of the packet's addresses.
        side: Side,
        /// The address, as a number.
        address: u32,
        /// The bits that count.
        mask: u32,
    },
    /// An IPv6 address or net.
    Ipv6 {
        /// Which of the packet's addresses.
        side: Side,
        /// The address, as a number.
        address: u128,
        /// The bits that count.
        mask: u128,
    },
    /// The ports from `first` to `last`.
    Ports {
        /// Which of the packet's ports.
        side: Side,
        /// The lowest port.
        first: u16,
        /// The highest port.
        last: u16,
    },
}

impl Filter {
    /// The necessary conditions of the filter; none for a filter of which no single condition is necessary, such as
    /// `tcp or udp`.
    pub fn necessary(&self) -> Vec<Necessary> {
        self.joined(of_packet)
    }

    /// The questions that every drop answers with yes which matches the filter, as [`Filter::necessary`].
    pub(crate) fn necessary_questions(&self) -> Vec<Question> {
        self.joined(|test| match test {
            Test::Question(question) => vec![question.clone()],
            _ => vec![],
        })
    }

    fn joined<T>(&self, of_test: fn(&Test) -> Vec<T>) -> Vec<T> {
        let mut found = Vec::new();
        if let Ok((expression, _)) = parse::parse(&self.text) {
            of_expression(&expression, &mut found, of_test);
        }
        found
    }
}

fn of_expression<T>(expression: &Expression, found: &mut Vec<T>, of_test: fn(&Test) -> Vec<T>) {
    match expression {
        Expression::Test(test) => found.extend(of_test(test)),
        Expression::Chain(first, rest) => {
            let start = found.len();
            of_expression(first, found, of_test);
            for (join, next) in rest {
                match join {
                    Join::And => of_expression(next, found, of_test),
                    // The condition before it may not hold, and neither may this one.
                    Join::Or => found.truncate(start),
                }
            }
        }
        Expression::Not(_) => {}
    }
}

fn of_packet(test: &Test) -> Vec<Necessary> {
    match *test {
        Test::Payload(_, protocol) => vec![Necessary::Payload(protocol)],
        // Addresses of ARP match as well if the carrier may be any, and no rule for IP sees ARP.
        Test::Ipv4 { carrier: Carrier::Ip | Carrier::Any, side, address, mask } => {
            vec![Necessary::Ipv4 { side, address, mask }]
        }
        Test::Ipv6 { side, address, mask } => vec![Necessary::Ipv6 { side, address, mask }],
        Test::Ports { transport, side, first, last } => {
            let ports = Necessary::Ports { side, first, last };
            transport.map(Necessary::Payload).into_iter().chain([ports]).collect()
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn necessary(text: &str) -> Vec<Necessary> {
        Filter::parse(text).unwrap().necessary()
    }

    #[test]
    fn joined_conditions_are_necessary() {
        let port = Necessary::Ports { side: Side::Destination, first: 53, last: 53 };
        let host = Necessary::Ipv4 { side: Side::Either, address: 0xc000_0201, mask: u32::MAX };
        assert_eq!(necessary("udp dst port 53 and host 192.0.2.1"), [Necessary::Payload(17), port, host]);
        assert_eq!(necessary("host 192.0.2.1 and not tcp"), [host]);
    }

    #[test]
    fn questions_are_necessary_as_well() {
        let questions = |text: &str| Filter::parse(text).unwrap().necessary_questions();
        let (reason, netns) = (Question::Reason("NO_SOCKET".into()), Question::Netns("web".into()));
        assert_eq!(questions("reason NO_SOCKET and udp and netns web"), [reason.clone(), netns]);
        assert_eq!(questions("reason NO_SOCKET or netns web"), []);
        assert_eq!(questions("reason NO_SOCKET and not netns web"), [reason]);
    }

    #[test]
    fn alternatives_are_not_necessary() {
        assert_eq!(necessary("tcp or udp"), []);
        // `and` and `or` bind equally.
        assert_eq!(necessary("tcp or udp and host 192.0.2.1").len(), 1);
        assert_eq!(necessary("host 192.0.2.1 and (tcp or udp)").len(), 1);
        assert_eq!(necessary("tcp and udp or icmp"), []);
        assert_eq!(necessary("not tcp"), []);
        assert_eq!(necessary("arp host 192.0.2.1"), []);
    }

    #[test]
    fn nets_have_masks_and_port_ranges_two_ends() {
        let expected = Necessary::Ipv4 { side: Side::Source, address: 0x0a00_0000, mask: 0xff00_0000 };
        assert_eq!(necessary("src net 10.0.0.0/8"), [expected]);
        let [Necessary::Ports { side: Side::Either, first: 5, last: 9 }] = necessary("portrange 5-9")[..] else {
            panic!("{:?}", necessary("portrange 5-9"))
        };
        let [Necessary::Ipv6 { side: Side::Either, address: 1, mask: u128::MAX }] = necessary("host ::1")[..] else {
            panic!("{:?}", necessary("host ::1"))
        };
    }
}
