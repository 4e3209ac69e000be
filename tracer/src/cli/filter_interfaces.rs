//! Warns of interfaces in a filter that do not exist now. An interface may appear later, so that such a name is no wrong usage.

use std::collections::BTreeSet;

use super::args::Command;
use crate::filter::Filter;
use crate::filter::question::Question;
use crate::identity::{interfaces, netns};

/// The greatest number of names in a warning.
const MOST_NAMES: usize = 8;

/// Warns of the filter of a command; the agent's may be in its file, and is checked when that is read.
pub(super) fn warn(command: &Command) {
    let (filter, netns) = match command {
        // The interface may be gone since.
        command if command.is_of_the_past() => return,
        Command::Stat(args) => (&args.stat.common.filter, &args.stat.common.netns),
        #[cfg(feature = "top")]
        Command::Top(args) => (&args.common.filter, &args.common.netns),
        Command::Trace(args) => (&args.common.filter, &args.common.netns),
        Command::Snapshot(args) => (&args.filter, &None),
        _ => return,
    };
    if let Some(filter) = filter {
        warn_of(filter, netns.as_deref());
    }
}

/// Warns of each `iface NAME` that no namespace has, or that of `--netns` has not.
pub(super) fn warn_of(filter: &Filter, netns: Option<&str>) {
    if names(filter).next().is_none() {
        return;
    }
    let only = netns.and_then(|given| netns::parse_target(given).ok());
    let existing = interfaces::names(only.map(|target| target.inum));
    // Without /proc nothing is known.
    for missing in names(filter).filter(|name| !existing.is_empty() && !existing.contains(*name)) {
        tracing::warn!("{}", warning(missing, netns, &existing));
    }
}

/// The names of interfaces; numbers are indices, which may belong to any namespace.
fn names(filter: &Filter) -> impl Iterator<Item = &str> {
    filter.questions.iter().filter_map(|question| match question {
        Question::Interface(name) if name.parse::<u32>().is_err() => Some(&**name),
        _ => None,
    })
}

fn warning(missing: &str, netns: Option<&str>, existing: &BTreeSet<String>) -> String {
    let in_netns = netns.map(|netns| format!(" in netns {netns}")).unwrap_or_default();
    let mut shown: Vec<_> = existing.iter().take(MOST_NAMES).map(String::as_str).collect();
    let more = format!("{} more", existing.len() - shown.len());
    if existing.len() > shown.len() {
        shown.push(&more);
    }
    format!(
        "no interface {missing} exists now{in_netns}, so that no drop matches it until there is one; interfaces: {}",
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_names_what_exists() {
        let existing = |count: u32| (0..count).map(|index| format!("v{index}")).collect();
        assert_eq!(
            warning("eht0", Some("web"), &existing(2)),
            "no interface eht0 exists now in netns web, so that no drop matches it until there is one; interfaces: v0, v1"
        );
        assert!(warning("eht0", None, &existing(11)).ends_with("v5, v6, 3 more"));
    }

    #[test]
    fn only_names_are_looked_up() {
        let filter = Filter::parse("iface eth0 or iface 2 or not iface lo").unwrap();
        assert_eq!(names(&filter).collect::<Vec<_>>(), ["eth0", "lo"]);
    }
}
