//! Puts the expressions of a rule into words, as `nft list` writes them, as far as droptrace knows them: a rule with another
//! expression has no words.

use super::attributes::{long, number};
use super::loaded::{self, Form, Loaded};
use super::{HEADER, IPV4, IPV6};
use crate::netlink::wire::{self, Attribute, Malformed};

/// `NFTA_RULE_EXPRESSIONS`.
pub(super) const EXPRESSIONS: u16 = 4;
/// `NFTA_EXPR_NAME` and `NFTA_EXPR_DATA`.
const NAME: u16 = 1;
const DATA: u16 = 2;
/// `NFTA_DATA_VALUE` and `NFTA_DATA_VERDICT`.
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
/// `NFTA_COUNTER_PACKETS`.
const COUNTER_PACKETS: u16 = 2;
/// Registers of 16 bytes, `NFT_REG_1` to `NFT_REG_4`, and the first of 4 bytes, `NFT_REG32_00`.
const REGISTERS: std::ops::RangeInclusive<u32> = 1..=4;
const FIRST_OF_32_BITS: u32 = 8;

/// The words of a rule, and the packets of its counter; each absent if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) text: Option<String>,
    pub(super) counter: Option<u64>,
}

/// Reads the expressions of a rule of a table of this family.
pub(super) fn words(family: u8, expressions: &Attribute<'_>) -> Result<Words, Malformed> {
    let mut writer = Writer::of(family);
    let (mut counter, mut is_known) = (None, true);
    for element in expressions.nested() {
        let (name, data) = expression(&element?)?;
        if name == "counter" {
            counter = counter.or(packets(&data)?);
        }
        is_known = is_known && writer.add(name, &data).is_some();
    }
    let text = (is_known && !writer.words.is_empty()).then(|| writer.finish());
    Ok(Words { text, counter })
}

/// The packets of the first two counters of a rule.
pub(super) fn counters(payload: &[u8]) -> Result<[u64; 2], Malformed> {
    let mut found = Vec::new();
    for attribute in wire::attributes(payload.get(HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        if attribute.kind == EXPRESSIONS {
            for element in attribute.nested() {
                let (name, data) = expression(&element?)?;
                found.extend((name == "counter").then(|| packets(&data)).transpose()?.flatten());
            }
        }
    }
    found.first_chunk().copied().ok_or(Malformed("a rule with fewer counters than droptrace made"))
}

/// The names of the expressions of a rule, in their order.
pub(super) fn names(expressions: &Attribute<'_>) -> Result<Vec<String>, Malformed> {
    expressions.nested().map(|element| Ok(expression(&element?)?.0.to_owned())).collect()
}

/// The name of an expression, and its attributes.
fn expression<'b>(element: &Attribute<'b>) -> Result<(&'b str, Vec<Attribute<'b>>), Malformed> {
    let (mut name, mut data) = ("", Vec::new());
    for attribute in element.nested() {
        let attribute = attribute?;
        match attribute.kind {
            NAME => name = attribute.text()?,
            DATA => data = attribute.nested().collect::<Result<_, _>>()?,
            _ => {}
        }
    }
    Ok((name, data))
}

fn packets(data: &[Attribute<'_>]) -> Result<Option<u64>, Malformed> {
    find(data, COUNTER_PACKETS).map(long).transpose()
}

fn find<'d, 'b>(data: &'d [Attribute<'b>], kind: u16) -> Option<&'d Attribute<'b>> {
    data.iter().find(|attribute| attribute.kind == kind)
}

fn number_of(data: &[Attribute<'_>], kind: u16) -> Option<u32> {
    number(find(data, kind)?).ok()
}

fn text_of<'b>(data: &[Attribute<'b>], kind: u16) -> Option<&'b str> {
    find(data, kind)?.text().ok()
}

/// The value within an attribute.
fn value_of<'b>(data: &[Attribute<'b>], kind: u16) -> Option<&'b [u8]> {
    let inner = find(data, kind)?.nested().next()?.ok()?;
    (inner.kind == VALUE).then_some(inner.value)
}

/// A loaded value that waits for its comparison.
struct Waiting {
    register: u32,
    loaded: Loaded,
    mask: Option<Vec<u8>>,
    is_compared: bool,
}

/// Words, and what the registers hold.
struct Writer {
    words: Vec<String>,
    waiting: Vec<Waiting>,
    family: Option<&'static str>,
    transport: Option<&'static str>,
    /// The last word is a check that the next load may imply.
    implied: Option<&'static str>,
}

impl Writer {
    fn of(family: u8) -> Self {
        let family = match family {
            IPV4 => Some("ipv4"),
            IPV6 => Some("ipv6"),
            _ => None,
        };
        Self { words: Vec::new(), waiting: Vec::new(), family, transport: None, implied: None }
    }

    fn finish(self) -> String {
        self.words.join(" ")
    }

    /// `None` for an expression that is not put into words.
    fn add(&mut self, name: &str, data: &[Attribute<'_>]) -> Option<()> {
        match name {
            "meta" => self.load(number_of(data, 1)?, loaded::of_meta(number_of(data, 2)?)?),
            // Keys with a direction have one more attribute.
            "ct" if find(data, 3).is_none() => self.load(number_of(data, 1)?, loaded::of_ct(number_of(data, 2)?)?),
            "payload" => {
                let at = (number_of(data, 2)?, number_of(data, 3)?, number_of(data, 4)?);
                self.load(number_of(data, 1)?, loaded::of_payload(at, self.family, self.transport)?)
            }
            "bitwise" => self.mask(data),
            "cmp" => self.compare(number_of(data, 1)?, number_of(data, 2)?, value_of(data, 3)?),
            "range" => self.range(data),
            "lookup" => self.look_up(data),
            "immediate" => self.verdict(data),
            "counter" => self.say("counter"),
            "objref" if number_of(data, 1)? == 1 => self.say(&format!("counter name \"{}\"", text_of(data, 2)?)),
            "limit" => self.limit(data),
            "log" => match text_of(data, 2) {
                Some(prefix) => self.say(&format!("log prefix \"{prefix}\"")),
                None => self.say("log"),
            },
            "reject" => self.say("reject"),
            "notrack" => self.say("notrack"),
            // The rules of iptables-nft, whose own parts are opaque, but for comments (`struct xt_comment_info`).
            "match" if text_of(data, 1) == Some("comment") => self.say(&format!("comment \"{}\"", text_of(data, 3)?)),
            "match" => self.say(&format!("xt match \"{}\"", text_of(data, 1)?)),
            "target" => self.say(&format!("xt target \"{}\"", text_of(data, 1)?)),
            _ => None,
        }
    }

    /// Returns `Some`, so that it ends an arm.
    #[expect(clippy::unnecessary_wraps, reason = "the arms of a match are of one type")]
    fn say(&mut self, word: &str) -> Option<()> {
        self.words.push(word.to_owned());
        self.implied = None;
        Some(())
    }

    fn load(&mut self, register: u32, loaded: Loaded) -> Option<()> {
        let register = normal(register)?;
        // A check of the protocol right before says nothing more than the name of the load.
        if self.implied.is_some() && self.implied == loaded.implies {
            self.words.pop();
        }
        self.implied = None;
        self.waiting.retain(|waiting| waiting.register != register && !waiting.is_compared);
        self.waiting.push(Waiting { register, loaded, mask: None, is_compared: false });
        Some(())
    }

    fn mask(&mut self, data: &[Attribute<'_>]) -> Option<()> {
        let (from, to, mask, xor) = (number_of(data, 1)?, number_of(data, 2)?, value_of(data, 4)?, value_of(data, 5)?);
        let waiting = self.waiting.iter_mut().find(|waiting| Some(waiting.register) == normal(from))?;
        let is_plain = from == to && waiting.mask.is_none() && xor.iter().all(|byte| *byte == 0);
        waiting.mask = Some(mask.to_vec());
        is_plain.then_some(())
    }

    fn compare(&mut self, register: u32, operation: u32, value: &[u8]) -> Option<()> {
        const OPERATIONS: [&str; 6] = ["", "!= ", "< ", "<= ", "> ", ">= "];
        let register = normal(register)?;
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.register == register)?;
        waiting.is_compared = true;
        let (loaded, mask) = (waiting.loaded, waiting.mask.as_deref());
        let mut sign = *OPERATIONS.get(usize::try_from(operation).ok()?)?;
        let shown = match (mask, loaded.form) {
            // `ct state X` checks that any of the bits is set.
            (Some(mask), Form::State) if operation == 1 && value.iter().all(|byte| *byte == 0) => {
                sign = "";
                loaded::states(loaded::host(mask)?)?
            }
            (Some(mask), _) => loaded.net(value, mask)?,
            (None, Form::State) => return None,
            (None, _) => loaded.value(value)?,
        };
        self.say(&format!("{} {sign}{shown}", loaded.name))?;
        if operation == 0 {
            self.learn(loaded, *value.first()?);
        }
        Some(())
    }

    /// Later loads depend on the protocols that were checked.
    fn learn(&mut self, loaded: Loaded, value: u8) {
        match loaded.form {
            Form::Protocol => self.transport = loaded::transport(value),
            Form::Family => self.family = loaded::family(value),
            _ => return,
        }
        self.implied = match loaded.name {
            "meta l4proto" => self.transport,
            "meta nfproto" => self.family,
            _ => None,
        };
    }

    fn range(&mut self, data: &[Attribute<'_>]) -> Option<()> {
        let (register, operation) = (normal(number_of(data, 1)?)?, number_of(data, 2)?);
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.register == register)?;
        waiting.is_compared = true;
        let (loaded, is_masked) = (waiting.loaded, waiting.mask.is_some());
        let (first, last) = (loaded.value(value_of(data, 3)?)?, loaded.value(value_of(data, 4)?)?);
        let sign = if operation == 0 { "" } else { "!= " };
        if is_masked { None } else { self.say(&format!("{} {sign}{first}-{last}", loaded.name)) }
    }

    /// A set with a name, or one that is written in the rule, whose elements are elsewhere. Maps have no words.
    fn look_up(&mut self, data: &[Attribute<'_>]) -> Option<()> {
        const SET: u16 = 1;
        const REGISTER: u16 = 2;
        const INTO: u16 = 3;
        const FLAGS: u16 = 5;
        let register = normal(number_of(data, REGISTER)?)?;
        let [waiting] = &mut *self.waiting.iter_mut().filter(|waiting| !waiting.is_compared).collect::<Vec<_>>() else {
            return None;
        };
        if waiting.register != register || waiting.mask.is_some() || find(data, INTO).is_some() {
            return None;
        }
        waiting.is_compared = true;
        let name = waiting.loaded.name;
        let sign = if number_of(data, FLAGS).unwrap_or(0) & 1 == 1 { "!= " } else { "" };
        let set = text_of(data, SET)?;
        let set = if set.starts_with("__set") { "{ … }".to_owned() } else { format!("@{set}") };
        self.say(&format!("{name} {sign}{set}"))
    }

    fn verdict(&mut self, data: &[Attribute<'_>]) -> Option<()> {
        let (code, chain) = (1, 2);
        let inner = find(data, 2)?.nested().next()?.ok()?;
        if number_of(data, 1)? != 0 || inner.kind != VERDICT {
            return None;
        }
        let verdict = inner.nested().collect::<Result<Vec<_>, _>>().ok()?;
        let chain = || text_of(&verdict, chain);
        match number_of(&verdict, code)?.cast_signed() {
            0 => self.say("drop"),
            1 => self.say("accept"),
            -3 => self.say(&format!("jump {}", chain()?)),
            -4 => self.say(&format!("goto {}", chain()?)),
            -5 => self.say("return"),
            _ => None,
        }
    }

    fn limit(&mut self, data: &[Attribute<'_>]) -> Option<()> {
        const UNITS: [(u64, &str); 5] =
            [(1, "second"), (60, "minute"), (3600, "hour"), (86_400, "day"), (604_800, "week")];
        /// `NFT_LIMIT_PKT_BURST_DEFAULT` (`net/netfilter/nft_limit.c`).
        const USUAL_BURST: u32 = 5;
        let (rate, unit) = (long(find(data, 1)?).ok()?, long(find(data, 2)?).ok()?);
        let unit = UNITS.iter().find(|(seconds, _)| *seconds == unit)?.1;
        let is_of_packets = number_of(data, 4).unwrap_or(0) == 0;
        let burst = match number_of(data, 3).unwrap_or(USUAL_BURST) {
            USUAL_BURST => String::new(),
            burst => format!(" burst {burst} packets"),
        };
        let over = if number_of(data, 5).unwrap_or(0) & 1 == 1 { "over " } else { "" };
        is_of_packets.then(|| self.say(&format!("limit rate {over}{rate}/{unit}{burst}"))).flatten()
    }
}

/// The number of the first 4 bytes of a register.
fn normal(register: u32) -> Option<u32> {
    match register {
        register if REGISTERS.contains(&register) => Some((register - 1) * 4),
        register => register.checked_sub(FIRST_OF_32_BITS),
    }
}
