//! The words before a value: `tcp src port`.

use super::{
    Expression, Header, IPV4, IPV6, Parsed, Parser, Protocol, Relation, Side, Size, Term, Test, habits, names,
};
use crate::filter::ast::Join;
use crate::filter::code::Operation;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Something of the packet.
    Packet { protocol: Option<Protocol>, side: Side, kind: Kind },
    /// The answer to a question.
    Question(super::question::Ask),
}

impl Head {
    /// Whether a value may follow `and` or `or` without its head.
    pub(super) fn may_be_left_out_before(self, word: &str) -> bool {
        match self {
            Self::Packet { .. } => !word.is_empty() && !names::is_reserved(word) && habits::instead(word).is_none(),
            Self::Question(_) => !names::is_reserved(word),
        }
    }
}

/// What a value of the packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

impl Kind {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "host" => Self::Host,
            "net" => Self::Net,
            "port" => Self::Port,
            "portrange" => Self::PortRange,
            "proto" => Self::Proto,
            _ => return None,
        })
    }
}

/// What stands at the start of a condition.
pub(super) enum Read {
    /// The words before a value.
    Head(Head),
    /// A condition of its own.
    Condition(Expression),
    Nothing,
}

impl Parser<'_> {
    /// Reads `[PROTOCOL] [SIDE] [KIND]`, or what a protocol or `broadcast` means alone.
    pub(super) fn packet_head(&mut self) -> Parsed<Read> {
        let word = self.lexer.word();
        let protocol = names::protocol(word);
        if protocol.is_some() {
            self.lexer.skip(word);
        }
        let offset = self.lexer.position();
        let side = self.side()?;
        let word = self.lexer.word();
        let Some(kind) = Kind::of(word) else {
            return match side {
                Some(side) => Ok(Read::Head(Head::Packet { protocol, side, kind: Kind::Host })),
                None => self.without_value(protocol),
            };
        };
        self.lexer.skip(word);
        if side.is_some() && kind == Kind::Proto {
            return Err(self.error_at(offset, "a protocol has no side").with("write `proto` without `src` and `dst`"));
        }
        Ok(Read::Head(Head::Packet { protocol, side: side.unwrap_or(Side::Either), kind }))
    }

    /// Reads `src`, `dst`, or both with `or` or `and` between them.
    fn side(&mut self) -> Parsed<Option<Side>> {
        let (first, other, side) = match self.lexer.word() {
            "src" => ("src", "dst", Side::Source),
            "dst" => ("dst", "src", Side::Destination),
            _ => return Ok(None),
        };
        self.lexer.skip(first);
        let position = self.lexer.position();
        if let Some(join) = self.join() {
            if self.lexer.takes_word(other) {
                return Ok(Some(if join == Join::Or { Side::Either } else { Side::Both }));
            }
            let error = self.error_at(position, format!("a value is missing behind `{first}`"));
            return Err(error.with(format!("write `{first} ADDRESS` or `{first} port N`")));
        }
        Ok(Some(side))
    }

    /// A protocol alone, or its broadcasts or multicasts.
    fn without_value(&mut self, protocol: Option<Protocol>) -> Parsed<Read> {
        let word = self.lexer.word();
        if matches!(word, "broadcast" | "multicast") {
            let condition = self.group(protocol, word)?;
            self.lexer.skip(word);
            return Ok(Read::Condition(condition));
        }
        let test = match protocol {
            None => return Ok(Read::Nothing),
            Some(Protocol::Network(ether_type)) => Test::EtherType(ether_type),
            Some(Protocol::Payload(family, number)) => Test::Payload(family, number),
            Some(Protocol::Link) => {
                let error = self.error("`ether` needs a word behind it");
                return Err(error.with("write `ether host`, `ether proto`, `ether broadcast` or `ether[OFFSET]`"));
            }
        };
        if self.starts_value() {
            let error = self.error("a word such as `port` or `host` is missing");
            return Err(error.with(format!("write `port {word}`, `host {word}` or `proto {word}`")));
        }
        Ok(Read::Condition(Expression::Test(test)))
    }

    /// Whether a number or an address is next.
    fn starts_value(&mut self) -> bool {
        let word = self.lexer.word();
        word.starts_with(|c: char| c.is_ascii_digit()) || super::address::is_ip(word)
    }

    /// `broadcast` or `multicast`: a relation of the destination's bytes.
    fn group(&mut self, protocol: Option<Protocol>, word: &str) -> Parsed<Expression> {
        let address = |offset, size, header| vec![Term::Constant(offset), Term::Load(header, size)];
        let relation =
            |left, relation, right| Expression::Test(Test::Relation(left, relation, vec![Term::Constant(right)]));
        let ip = |size| address(16, size, Header::Network(IPV4));
        Ok(match (protocol, word) {
            (None | Some(Protocol::Link), "broadcast") => {
                Expression::Test(Test::Ethernet { side: Side::Destination, address: [0xff; 6] })
            }
            (None | Some(Protocol::Link), _) => {
                let mut first = address(0, Size::Byte, Header::Link);
                first.extend([Term::Constant(1), Term::Compute(Operation::And)]);
                relation(first, Relation::NotEqual, 0)
            }
            (Some(Protocol::Network(IPV4)), "broadcast") => Expression::Chain(
                Box::new(relation(ip(Size::Word), Relation::Equal, 0)),
                vec![(Join::Or, relation(ip(Size::Word), Relation::Equal, u32::MAX))],
            ),
            (Some(Protocol::Network(IPV4)), _) => relation(ip(Size::Byte), Relation::GreaterOrEqual, 0xe0),
            (Some(Protocol::Network(IPV6)), "multicast") => {
                relation(address(24, Size::Byte, Header::Network(IPV6)), Relation::Equal, 0xff)
            }
            _ => {
                let error = self.error(format!("this protocol has no `{word}`"));
                return Err(error.with(format!("write `ip {word}` or `ether {word}`, and `and` before it")));
            }
        })
    }
}
