//! Explanations for people. Sentences wrap at the given width in columns; commands do not, so that they can be copied.

use std::io::{self, Write};

use textwrap::Options;

use super::combined::fits;
use super::comment::comment;
use super::counters::write_counter;
use super::fill::{Values, fill};
use super::wrap::{NARROWEST, WIDEST, wrapped};
use super::{Explanation, Library, Site, Topic, Usual};
use crate::outside::printable;

/// The title of `droptrace rule`.
const FINDS_THE_RULE: &str = "What shows the rule (adds a table while it runs)";

/// Writes an explanation, with the values of a row in its commands.
pub fn write_topic(out: &mut impl Write, topic: &Topic<'_>, values: &Values, width: usize) -> io::Result<()> {
    let width = width.clamp(NARROWEST, WIDEST);
    write_meaning(out, topic, width)?;
    write_causes(out, topic, width)?;
    write_commands(out, topic, values, width)
}

/// The same with the commands before the causes, for screens that show only the begin.
pub fn write_topic_commands_first(
    out: &mut impl Write,
    topic: &Topic<'_>,
    values: &Values,
    width: usize,
) -> io::Result<()> {
    let width = width.clamp(NARROWEST, WIDEST);
    write_meaning(out, topic, width)?;
    write_commands(out, topic, values, width)?;
    write_causes(out, topic, width)
}

fn write_meaning(out: &mut impl Write, topic: &Topic<'_>, width: usize) -> io::Result<()> {
    match topic {
        Topic::Reason(name, explanation, site) => write_reason(out, name, explanation, *site, width),
        Topic::Site(name, site) => write_site(out, name, site, width),
        Topic::Counter(name, counter) => write_counter(out, name, counter, width),
    }
}

fn write_causes(out: &mut impl Write, topic: &Topic<'_>, width: usize) -> io::Result<()> {
    writeln!(out, "\nCommon causes")?;
    for cause in topic.causes() {
        let options = Options::new(width).initial_indent("  * ").subsequent_indent("    ");
        writeln!(out, "{}", textwrap::fill(cause, options))?;
    }
    Ok(())
}

fn write_reason(
    out: &mut impl Write,
    name: &str,
    explanation: &Explanation,
    site: Option<(&str, &Site)>,
    width: usize,
) -> io::Result<()> {
    writeln!(out, "{name} ({})", explanation.subsystem)?;
    let topic = Topic::Reason(name, explanation, site);
    wrapped(out, &topic.meaning(), width, "")?;
    if let Some((name, site)) = site {
        writeln!(out)?;
        wrapped(out, &format!("At {name} ({})", site.source), width, "")?;
        wrapped(out, &site.meaning, width, "  ")?;
    }
    write_usual(out, explanation.usual, &explanation.because, width)?;
    for (title, counters) in [
        ("Counters that rise with it", &explanation.counters),
        ("Counters that may rise with it (not verified)", &explanation.unverified),
    ] {
        let function = site.map_or("", |(name, _)| name);
        let counters: Vec<_> = counters.iter().map(String::as_str).filter(|name| fits(name, function)).collect();
        if !counters.is_empty() {
            writeln!(out, "\n{title}")?;
            wrapped(out, &counters.join(", "), width, "  ")?;
        }
    }
    Ok(())
}

fn write_site(out: &mut impl Write, name: &str, site: &Site, width: usize) -> io::Result<()> {
    wrapped(out, &format!("{name} (drop site, {})", site.source), width, "")?;
    wrapped(out, &site.meaning, width, "")?;
    for (title, names) in [("Reasons here", &site.reasons), ("The same drops at", &site.also)] {
        if !names.is_empty() {
            writeln!(out, "\n{title}")?;
            wrapped(out, &names.join(", "), width, "  ")?;
        }
    }
    write_usual(out, Some(site.usual), &site.because, width)
}

fn write_usual(out: &mut impl Write, usual: Option<Usual>, because: &str, width: usize) -> io::Result<()> {
    writeln!(out, "\nUsual: {}", usual.map_or("unknown", Usual::name))?;
    wrapped(out, because, width, "  ")
}

/// Writes the commands, and which of their words the reader has to fill in.
fn write_commands(out: &mut impl Write, topic: &Topic<'_>, values: &Values, width: usize) -> io::Result<()> {
    let best = topic.best();
    let changes = topic.changes().into_iter().filter(|command| best.as_ref() != Some(command)).collect();
    let is_of_size = topic.causes().iter().any(|cause| cause.contains("MTU"));
    let mut missing = Vec::new();
    for (title, commands) in [
        (FINDS_THE_RULE, best.iter().cloned().collect()),
        ("What to run next", topic.next_for(values)),
        ("What changes the system: think before you run it", changes),
    ] {
        if !commands.is_empty() {
            writeln!(out, "\n{title}")?;
        }
        for command in commands.iter().map(|command| fill(command, values)) {
            let hint = comment(&command.text, is_of_size).map(|hint| format!("  {hint}")).unwrap_or_default();
            writeln!(out, "  {}{hint}", command.text)?;
            missing.extend(command.missing);
        }
    }
    missing.sort_unstable();
    missing.dedup();
    write_missing(out, &missing, values, width)
}

fn write_missing(out: &mut impl Write, missing: &[&str], values: &Values, width: usize) -> io::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let netns = match &values.netns {
        _ if !missing.contains(&"NETNS") => String::new(),
        Some(netns) => {
            let netns = printable(netns);
            format!("; no way into network namespace {netns} is known: it has no name, or has ended")
        }
        None => "; leave `ip netns exec NETNS` out if the drops are in your own network namespace".to_owned(),
    };
    writeln!(out)?;
    wrapped(out, &format!("To be filled in: {}{netns}.", missing.join(", ")), width, "")
}

/// Writes the names of all reasons, sites and counters with their meanings: one line each, cut to the width.
pub fn write_list(out: &mut impl Write, library: &Library, width: usize) -> io::Result<()> {
    let reasons: Vec<_> = library.reasons.iter().map(|(name, reason)| (name, &*reason.meaning)).collect();
    let sites: Vec<_> = library.sites.iter().map(|(name, site)| (name, &*site.meaning)).collect();
    let counters: Vec<_> = library.counters.iter().map(|(name, counter)| (name, &*counter.meaning)).collect();
    for (title, entries) in [("Drop reasons", reasons), ("Drop sites", sites), ("Kernel counters", counters)] {
        if title != "Drop reasons" {
            writeln!(out)?;
        }
        writeln!(out, "{title}")?;
        write_entries(out, &entries, width)?;
    }
    Ok(())
}

fn write_entries(out: &mut impl Write, entries: &[(&str, &str)], width: usize) -> io::Result<()> {
    let widest = entries.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    entries.iter().try_for_each(|(name, meaning)| {
        let room = width.saturating_sub(widest + 2).max(NARROWEST / 2);
        writeln!(out, "{name:<widest$}  {}", first_words(meaning, room))
    })
}

/// The first sentence, or as much of it as fits.
fn first_words(text: &str, room: usize) -> String {
    let sentence = text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.');
    if sentence.chars().count() <= room {
        return sentence.to_owned();
    }
    let lines = textwrap::wrap(sentence, room.saturating_sub(2));
    lines.first().map(|line| format!("{line} …")).unwrap_or_default()
}
