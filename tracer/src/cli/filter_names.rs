//! The names in a filter: a name that means nothing here is wrong usage, and is refused before a run starts.

use clap::error::ErrorKind;

use super::args::{Command, usage_error};
use crate::explain::Explanations;
use crate::filter::question::{Question, matches_pattern};
use crate::filter::{Filter, FilterError};
use crate::identity::netns;
use crate::kernel::btf::KernelBtf;
use crate::kernel::reasons::{ReasonNames, xdp};
use crate::kernel::symbols;

/// What is wrong with a name, and what would be right, if that is known.
type Refused = (String, Option<String>);

/// Fails with the position of the first name that means nothing: a drop reason that neither the explanations nor this
/// kernel know, a function or a network namespace that this host does not have.
pub(super) fn check(command: &Command) -> Result<(), clap::Error> {
    let (filter, refused_name): (_, fn(&Question) -> Option<Refused>) = match command {
        Command::Stat(args) => (&args.stat.common.filter, refused_here),
        Command::Trace(args) => (&args.common.filter, refused_here),
        Command::Snapshot(args) => (&args.filter, refused_here),
        #[cfg(feature = "agent")]
        Command::Agent(args) => (&args.options.filter, refused_here),
        Command::Replay(args) => (&args.filter, refused_in_a_recording),
        Command::Rule(args) => (&args.filter, refused_of_a_packet),
        _ => return Ok(()),
    };
    let Some(error) = filter.as_ref().and_then(|filter| first_error(filter, refused_name)) else { return Ok(()) };
    Err(usage_error(Some(command), ErrorKind::ValueValidation, &format!("invalid filter: {error}")))
}

fn first_error(filter: &Filter, refused_name: fn(&Question) -> Option<Refused>) -> Option<FilterError> {
    filter.questions.iter().enumerate().find_map(|(index, question)| {
        let (message, remedy) = refused_name(question)?;
        Some(filter.refuse(index, message, remedy))
    })
}

/// Why a name means nothing on this host.
fn refused_here(question: &Question) -> Option<Refused> {
    match question {
        Question::Reason(pattern) => refused_reason(pattern),
        Question::Site(pattern) => refused_function(pattern),
        Question::Netns(target) => netns::parse_target(target).err().map(|error| (error.to_string(), None)),
        _ => None,
    }
}

/// Why a name means nothing in a recording, which may be of another host.
fn refused_in_a_recording(question: &Question) -> Option<Refused> {
    match question {
        Question::Reason(pattern) => refused_reason(pattern),
        Question::Netns(target) if target.contains([':', '/']) => Some((
            "a recording has neither processes nor files".into(),
            Some("write the name of the network namespace, its inode number, or `self`".into()),
        )),
        _ => None,
    }
}

/// Why the word means nothing for a packet that is not dropped yet.
#[expect(clippy::unnecessary_wraps, reason = "one of several functions of this type")]
fn refused_of_a_packet(question: &Question) -> Option<Refused> {
    let remedy = match question {
        Question::Netns(_) => "write --netns before the filter",
        _ => "write conditions on the packet's bytes, such as `tcp port 443`",
    };
    Some(("nftables traces packets, and knows nothing of their drops".into(), Some(remedy.into())))
}

fn refused_reason(pattern: &str) -> Option<Refused> {
    let Ok(explanations) = Explanations::built_in() else { return None };
    let capitals = pattern.to_uppercase();
    if is_reason(pattern, &explanations) || is_trap(pattern) && !is_reason(&capitals, &explanations) {
        return None;
    }
    let near = explanations.nearest(&pattern.replace('*', ""));
    let remedy = match near.as_slice() {
        [] => "`droptrace explain` lists the drop reasons".into(),
        near => format!("similar names: {}", near.join(", ")),
    };
    Some((format!("unknown drop reason `{pattern}`"), Some(remedy)))
}

/// Whether a reason has this number, or the explanations or this kernel have a reason that matches.
fn is_reason(pattern: &str, explanations: &Explanations) -> bool {
    let matches = |name: &str| matches_pattern(pattern, name);
    pattern.parse::<u32>().is_ok()
        || explanations.iter().any(|(name, _)| matches(name))
        || !xdp::numbers(matches).is_empty()
        || !KernelBtf::load()
            .map_or_else(|_| ReasonNames::without_types(), |btf| ReasonNames::load(&btf))
            .numbers(matches)
            .is_empty()
}

/// Whether this may be the name of a devlink trap, which drivers make, and which is in small letters
/// (`devlink_trap_generic`, `net/devlink/trap.c`).
fn is_trap(pattern: &str) -> bool {
    pattern.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_*".contains(&byte))
}

fn refused_function(pattern: &str) -> Option<Refused> {
    // Where the functions cannot be read, the backend reports that.
    let is_known = symbols::has_function(|name| matches_pattern(pattern, name)).unwrap_or(true);
    let remedy = "/proc/kallsyms lists the functions of the kernel and of the modules that are loaded";
    (!is_known).then(|| (format!("the kernel has no function `{pattern}`"), Some(remedy.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, refused_name: fn(&Question) -> Option<Refused>) -> Option<String> {
        first_error(&Filter::parse(text).unwrap(), refused_name).map(|error| error.to_string())
    }

    #[test]
    fn mistyped_reason_has_a_position_and_similar_names() {
        for refused_name in [refused_here, refused_in_a_recording] as [fn(&Question) -> Option<Refused>; 2] {
            let text = error("tcp and reason SOCKET_RCVBUF", refused_name).unwrap();
            let (head, excerpt) = text.split_once('\n').unwrap();
            assert_eq!(head, "unknown drop reason `SOCKET_RCVBUF`");
            assert!(excerpt.starts_with("  tcp and reason SOCKET_RCVBUF\n                 ^\n"), "{text}");
            assert!(text.contains("similar names: SOCKET_RCVBUFF"), "{text}");
            assert!(error("reason socket_rcvbuff", refused_name).unwrap().contains("SOCKET_RCVBUFF"));
        }
    }

    #[test]
    fn known_names_numbers_and_traps_are_reasons() {
        for name in ["SOCKET_RCVBUFF", "SKB_DROP_REASON_NO_SOCKET", "TCP_*", "*", "6", "ttl_value_is_too_small"] {
            assert_eq!(error(&format!("reason {name}"), refused_in_a_recording), None, "{name}");
        }
    }

    #[test]
    fn traced_packets_have_bytes_only() {
        assert!(error("tcp and reason NO_SOCKET", refused_of_a_packet).unwrap().contains("`tcp port 443`"));
        assert!(error("netns self and udp", refused_of_a_packet).unwrap().contains("--netns"));
        assert_eq!(error("udp port 53 or icmp", refused_of_a_packet), None);
    }

    #[test]
    fn names_that_this_host_lacks_are_refused_only_here() {
        for (text, head) in [
            ("udp and site no_such_function_at_all", "the kernel has no function `no_such_function_at_all`\n"),
            ("udp and netns no-such-namespace", "no network namespace"),
        ] {
            let found = error(text, refused_here).unwrap();
            assert!(found.contains(head.trim_end()) && found.contains('^'), "{found}");
            assert_eq!(error(text, refused_in_a_recording), None);
        }
        assert!(error("netns pid:1", refused_in_a_recording).unwrap().contains("neither processes nor files"));
    }
}
