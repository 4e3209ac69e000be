//! `droptrace netlink families`: the families that this kernel has registered.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use super::table;
use crate::cli::args::{Format, ShowArgs};
use crate::domain::report::Host;
use crate::netlink::{Connection, Details, Group};
use crate::outside::to_json;
use crate::render::output::Output;
use crate::run::host;

pub(super) async fn run(args: &ShowArgs) -> Result<()> {
    let mut output = Output::open(args.results.file.output.as_deref())?;
    let families = Details::list(&mut Connection::open()?).await?;
    match args.results.format {
        Format::Text => write_text(&mut output, &families)?,
        Format::Json => write_json(&mut output, &host(), &families)?,
    }
    Ok(output.flush()?)
}

fn write_text(out: &mut impl Write, families: &[Details]) -> io::Result<()> {
    let headings = ["ID", "FAMILY", "VERSION", "HEADER", "ATTRIBUTES", "OPERATIONS", "GROUPS"].map(str::to_owned);
    let rows = families.iter().map(|details| {
        let family = &details.family;
        [
            family.id.to_string(),
            family.name.clone(),
            family.version.to_string(),
            details.header_size.to_string(),
            details.max_attribute.to_string(),
            details.operations.len().to_string(),
            groups(&family.groups),
        ]
    });
    let rows: Vec<_> = std::iter::once(headings).chain(rows).collect();
    table::write(out, 0, [true, false, true, true, true, true, false], &rows)
}

fn groups(groups: &[Group]) -> String {
    let groups: Vec<_> = groups.iter().map(|group| format!("{} ({})", group.name, group.id)).collect();
    if groups.is_empty() { "-".to_owned() } else { groups.join(", ") }
}

#[derive(Serialize)]
struct Document<'d> {
    schema: &'static str,
    host: &'d str,
    kernel: &'d str,
    families: Vec<FamilyJson<'d>>,
}

#[derive(Serialize)]
struct FamilyJson<'d> {
    id: u16,
    name: &'d str,
    version: u32,
    header_size: u32,
    max_attribute: u32,
    operations: usize,
    groups: Vec<GroupJson<'d>>,
}

/// A multicast group.
#[derive(Serialize)]
pub(super) struct GroupJson<'d> {
    name: &'d str,
    id: u32,
}

impl<'d> GroupJson<'d> {
    pub(super) fn all(groups: &'d [Group]) -> Vec<Self> {
        groups.iter().map(|group| Self { name: &group.name, id: group.id }).collect()
    }
}

fn write_json(out: &mut impl Write, host: &Host, families: &[Details]) -> io::Result<()> {
    let families = families.iter().map(|details| FamilyJson {
        id: details.family.id,
        name: &details.family.name,
        version: details.family.version,
        header_size: details.header_size,
        max_attribute: details.max_attribute,
        operations: details.operations.len(),
        groups: GroupJson::all(&details.family.groups),
    });
    let document = Document {
        schema: "droptrace.netlink_families.v1",
        host: &host.name,
        kernel: &host.kernel,
        families: families.collect(),
    };
    to_json(&mut *out, &document)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::netlink::family::tests::net_dm;
    use crate::netlink::Family;

    fn families() -> [Details; 2] {
        let bare = Family { name: "nasty\x1b[2J".into(), id: 17, version: 1, groups: vec![] };
        [net_dm(), Details { family: bare, header_size: 4, max_attribute: 7, operations: vec![] }]
    }

    #[test]
    fn a_row_for_each_family() {
        let mut out = Vec::new();
        write_text(&mut out, &families()).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_document_with_all_families() {
        let mut out = Vec::new();
        let host = Host { name: "lab-1".into(), kernel: "6.18.44".into() };
        write_json(&mut out, &host, &families()).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
