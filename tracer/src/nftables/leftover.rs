//! Whether a table of droptrace's name is one that a killed run has left.

use super::attributes::Body;
use super::text::{self, EXPRESSIONS};
use super::{HEADER, INET, message};
use crate::netlink::wire::{self, Malformed, Message};
use crate::netlink::{Connection, Error, Kind};

/// The table, and the chain or the name of a chain, in messages about rules and chains.
const TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const CHAIN_NAME: u16 = 3;
/// The expressions of the rule that marks packets.
const MARKING: [&str; 6] = ["counter", "limit", "counter", "immediate", "meta", "immediate"];
/// The expressions of the conditions, which `immediate` follows.
const CONDITIONS: [&str; 4] = ["meta", "payload", "bitwise", "cmp"];

/// Whether a table has droptrace's chains, and no others, and in them only rules of droptrace's form. A run that was killed
/// at its end may have left no rules in the base chains.
pub(super) async fn is_own(
    connection: &mut Connection,
    table: &str,
    sample: &str,
    base_chains: &[&str],
) -> Result<bool, Error> {
    let mut chains = Vec::new();
    let visit = |message: &Message<'_>| {
        let found = Found::read(message, CHAIN_NAME)?;
        chains.extend((found.table == table).then_some(found.chain));
        Ok(())
    };
    let body = Body::of(INET).into_bytes();
    connection.call_raw("NFT_MSG_GETCHAIN", message::GET_CHAIN, &body, Kind::Dump, visit).await?;
    let (mut marking, mut others) = (0, 0);
    let visit = |message: &Message<'_>| {
        let found = Found::read(message, RULE_CHAIN)?;
        if found.table == table {
            match found.chain == sample {
                true if found.expressions == MARKING => marking += 1,
                false if is_condition(&found.expressions) => {}
                _ => others += 1,
            }
        }
        Ok(())
    };
    connection.call_raw("NFT_MSG_GETRULE", message::GET_RULE, &body, Kind::Dump, visit).await?;
    let is_known = |chain: &String| chain == sample || base_chains.contains(&chain.as_str());
    Ok(chains.len() == base_chains.len() + 1 && chains.iter().all(is_known) && (marking, others) == (1, 0))
}

fn is_condition(expressions: &[String]) -> bool {
    let is_allowed = |name: &String| CONDITIONS.contains(&name.as_str());
    expressions.split_last().is_some_and(|(last, before)| last == "immediate" && before.iter().all(is_allowed))
}

/// A chain or a rule.
#[derive(Default)]
struct Found {
    table: String,
    chain: String,
    /// The names of the expressions of a rule.
    expressions: Vec<String>,
}

impl Found {
    /// Reads a message in which the attribute `chain` has the name of the chain.
    fn read(message: &Message<'_>, chain: u16) -> Result<Self, Malformed> {
        let mut found = Self::default();
        for attribute in wire::attributes(message.payload.get(HEADER..).unwrap_or_default()) {
            let attribute = attribute?;
            match attribute.kind {
                TABLE => attribute.text()?.clone_into(&mut found.table),
                kind if kind == chain => attribute.text()?.clone_into(&mut found.chain),
                EXPRESSIONS if chain == RULE_CHAIN => found.expressions = text::names(&attribute)?,
                _ => {}
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_conditions_and_a_jump_are_rules_of_base_chains() {
        let names = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        for text in ["immediate", "meta cmp payload bitwise cmp immediate"] {
            assert!(is_condition(&names(text)), "{text}");
        }
        for text in ["", "counter immediate", "meta cmp", "lookup immediate"] {
            assert!(!is_condition(&names(text)), "{text}");
        }
    }
}
