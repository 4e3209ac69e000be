//! Explanations of counters as text.

use std::io::{self, Write};

use super::{Class, Counter};
use crate::explain::wrap::wrapped;

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

/// Writes the explanation of a counter before its causes.
pub(in crate::explain) fn write_counter(
    out: &mut impl Write,
    name: &str,
    counter: &Counter,
    width: usize,
) -> io::Result<()> {
    writeln!(out, "{name} (kernel counter, {})", counter.class.name())?;
    wrapped(out, &format!("It counts {}.", counter.meaning), width, "")?;
    wrapped(out, sentence(counter.class), width, "")?;
    if !counter.of.is_empty() {
        writeln!(out, "\nPart or sum of\n  {}", counter.of.join(", "))?;
    }
    if !counter.drops.is_empty() {
        writeln!(out, "\nDrops that raise it")?;
    }
    counter.drops.iter().try_for_each(|drops| {
        let at = if drops.at.is_empty() { "any function".to_owned() } else { format!("*{}*", drops.at.join("*, *")) };
        wrapped(out, &format!("{} at {at}", drops.reason), width, "  ")
    })
}
