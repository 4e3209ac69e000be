//! Explanations of counters as text, and as JSON in the schema `droptrace.explain-counter.v1`.

use std::io::{self, Write};

use serde::Serialize;
use textwrap::Options;

use super::{Class, Counter, Counters};
use crate::explain::text::{NARROWEST, WIDEST, first_words, wrapped};
use crate::outside::to_json;

/// What the class says about a rise of the counter, as a sentence.
const fn sentence(class: Class) -> &'static str {
    match class {
        Class::Exact => {
            "Each rise is one drop that droptrace counts; stat and trace report a greater rise as outside kfree_skb."
        }
        Class::NotTraceable => {
            "Most packets that raise it do not pass kfree_skb, where tools trace drops; stat and trace report what no drop \
             explains as outside kfree_skb."
        }
        Class::AtMost => "The counter rises for some of the drops, or once for several; droptrace does not compare it.",
        Class::PartlyTraceable => {
            "Drops at kfree_skb raise it, and losses that no tool traces; stat and trace report what is more than the drops as \
             outside kfree_skb."
        }
        Class::NoLoss => "No packet is lost; droptrace does not compare it.",
        Class::Copy => "The counter is a part or a sum of others; droptrace does not compare it.",
    }
}

/// Writes the explanation of a counter.
pub fn write_counter_text(out: &mut impl Write, name: &str, counter: &Counter, width: usize) -> io::Result<()> {
    let width = width.clamp(NARROWEST, WIDEST);
    writeln!(out, "{name} (kernel counter, {})", counter.class.name())?;
    wrapped(out, &format!("It counts {}.", counter.meaning), width, "")?;
    wrapped(out, sentence(counter.class), width, "")?;
    if !counter.of.is_empty() {
        writeln!(out, "\nPart or sum of\n  {}", counter.of.join(", "))?;
    }
    if !counter.drops.is_empty() {
        writeln!(out, "\nDrops that raise it")?;
    }
    for drops in &counter.drops {
        let at = if drops.at.is_empty() { "any function".to_owned() } else { format!("*{}*", drops.at.join("*, *")) };
        wrapped(out, &format!("{} at {at}", drops.reason), width, "  ")?;
    }
    writeln!(out, "\nCommon causes")?;
    for cause in &counter.causes {
        let options = Options::new(width).initial_indent("  * ").subsequent_indent("    ");
        writeln!(out, "{}", textwrap::fill(cause, options))?;
    }
    writeln!(out, "\nWhat to run next")?;
    counter.next.iter().try_for_each(|command| writeln!(out, "  {command}"))
}

/// Writes the names of all counters with their meanings: one line each, cut to the width.
pub fn write_counter_list(out: &mut impl Write, counters: &Counters, width: usize) -> io::Result<()> {
    let widest = counters.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    counters.iter().try_for_each(|(name, counter)| {
        let room = width.saturating_sub(widest + 2).max(NARROWEST / 2);
        writeln!(out, "{name:<widest$}  {}", first_words(&counter.meaning, room))
    })
}

#[derive(Serialize)]
struct Document<'c> {
    schema: &'static str,
    counter: &'c str,
    class: &'static str,
    of: &'c [String],
    drops: Vec<Drops<'c>>,
    meaning: &'c str,
    causes: &'c [String],
    next: &'c [String],
}

#[derive(Serialize)]
struct Drops<'c> {
    reason: &'c str,
    at: &'c [String],
}

/// Writes one line of JSON.
pub fn write_counter_json(out: &mut impl Write, name: &str, counter: &Counter) -> io::Result<()> {
    let drops = counter.drops.iter().map(|drops| Drops { reason: &drops.reason, at: &drops.at });
    let document = Document {
        schema: "droptrace.explain-counter.v1",
        counter: name,
        class: counter.class.name(),
        of: &counter.of,
        drops: drops.collect(),
        meaning: &counter.meaning,
        causes: &counter.causes,
        next: &counter.next,
    };
    to_json(&mut *out, &document)?;
    out.write_all(b"\n")
}
