//! The names in a filter: a name that means nothing here is wrong usage, and is refused before a run starts.

use clap::error::ErrorKind;

use super::args::{Command, Counted, usage_error};
use super::filter_processes;
use crate::explain::{Explanations, generic_traps};
use crate::filter::question::{Question, matches_pattern};
use crate::filter::{Filter, FilterError};
use crate::identity::netns;
use crate::identity::users::{self, Users};
use crate::kernel::reasons::xdp;
use crate::kernel::running::RunningKernel;

/// What is wrong with a name, and what would be right, if that is known.
type Refused = (String, Option<String>);

/// What a filter by container or pod leaves out.
const OF_SOCKETS: &str = "`container` and `pod` select by the packet's socket: drops without a socket do not match, although \
                          `stat` may show them as those of the container that lives in their namespace (`resident`, `peer`)";

/// Fails with the position of the first name that means nothing: a drop reason that neither the explanations nor this
/// kernel know, a function or a network namespace that this host does not have. Warns of names that hardly mean anything.
pub(super) fn check(command: &Command, kernel: &RunningKernel) -> Result<(), clap::Error> {
    check_rows(command, kernel)?;
    let filter = match command {
        Command::Stat(args) => &args.stat.common.filter,
        #[cfg(feature = "top")]
        Command::Top(args) => &args.common.filter,
        Command::Trace(args) => &args.common.filter,
        Command::Snapshot(args) => &args.filter,
        Command::Compare(args) => &args.filter,
        #[cfg(feature = "agent")]
        Command::Agent(args) => &args.options.filter,
        Command::Replay(args) => &args.filter,
        Command::Rule(args) => &args.filter,
        _ => return Ok(()),
    };
    let Some(filter) = filter else { return Ok(()) };
    let checked = match command {
        Command::Rule(_) => check_packets(filter),
        _ => filter_processes::check(command, filter).and_then(|()| {
            Scope { kernel, is_recording: matches!(command, Command::Replay(_)) || command.is_of_the_past() }
                .check(filter)
        }),
    };
    checked.map_err(|error| usage_error(Some(command), ErrorKind::ValueValidation, &format!("invalid filter: {error}")))
}

/// The same check of the expressions about rows, `--hide` and `--fail-if`.
fn check_rows(command: &Command, kernel: &RunningKernel) -> Result<(), clap::Error> {
    let (hide, fail_if) = match command {
        Command::Stat(args) => (&args.stat.hide, &args.stat.fail_if[..]),
        Command::Trace(args) => (&args.hide, &[][..]),
        Command::Replay(args) => (&args.hide, &[][..]),
        _ => return Ok(()),
    };
    let conditions = fail_if.iter().filter_map(|condition| match &condition.counted {
        Counted::Rows(filter) => Some(("--fail-if", &**filter)),
        Counted::Total | Counted::Lost | Counted::Outside => None,
    });
    let scope = Scope { kernel, is_recording: matches!(command, Command::Replay(_)) || command.is_of_the_past() };
    for (option, filter) in hide.hide.iter().map(|filter| ("--hide", filter)).chain(conditions) {
        let refused = |error| format!("invalid expression of {option}: {error}");
        let checked = scope.check(filter).map_err(refused);
        checked.map_err(|text| usage_error(Some(command), ErrorKind::ValueValidation, &text))?;
    }
    Ok(())
}

/// The same check of a filter for the drops of this host.
#[cfg(any(feature = "agent", feature = "top"))]
pub(super) fn check_here(filter: &Filter, kernel: &RunningKernel) -> Result<(), FilterError> {
    filter_processes::refuse(filter)?;
    Scope { kernel, is_recording: false }.check(filter)
}

/// Fails at the first question about a drop: the packets are not dropped yet.
fn check_packets(filter: &Filter) -> Result<(), FilterError> {
    let Some(question) = filter.questions.first() else { return Ok(()) };
    let remedy = match question {
        Question::Netns(_) => "write --netns before the filter",
        _ => "write conditions on the packet's bytes, such as `tcp port 443`",
    };
    Err(filter.refuse(0, "nftables traces packets, and knows nothing of their drops", Some(remedy.into())))
}

/// Where the drops are from: this host, or any host whose drops were recorded.
#[derive(Clone, Copy)]
struct Scope<'k> {
    kernel: &'k RunningKernel,
    is_recording: bool,
}

impl Scope<'_> {
    fn check(self, filter: &Filter) -> Result<(), FilterError> {
        for (index, question) in filter.questions.iter().enumerate() {
            if let Some((message, remedy)) = self.refused(question) {
                return Err(filter.refuse(index, message, remedy));
            }
        }
        for doubt in filter.questions.iter().filter_map(|question| self.doubtful(question)) {
            tracing::warn!("{doubt}");
        }
        if filter.questions.iter().any(|question| matches!(question, Question::Container(_) | Question::Pod(_))) {
            tracing::warn!("{OF_SOCKETS}");
        }
        Ok(())
    }

    /// Why a name means nothing.
    fn refused(self, question: &Question) -> Option<Refused> {
        match question {
            Question::Reason(pattern) => self.refused_reason(pattern),
            Question::User(given) => refused_user(given),
            Question::Site(pattern) if !self.is_recording => self.refused_function(pattern),
            Question::Netns(target) if !self.is_recording => {
                netns::parse_target(target).err().map(|error| (error.to_string(), None))
            }
            Question::Netns(target) if target.contains([':', '/']) => Some((
                "a recording has neither processes nor files".into(),
                Some("write the name of the network namespace, its inode number, or `self`".into()),
            )),
            _ => None,
        }
    }

    fn refused_reason(self, pattern: &str) -> Option<Refused> {
        let explanations = Explanations::built_in().ok()?;
        let capitals = pattern.to_uppercase();
        let may_be_trap = is_trap(pattern) && (is_generic_trap(pattern) || !self.is_reason(&capitals, &explanations));
        if may_be_trap || self.is_reason(pattern, &explanations) {
            return None;
        }
        let near = explanations.nearest(&pattern.replace('*', ""));
        let remedy = match pattern.split_once(',') {
            Some((first, rest)) => format!("write `reason {first} or {rest}` for several reasons"),
            None => similar(&near).unwrap_or_else(|| "`droptrace explain` lists the drop reasons".into()),
        };
        Some((format!("unknown drop reason `{pattern}`"), Some(remedy)))
    }

    /// A warning of a name in small letters, which only a trap of a driver can have: more likely it is mistyped.
    fn doubtful(self, question: &Question) -> Option<String> {
        let Question::Reason(pattern) = question else { return None };
        let explanations = Explanations::built_in().ok()?;
        if is_generic_trap(pattern) || self.is_reason(pattern, &explanations) {
            return None;
        }
        let near = explanations.nearest_with_traps(&pattern.replace('*', ""));
        let hint = similar(&near).map(|names| format!("; {names}")).unwrap_or_default();
        Some(format!(
            "no drop reason and no generic devlink trap has the name `{pattern}`, so that only a trap of a driver can match{hint}"
        ))
    }

    /// Whether a reason has this number, or the explanations or this kernel have a reason that matches.
    fn is_reason(self, pattern: &str, explanations: &Explanations) -> bool {
        let matches = |name: &str| matches_pattern(pattern, name);
        pattern.parse::<u32>().is_ok()
            || explanations.iter().any(|(name, _)| matches(name))
            || !xdp::numbers(matches).is_empty()
            || !self.kernel.reasons().numbers(matches).is_empty()
    }

    fn refused_function(self, pattern: &str) -> Option<Refused> {
        // Where the functions cannot be read, the backend reports that.
        let is_known = self.kernel.functions().has(|name| matches_pattern(pattern, name)).unwrap_or(true);
        let remedy = "/proc/kallsyms lists the functions of the kernel and of the modules that are loaded";
        (!is_known).then(|| (format!("the kernel has no function `{pattern}`"), Some(remedy.into())))
    }
}

/// Of a recording of another host, users are those of this host, too: a recording has their numbers only.
fn refused_user(given: &str) -> Option<Refused> {
    let users = match Users::read() {
        Ok(users) => users,
        _ if users::number(given).is_some() => return None,
        Err(error) => {
            return Some((format!("cannot read /etc/passwd: {error}"), Some("write the number of the user".into())));
        }
    };
    if users.number(given).is_some() {
        return None;
    }
    let near = users.nearest(given).map(|near| format!("did you mean `{near}`?"));
    let remedy = near.unwrap_or_else(|| "write the number of the user, from 0 to 4294967294".into());
    Some((format!("/etc/passwd has no user `{given}`"), Some(remedy)))
}

/// `similar names: A, B`.
fn similar(near: &[&str]) -> Option<String> {
    (!near.is_empty()).then(|| format!("similar names: {}", near.join(", ")))
}

/// Whether this may be the name of a devlink trap, which drivers make, and which is in small letters
/// (`devlink_trap_generic`, `net/devlink/trap.c`).
fn is_trap(pattern: &str) -> bool {
    pattern.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_*".contains(&byte))
}

fn is_generic_trap(pattern: &str) -> bool {
    generic_traps().any(|trap| matches_pattern(pattern, trap))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, is_recording: bool) -> Option<String> {
        let kernel = RunningKernel::default();
        let scope = Scope { kernel: &kernel, is_recording };
        scope.check(&Filter::parse(text).unwrap()).err().map(|error| error.to_string())
    }

    fn doubt(text: &str) -> Option<String> {
        let kernel = RunningKernel::default();
        let scope = Scope { kernel: &kernel, is_recording: true };
        Filter::parse(text).unwrap().questions.iter().find_map(|question| scope.doubtful(question))
    }

    #[test]
    fn mistyped_reason_has_a_position_and_similar_names() {
        for is_recording in [false, true] {
            let text = error("tcp and reason SOCKET_RCVBUF", is_recording).unwrap();
            let (head, excerpt) = text.split_once('\n').unwrap();
            assert_eq!(head, "unknown drop reason `SOCKET_RCVBUF`");
            assert!(excerpt.starts_with("  tcp and reason SOCKET_RCVBUF\n                 ^\n"), "{text}");
            assert!(text.contains("similar names: SOCKET_RCVBUFF"), "{text}");
            let list = error("reason NO_SOCKET,TCP_*", is_recording).unwrap();
            assert!(list.contains("write `reason NO_SOCKET or TCP_*`"), "{list}");
            assert!(error("reason socket_rcvbuff", is_recording).unwrap().contains("SOCKET_RCVBUFF"));
        }
    }

    #[test]
    fn known_names_numbers_and_traps_are_reasons() {
        for name in ["SOCKET_RCVBUFF", "SKB_DROP_REASON_NO_SOCKET", "TCP_*", "*", "6", "ttl_value_is_too_small"] {
            let text = format!("reason {name}");
            assert_eq!((error(&text, true), doubt(&text)), (None, None), "{name}");
        }
    }

    #[test]
    fn traced_packets_have_bytes_only() {
        let error = |text| check_packets(&Filter::parse(text).unwrap()).err().map(|error| error.to_string());
        assert!(error("tcp and reason NO_SOCKET").unwrap().contains("`tcp port 443`"));
        assert!(error("netns self and udp").unwrap().contains("--netns"));
        assert_eq!(error("udp port 53 or icmp"), None);
    }

    #[test]
    fn name_in_small_letters_that_no_trap_is_known_for_is_doubtful() {
        for (name, similar) in [
            ("socket_rcvbuf", "; similar names: SOCKET_RCVBUFF"),
            ("ttl_value_is_to_small", "; similar names: ttl_value_is_too_small"),
        ] {
            let text = doubt(&format!("reason {name}")).unwrap();
            assert!(text.contains("only a trap of a driver") && text.contains(similar), "{text}");
        }
        assert!(doubt("reason zzzzzzzzzzzz").unwrap().ends_with("can match"));
    }

    #[test]
    fn users_are_those_of_this_host() {
        for is_recording in [false, true] {
            assert_eq!(error("uid root or uid 4711", is_recording), None);
            let mistyped = error("udp and uid rooot", is_recording).unwrap();
            assert!(
                mistyped.contains("has no user `rooot`") && mistyped.contains("did you mean `root`?"),
                "{mistyped}"
            );
            let number = error("uid 4294967295", is_recording).unwrap();
            assert!(number.contains("from 0 to 4294967294"), "{number}");
        }
    }

    #[test]
    fn names_that_this_host_lacks_are_refused_only_here() {
        for (text, head) in [
            ("udp and site no_such_function_at_all", "the kernel has no function `no_such_function_at_all`\n"),
            ("udp and netns no-such-namespace", "no network namespace"),
        ] {
            let found = error(text, false).unwrap();
            assert!(found.contains(head.trim_end()) && found.contains('^'), "{found}");
            assert_eq!(error(text, true), None);
        }
        assert!(error("netns pid:1", true).unwrap().contains("neither processes nor files"));
    }
}
