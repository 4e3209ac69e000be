//! `droptrace explain`: what a drop reason, a drop site or a kernel counter means. Numbers, functions and namespaces are looked up
//! on this host.

use anyhow::{Result, bail};

use super::args::ExplainArgs;
use crate::advice::entrance_of_text;
use crate::command::{self, Lookup};
use crate::explain::Entrance;
use crate::identity::entrance::entrance;
use crate::identity::netns::parse_target;
use crate::kernel::btf::KernelBtf;
use crate::kernel::reasons::ReasonNames;
use crate::kernel::symbols;
use crate::outside::say;
use crate::run::host;

/// Explains what was asked for, or lists all that can be explained.
pub(super) fn run(args: &ExplainArgs) -> Result<()> {
    command::explain(args, "droptrace", &ThisHost)
}

struct ThisHost;

impl Lookup for ThisHost {
    fn reason(&self, number: &str) -> Result<Option<String>> {
        let Some(value) = parse_number(number) else { return Ok(None) };
        let name = reason(value)?;
        say("droptrace", format_args!("in Linux {}, drop reason {number} is {name}", host().kernel));
        Ok(Some(name))
    }

    fn entrance(&self, netns: &str) -> Entrance {
        match entrance_of_text(netns) {
            Entrance::Unknown => netns.parse().map_or_else(|_| Entrance::Unknown, entrance),
            // A namespace with another name may be the reader's own.
            found => match parse_target(netns).map(|target| entrance(target.inum)) {
                Ok(Entrance::Own) => Entrance::Own,
                _ => found,
            },
        }
    }

    fn has_function(&self, name: &str) -> bool {
        symbols::has_function(|each| each == name).is_ok_and(|has| has)
    }
}

/// `6`, or `0x20001` as in the kernel's source.
fn parse_number(asked: &str) -> Option<u32> {
    match asked.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => asked.parse().ok(),
    }
}

/// The name that this kernel has for the number.
fn reason(number: u32) -> Result<String> {
    let mut names = KernelBtf::load().map_or_else(|_| ReasonNames::without_types(), |btf| ReasonNames::load(&btf));
    let name = names.resolve(number).name.to_string();
    if name == number.to_string() {
        bail!(
            "Linux {} has no drop reason with the number {number}, or does not show the names of its reasons; \
             `droptrace explain` lists all names",
            host().kernel
        );
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        let number = parse_number;
        assert_eq!((number("6"), number("0x20001"), number("tcp_v4_rcv")), (Some(6), Some(0x2_0001), None));
        assert_eq!((number("-1"), number("4294967296"), number("0x")), (None, None, None));
    }

    #[test]
    fn number_without_a_name_is_an_error() {
        let text = reason(0xffff).unwrap_err().to_string();
        assert!(text.contains("no drop reason with the number 65535"), "{text}");
    }

    #[test]
    fn functions_are_those_of_this_kernel() {
        assert!(ThisHost.has_function("tcp_v4_rcv") && !ThisHost.has_function("no_such_function"));
    }

    #[test]
    fn own_namespace_has_no_entrance() {
        let own = crate::identity::netns::own().unwrap().to_string();
        for netns in ["self", "/proc/self/ns/net", &own] {
            assert_eq!(ThisHost.entrance(netns), Entrance::Own, "{netns}");
        }
        assert_eq!(ThisHost.entrance("no-such-name"), Entrance::Name("no-such-name".into()));
    }
}
