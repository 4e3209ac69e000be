//! A recorded call stack.

use std::borrow::Cow;
use std::sync::Arc;

use super::refused::Refused;
use crate::domain::event::{Location, Symbol};

/// Functions of a stack at most; the kernel program records fewer.
const MOST: usize = 128;
/// Bytes of a function with its offset and module at most.
pub(super) const LONGEST: usize = 1_024;

/// Reads the functions of a stack, each `NAME+0xOFFSET`, `NAME+0xOFFSET [MODULE]`, or an address.
pub(super) fn parse(functions: &[Cow<'_, str>]) -> Result<Vec<Arc<Location>>, Refused> {
    if functions.len() > MOST || functions.iter().any(|function| function.len() > LONGEST) {
        return Err(Refused::Field("`stack` is too long"));
    }
    let parsed = functions.iter().map(|function| location(function).map(Arc::new));
    parsed.collect::<Option<_>>().ok_or(Refused::Field("`stack` has a function without an offset"))
}

/// Reads one function.
pub(super) fn location(text: &str) -> Option<Location> {
    let hexadecimal = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    if let Some(address) = hexadecimal(text) {
        return Some(Location { address, symbol: None, trap_group: None });
    }
    let (name, rest) = text.rsplit_once('+')?;
    let (offset, module) = match rest.split_once(" [") {
        Some((offset, module)) => (offset, Some(module.strip_suffix(']')?)),
        None => (rest, None),
    };
    let symbol = Symbol { name: name.into(), offset: hexadecimal(offset)?, module: module.map(Into::into) };
    Some(Location { address: 0, symbol: Some(symbol), trap_group: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimension::site;

    #[test]
    fn functions_are_read_as_they_were_written() {
        for text in ["udp_queue_rcv_one_skb+0x1a7", "nft_do_chain+0x0 [nf_tables]", "0xffffffff82045927"] {
            assert_eq!(site(&location(text).unwrap(), usize::MAX), text);
        }
    }

    #[test]
    fn malformed_stacks_are_refused() {
        for text in ["", "function", "function+1", "function+0x", "function+0x1 [module", "0xg"] {
            assert!(parse(&[text.into()]).is_err(), "{text}");
        }
        assert!(parse(&vec!["f+0x1".into(); MOST]).is_ok());
        assert!(parse(&vec!["f+0x1".into(); MOST + 1]).is_err());
        assert!(parse(&["x".repeat(LONGEST).into()]).is_err());
    }
}
