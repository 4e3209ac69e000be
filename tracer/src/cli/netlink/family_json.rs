//! Shows a family as JSON (`droptrace.netlink_family.v1`).

use std::io::{self, Write};

use serde::Serialize;

use super::families::GroupJson;
use crate::domain::report::Host;
use crate::netlink::{AttributePolicy, Details, Operation, Policies, Roots, names};
use crate::outside::to_json;

#[derive(Serialize)]
struct Document<'d> {
    schema: &'static str,
    host: &'d str,
    kernel: &'d str,
    id: u16,
    name: &'d str,
    version: u32,
    header_size: u32,
    max_attribute: u32,
    operations: Vec<OperationJson>,
    groups: Vec<GroupJson<'d>>,
    policies: Option<Vec<PolicyJson>>,
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the document's fields")]
struct OperationJson {
    number: u32,
    name: Option<&'static str>,
    r#do: bool,
    dump: bool,
    admin: bool,
    namespace_admin: bool,
    has_policy: bool,
    do_policy: Option<u32>,
    dump_policy: Option<u32>,
}

#[derive(Serialize)]
struct PolicyJson {
    index: u32,
    attributes: Vec<AttributeJson>,
}

#[derive(Serialize)]
struct AttributeJson {
    number: u16,
    name: Option<&'static str>,
    r#type: String,
    min: Option<String>,
    max: Option<String>,
    min_length: Option<u32>,
    max_length: Option<u32>,
    mask: Option<String>,
    policy: Option<u32>,
    max_attribute: Option<u32>,
}

/// Writes one line of JSON. Each policy appears once, and policies refer to each other by index.
pub(super) fn write(
    out: &mut impl Write,
    host: &Host,
    details: &Details,
    policies: Option<&Policies>,
) -> io::Result<()> {
    let family = &details.family;
    let roots = |operation| policies.map(|policies| policies.roots(operation)).unwrap_or_default();
    let operations: Vec<_> = details.operations.iter().map(|it| operation(&family.name, *it, roots(*it))).collect();
    let is_root = |index| operations.iter().any(|it| it.do_policy == Some(index) || it.dump_policy == Some(index));
    let policies = policies.map(|policies| {
        let policies = policies.iter().map(|(index, policy)| {
            // These are the names of the family's own attributes. Nested attributes have no names.
            let name = |number| names::attribute(&family.name, number).filter(|_| is_root(index));
            let attributes = policy.iter().map(|(number, limits)| attribute(*number, name(*number), limits));
            PolicyJson { index, attributes: attributes.collect() }
        });
        policies.collect()
    });
    let document = Document {
        schema: "droptrace.netlink_family.v1",
        host: &host.name,
        kernel: &host.kernel,
        id: family.id,
        name: &family.name,
        version: family.version,
        header_size: details.header_size,
        max_attribute: details.max_attribute,
        operations,
        groups: GroupJson::all(&family.groups),
        policies,
    };
    to_json(&mut *out, &document)?;
    out.write_all(b"\n")
}

fn operation(family: &str, described: Operation, roots: Roots) -> OperationJson {
    OperationJson {
        number: described.number,
        name: names::command(family, described.number),
        r#do: described.does(),
        dump: described.dumps(),
        admin: described.needs_admin(),
        namespace_admin: described.needs_namespace_admin(),
        has_policy: described.has_policy(),
        do_policy: roots.does,
        dump_policy: roots.dumps,
    }
}

fn attribute(number: u16, name: Option<&'static str>, limits: &AttributePolicy) -> AttributeJson {
    AttributeJson {
        number,
        name,
        r#type: limits.type_name().map_or_else(|| limits.kind.to_string(), str::to_owned),
        min: limits.minimum.map(|value| value.to_string()),
        max: limits.maximum.map(|value| value.to_string()),
        min_length: limits.minimum_length,
        max_length: limits.maximum_length,
        mask: limits.mask.map(|mask| format!("{mask:#x}")),
        policy: limits.nested,
        max_attribute: limits.nested_maximum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::netlink::family::tests::net_dm;
    use crate::netlink::nested_policies;

    #[test]
    fn a_family_in_full() {
        let mut out = Vec::new();
        let host = Host { name: "lab-1".into(), kernel: "6.18.44".into() };
        write(&mut out, &host, &net_dm(), Some(&nested_policies())).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
