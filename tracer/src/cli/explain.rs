//! `droptrace explain`: what a drop reason or a kernel counter means. A number, and the name of a function, are looked up in this kernel.

use anyhow::{Result, bail};

use super::args::ExplainArgs;
use crate::command;
use crate::explain::{Counters, Explanations};
use crate::kernel::btf::KernelBtf;
use crate::kernel::reasons::ReasonNames;
use crate::kernel::symbols;
use crate::outside::say;
use crate::run::host;

/// Explains a reason by its name or by its number in the running kernel, or lists all reasons.
pub(super) fn run(args: &ExplainArgs) -> Result<()> {
    let Some(asked) = &args.reason else { return command::explain(args, "droptrace") };
    if let Some(number) = number(asked) {
        let name = reason(number)?;
        say("droptrace", format_args!("in Linux {}, drop reason {asked} is {name}", host().kernel));
        return command::explain(&ExplainArgs { reason: Some(name), ..args.clone() }, "droptrace");
    }
    let is_reason = Explanations::built_in().is_ok_and(|explanations| explanations.get(asked).is_some());
    let is_counter = Counters::built_in().is_ok_and(|counters| counters.get(asked).is_some());
    if !(is_reason || is_counter)
        && let Some(function) = function(asked)
    {
        bail!(
            "{function} is a function of this kernel, and explain knows drop reasons only; `droptrace --by site,reason` \
             shows the reasons of the drops at each function"
        );
    }
    command::explain(args, "droptrace")
}

/// `6`, or `0x20001` as in the kernel's source.
fn number(asked: &str) -> Option<u32> {
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

/// The function in `tcp_v4_rcv`, or in `nft_do_chain+0x40f [nf_tables]` as tables show it; `None` if this kernel has no
/// such function.
fn function(asked: &str) -> Option<&str> {
    let name = asked.split(['+', ' ']).next().unwrap_or(asked);
    symbols::has_function(|each| each == name).is_ok_and(|has| has).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
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
        assert_eq!(function("tcp_v4_rcv+0x91"), Some("tcp_v4_rcv"));
        assert_eq!(function("no_such_function"), None);
    }
}
