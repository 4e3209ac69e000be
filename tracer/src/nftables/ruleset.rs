//! Rules and chains, as the kernel has them.

use std::collections::HashMap;

use super::attributes::{Body, long, number};
use super::changes::Change;
use super::tally::RuleId;
use super::text::{self, EXPRESSIONS};
use super::{HEADER, hook_name, message};
use crate::netlink::wire::{self, Attribute, Malformed, Message};
use crate::netlink::{Connection, Error, Kind};

/// `enum nft_rule_attributes`.
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_USERDATA: u16 = 7;
/// `enum nft_chain_attributes`, and `enum nft_hook_attributes` in `CHAIN_HOOK`.
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const HOOK_NUMBER: u16 = 1;
/// `NFTNL_UDATA_RULE_COMMENT` (`include/libnftnl/udata.h` of libnftnl), which the kernel stores without a look at it.
const COMMENT: u8 = 0;
/// How often a list is asked for that changed while it was read.
const ATTEMPTS: usize = 3;

/// What the kernel knows of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The rule as `nft list` writes it; absent if it has parts that droptrace does not put into words.
    pub(crate) text: Option<String>,
    /// Its comment.
    pub(crate) comment: Option<String>,
    /// The packets of its first counter, without that of a named counter.
    pub(crate) counter: Option<u64>,
}

/// The packets of each rule that has a counter, in all tables. An empty map if the rules changed again and again while they
/// were read.
pub(crate) async fn counters(connection: &mut Connection) -> Result<HashMap<RuleId, u64>, Error> {
    for _ in 0..ATTEMPTS {
        let mut found = HashMap::new();
        let visit = |message: &Message<'_>| {
            let (id, rule) = rule(message)?;
            found.extend(rule.counter.map(|packets| (id, packets)));
            Ok(())
        };
        let body = Body::of(0).into_bytes();
        match connection.call_raw("NFT_MSG_GETRULE", message::GET_RULE, &body, Kind::Dump, visit).await {
            Err(Error::Interrupted { .. }) => {}
            answer => return answer.map(|()| found),
        }
    }
    Ok(HashMap::new())
}

/// A rule; `None` if it is gone. A policy is no rule.
pub(crate) async fn of_id(connection: &mut Connection, id: &RuleId) -> Result<Option<Rule>, Error> {
    let Some(handle) = id.handle else { return Ok(None) };
    let body = Body::of(id.family).text(RULE_TABLE, &id.table).text(RULE_CHAIN, &id.chain).long(RULE_HANDLE, handle);
    let mut found = None;
    let visit = |message: &Message<'_>| {
        found = Some(rule(message)?.1);
        Ok(())
    };
    match connection.call_raw("NFT_MSG_GETRULE", message::GET_RULE, &body.into_bytes(), Kind::Do, visit).await {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        answer => answer.map(|()| found),
    }
}

/// The number of the state of the rules (`NFTA_GEN_ID`), which each change increases by one.
pub(crate) async fn generation(connection: &mut Connection) -> Result<Option<u32>, Error> {
    let mut found = None;
    let visit = |message: &Message<'_>| {
        if let Some(Change::Generation { number, .. }) = Change::parse(message)? {
            found = Some(number);
        }
        Ok(())
    };
    let body = Body::of(0).into_bytes();
    connection.call_raw("NFT_MSG_GETGEN", message::GET_GENERATION, &body, Kind::Do, visit).await?;
    Ok(found)
}

/// The hook of a base chain, as `nft` writes it; `None` for a chain that other chains jump to, and for one that is gone.
pub(crate) async fn hook(connection: &mut Connection, id: &RuleId) -> Result<Option<&'static str>, Error> {
    let body = Body::of(id.family).text(CHAIN_TABLE, &id.table).text(CHAIN_NAME, &id.chain).into_bytes();
    let mut found = None;
    let visit = |message: &Message<'_>| {
        found = hook_number(message)?.and_then(|number| hook_name(id.family, number));
        Ok(())
    };
    match connection.call_raw("NFT_MSG_GETCHAIN", message::GET_CHAIN, &body, Kind::Do, visit).await {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        answer => answer.map(|()| found),
    }
}

fn hook_number(message: &Message<'_>) -> Result<Option<u32>, Malformed> {
    for attribute in attributes(message)?.1 {
        let attribute = attribute?;
        if attribute.kind == CHAIN_HOOK {
            for inner in attribute.nested() {
                let inner = inner?;
                if inner.kind == HOOK_NUMBER {
                    return number(&inner).map(Some);
                }
            }
        }
    }
    Ok(None)
}

type Attributes<'b> = Box<dyn Iterator<Item = Result<Attribute<'b>, Malformed>> + 'b>;

/// The family and the attributes of a message.
fn attributes<'b>(message: &Message<'b>) -> Result<(u8, Attributes<'b>), Malformed> {
    let (header, attributes) =
        message.payload.split_at_checked(HEADER).ok_or(Malformed("a message without a family"))?;
    Ok((header[0], Box::new(wire::attributes(attributes))))
}

fn rule(message: &Message<'_>) -> Result<(RuleId, Rule), Malformed> {
    let (family, attributes) = attributes(message)?;
    let mut id = RuleId { family, table: "".into(), chain: "".into(), handle: None };
    let mut rule = Rule::default();
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            RULE_TABLE => id.table = attribute.text()?.into(),
            RULE_CHAIN => id.chain = attribute.text()?.into(),
            RULE_HANDLE => id.handle = Some(long(&attribute)?),
            RULE_USERDATA => rule.comment = comment(attribute.value),
            EXPRESSIONS => {
                let words = text::words(family, &attribute)?;
                (rule.text, rule.counter) = (words.text, words.counter);
            }
            _ => {}
        }
    }
    Ok((id, rule))
}

/// The comment in the data of `nft`: entries of a type, a length and a value.
fn comment(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        data = &rest[value.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkHeader;
    use proptest::prelude::*;

    use super::super::expressions::{Base, Comparison, Expressions};
    use super::super::{INET, IPV4};
    use super::*;

    fn parsed(payload: &[u8]) -> Result<(RuleId, Rule), Malformed> {
        rule(&Message { header: NetlinkHeader::default(), payload, bytes: payload })
    }

    fn sample() -> Expressions {
        let rule = Expressions::new().meta(15).compare(Comparison::Equal, &[2]);
        let rule = rule.payload(Base::Network, 12, 4).mask(&[255, 255, 240, 0]);
        let rule = rule.compare(Comparison::Equal, &[10, 0, 16, 0]).meta(16).compare(Comparison::Equal, &[17]);
        let rule = rule.payload(Base::Transport, 2, 2).compare(Comparison::AtLeast, &[0, 9]);
        rule.compare(Comparison::AtMost, &[0, 12]).counter().limit(5).accept()
    }

    fn payload(family: u8, expressions: &Expressions) -> Vec<u8> {
        let body = Body::of(family).text(RULE_TABLE, "filter").text(RULE_CHAIN, "input").long(RULE_HANDLE, 7);
        let body = body.within(EXPRESSIONS, expressions.body());
        body.bytes(RULE_USERDATA, b"\x01\x01x\x00\x06hello\0").into_bytes()
    }

    #[test]
    fn rules_have_the_words_of_nft() {
        let (id, found) = parsed(&payload(INET, &sample())).unwrap();
        assert_eq!((id.family, &*id.table, &*id.chain, id.handle), (INET, "filter", "input", Some(7)));
        let text = "ip saddr 10.0.16.0/20 udp dport >= 9 udp dport <= 12 counter limit rate 5/second accept";
        assert_eq!(found.text.as_deref(), Some(text));
        assert_eq!((found.comment.as_deref(), found.counter), (Some("hello"), Some(0)));
    }

    #[test]
    fn rules_with_unknown_parts_have_no_words() {
        // `meta cpu`, whose key has no words.
        let unknown = Expressions::new().meta(20).compare(Comparison::Equal, &[1, 0, 0, 0]).counter().accept();
        let found = parsed(&payload(IPV4, &unknown)).unwrap().1;
        assert_eq!((found.text, found.counter), (None, Some(0)));
        // A load of no known field.
        let unknown = Expressions::new().payload(Base::Network, 3, 2).compare(Comparison::Equal, &[1, 0]);
        assert_eq!(parsed(&payload(IPV4, &unknown)).unwrap().1.text, None);
    }

    #[test]
    fn rules_of_iptables_show_their_matches_and_comments() {
        let expression = |name: &str, of: &str, info: &[u8]| {
            let data = Body::nested().text(1, of).bytes(3, info);
            Body::nested().text(1, name).within(2, &data)
        };
        let list = [
            expression("match", "comment", b"by hand\0\0\0"),
            expression("match", "conntrack", &[0; 8]),
            expression("target", "REJECT", &[0; 4]),
        ];
        let list = list.iter().fold(Body::nested(), |list, expression| list.within(1, expression));
        let payload = Body::of(IPV4).within(EXPRESSIONS, &list).into_bytes();
        let text = parsed(&payload).unwrap().1.text;
        assert_eq!(text.as_deref(), Some("comment \"by hand\" xt match \"conntrack\" xt target \"REJECT\""));
    }

    #[test]
    fn comments_are_found_behind_other_data() {
        assert_eq!(comment(b"\x05\x02ab\x00\x03hi\0").as_deref(), Some("hi"));
        assert_eq!((comment(b""), comment(b"\x00\x09hi"), comment(b"\x00")), (None, None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..96), cut in 0_usize..700) {
            let mut sample = payload(INET, &sample());
            sample.truncate(cut);
            for payload in [&bytes, &[&sample[..], &bytes].concat()] {
                _ = parsed(payload);
                let header = NetlinkHeader::default();
                _ = hook_number(&Message { header, payload, bytes: payload });
                _ = text::counters(payload);
            }
        }

        #[test]
        fn any_changed_byte_is_survived(at in 0_usize..700, byte in any::<u8>()) {
            let mut sample = payload(INET, &sample());
            if let Some(changed) = sample.get_mut(at) {
                *changed = byte;
            }
            _ = (parsed(&sample), text::counters(&sample));
        }
    }
}
