//! `droptrace netlink family NAME`: the operations of a family, and the limits of its attributes.

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, Write};

use anyhow::{Result, bail};

use super::{family_json, table};
use crate::cli::args::{FamilyArgs, Format};
use crate::netlink::absence::{self, Surroundings};
use crate::netlink::{AttributePolicy, Connection, Details, Error, Operation, Policies, Step, names};
use crate::outside::printable;
use crate::render::output::Output;
use crate::run::host;

/// Shows the family. If the family is absent, the error explains why.
pub(super) async fn run(args: &FamilyArgs) -> Result<()> {
    let mut output = Output::open(args.show.results.file.output.as_deref())?;
    let host = host();
    let mut connection = Connection::open()?;
    let details = match Details::resolve(&mut connection, &args.name).await {
        Err(Error::NoFamily { name }) => bail!(absence::explain(&name, &Surroundings::look(&name, &host.kernel))),
        details => details?,
    };
    let policies = Policies::of(&mut connection, &details).await?;
    match args.show.results.format {
        Format::Text => write_text(&mut output, &details, policies.as_ref())?,
        Format::Json => family_json::write(&mut output, &host, &details, policies.as_ref())?,
    }
    Ok(output.flush()?)
}

fn write_text(out: &mut impl Write, details: &Details, policies: Option<&Policies>) -> io::Result<()> {
    let family = &details.family;
    write!(out, "{}: id {}, version {}", printable(&family.name), family.id, family.version)?;
    writeln!(out, ", header of {} bytes, attributes up to {}", details.header_size, details.max_attribute)?;
    let groups = family.groups.iter().map(|group| [group.id.to_string(), group.name.clone()]);
    section(out, "multicast groups", ["ID", "NAME"], [true, false], groups.collect())?;
    let operations = details.operations.iter().map(|operation| row(&family.name, *operation));
    let headings = ["NUMBER", "NAME", "CAN", "NEEDS", "POLICY"];
    section(out, "operations", headings, [true, false, false, false, false], operations.collect())?;
    match policies {
        Some(policies) => write_policies(out, details, policies),
        None => writeln!(out, "\npolicies: this kernel does not report them (5.7 and later do)"),
    }
}

fn section<const N: usize>(
    out: &mut impl Write,
    title: &str,
    headings: [&str; N],
    right: [bool; N],
    mut rows: Vec<[String; N]>,
) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "\n{title}: none");
    }
    writeln!(out, "\n{title}")?;
    rows.insert(0, headings.map(str::to_owned));
    table::write(out, 2, right, &rows)
}

fn row(family: &str, operation: Operation) -> [String; 5] {
    let can = [(operation.does(), "do"), (operation.dumps(), "dump")];
    let needs = [
        (operation.needs_admin(), "CAP_NET_ADMIN"),
        (operation.needs_namespace_admin(), "CAP_NET_ADMIN of the namespace"),
    ];
    [
        operation.number.to_string(),
        names::command(family, operation.number).unwrap_or("-").to_owned(),
        listed(&can),
        listed(&needs),
        if operation.has_policy() { "yes" } else { "-" }.to_owned(),
    ]
}

fn listed(words: &[(bool, &str)]) -> String {
    let words: Vec<_> = words.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

/// Writes each tree once, below all operations that use it.
fn write_policies(out: &mut impl Write, details: &Details, policies: &Policies) -> io::Result<()> {
    let mut trees: Vec<(u32, Vec<String>)> = Vec::new();
    for operation in &details.operations {
        for (root, way) in ways(policies, *operation) {
            let name = names::command(&details.family.name, operation.number);
            let name = name.map(|name| format!(" {name}")).unwrap_or_default();
            let used = format!("{}{name} {way}", operation.number);
            match trees.iter_mut().find(|(index, _)| *index == root) {
                Some((_, users)) => users.push(used),
                None => trees.push((root, vec![used])),
            }
        }
    }
    if trees.is_empty() {
        return writeln!(out, "\npolicies: none");
    }
    writeln!(out, "\npolicies")?;
    for (root, users) in trees {
        writeln!(out, "  policy {root}, of {}", users.join("; "))?;
        tree(policies, root, &details.family.name)
            .iter()
            .try_for_each(|line| writeln!(out, "  {}", printable(line)))?;
    }
    Ok(())
}

/// The policies of an operation, with the kinds of requests that use them.
fn ways(policies: &Policies, operation: Operation) -> Vec<(u32, &'static str)> {
    let roots = policies.roots(operation);
    match (roots.does, roots.dumps) {
        (Some(does), Some(dumps)) if does == dumps => vec![(does, "do, dump")],
        (does, dumps) => does.map(|root| (root, "do")).into_iter().chain(dumps.map(|root| (root, "dump"))).collect(),
    }
}

/// The lines of a policy, drawn as a tree.
fn tree(policies: &Policies, root: u32, family: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let Ok(()) = policies.walk(root, |step| -> Result<(), Infallible> {
        lines.push(match step {
            Step::Attribute(depth, number, attribute) => {
                let name = names::attribute(family, number).filter(|_| depth == 0).unwrap_or_default();
                let space = if name.is_empty() { "" } else { " " };
                (depth, format!("{number}{space}{name}: {}", describe(attribute)))
            }
            Step::Elsewhere(depth, index) => (depth, format!("… policy {index}")),
        });
        Ok(())
    });
    if lines.is_empty() { vec!["└─ no attribute".to_owned()] } else { draw(&lines) }
}

/// Draws lines as a tree by their depths. Each line is at most one level deeper than the line before.
fn draw(lines: &[(usize, String)]) -> Vec<String> {
    let mut has_next: Vec<bool> = Vec::new();
    let mut drawn = Vec::with_capacity(lines.len());
    for (depth, text) in lines.iter().rev() {
        has_next.resize(depth + 1, false);
        let trunk = has_next[..*depth].iter().map(|has_next| if *has_next { "│  " } else { "   " });
        let branch = if has_next[*depth] { "├─ " } else { "└─ " };
        drawn.push(trunk.collect::<String>() + branch + text);
        has_next[*depth] = true;
    }
    drawn.reverse();
    drawn
}

/// The type and the limits of an attribute. Limits that follow from the type are left out.
fn describe(attribute: &AttributePolicy) -> String {
    let kind = attribute.type_name().map_or_else(|| format!("type {}", attribute.kind), str::to_owned);
    let values = (attribute.minimum, attribute.maximum);
    let values = if is_whole_range(attribute.kind, values) { None } else { bounds(values.0, values.1, "") };
    let parts = [
        Some(kind),
        values,
        bounds(attribute.minimum_length, attribute.maximum_length, " bytes"),
        attribute.mask.map(|mask| format!("bits {mask:#x}")),
        attribute.nested.map(|index| format!("policy {index}")),
        attribute.nested_maximum.map(|maximum| format!("attributes up to {maximum}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn bounds<T: PartialEq + Display>(least: Option<T>, most: Option<T>, unit: &str) -> Option<String> {
    match (least, most) {
        (Some(least), Some(most)) if least == most => Some(format!("{least}{unit}")),
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (None, None) => None,
    }
}

/// Returns whether the limits include all values of the type. The kernel reports limits for all numbers, also for
/// unlimited ones.
fn is_whole_range(kind: u32, values: (Option<i128>, Option<i128>)) -> bool {
    let unsigned = |bits: u32| (Some(0), Some((1_i128 << bits) - 1));
    let signed = |bits: u32| (Some(-(1_i128 << (bits - 1))), Some((1_i128 << (bits - 1)) - 1));
    values
        == match kind {
            2..=5 => unsigned(8 << (kind - 2)),
            6..=9 => signed(8 << (kind - 6)),
            16 => signed(64),
            17 => unsigned(64),
            _ => (None, None),
        }
}

#[cfg(test)]
pub(super) mod tests;
