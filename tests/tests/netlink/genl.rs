//! Compares families and policies with the output of iproute2's program.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::trials::Unable;

use crate::{json, list, modules};

/// The output of iproute2's program, which has no machine-readable form of it.
fn genl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("genl").args(arguments).output().map_err(|error| Unable(format!("genl: {error}")))?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The words of genl's list, `0x10` as 16: the facts of a family, then its operations and groups.
fn families_of_genl() -> Result<Vec<String>> {
    let mut families: Vec<String> = Vec::new();
    for line in genl(&["ctrl", "list"])?.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("Name: ") {
            families.push(name.to_owned());
            continue;
        }
        let words: Vec<_> = line.split_whitespace().map(number).collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let reported = match words[..] {
            ["ID:", id, "Version:", version, "header", "size:", header, "max", "attribs:", max] => {
                format!(" {id} {version} {header} {max}")
            }
            [_, id, "name:", name] => format!(" group {name} {id}"),
            [_, id] if line.contains("ID-") => format!(" operation {id}"),
            ["Capabilities", flags] => format!(" {flags}"),
            _ => continue,
        };
        families.last_mut().context("no name before the facts of a family")?.push_str(&reported);
    }
    Ok(families)
}

/// `0x10`, `ID-0x10` and `(0x10):` as 16, anything else as it is.
fn number(word: &str) -> String {
    let bare = word.trim_start_matches("ID-").trim_start_matches('(').trim_end_matches("):");
    let number = bare.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.map_or_else(|| word.to_owned(), |number| number.to_string())
}

pub(crate) fn families_equal_those_of_genl() -> Result<()> {
    let _guard = modules::all();
    let reported = families_of_genl()?;
    ensure!(reported.iter().any(|family| family.starts_with("nlctrl 16 2 ")), "genl is not understood: {reported:?}");
    let mut found = Vec::new();
    for family in list(&json(&["families"])?, "families")? {
        let name = family["name"].as_str().context("no name")?;
        let details = json(&["family", name])?;
        for field in ["id", "version", "header_size", "max_attribute", "groups"] {
            ensure!(family[field] == details[field], "{name}: one list says {family}, the other {details}");
        }
        ensure!(family["operations"] == list(&details, "operations")?.len(), "{name}: operations");
        found.push(in_form_of_genl(&details)?);
    }
    ensure!(found == reported, "droptrace {found:#?}\ngenl {reported:#?}");
    Ok(())
}

fn in_form_of_genl(family: &Value) -> Result<String> {
    let name = |value: &Value| value["name"].as_str().map(str::to_owned).context("no name");
    let mut words = vec![name(family)?];
    words.extend(["id", "version", "header_size", "max_attribute"].map(|field| family[field].to_string()));
    for operation in list(family, "operations")? {
        words.push(format!("operation {}", operation["number"]));
        // It takes the family's version for the controller's, and the first one's had no flags.
        if family["version"].as_u64() > Some(1) {
            let bits = [("admin", 1), ("do", 2), ("dump", 4), ("has_policy", 8), ("namespace_admin", 16)];
            let set = bits.iter().filter(|(name, _)| operation[name] == true);
            words.push(set.map(|(_, bit)| bit).sum::<u32>().to_string());
        }
    }
    for group in list(family, "groups")? {
        words.push(format!("group {} {}", name(group)?, group["id"]));
    }
    Ok(words.join(" "))
}

/// Facts about operations and attributes, by their names; those of operations that genl calls 0, in its order.
type Reported = BTreeMap<String, Vec<String>>;

/// Lines as `ID: 0x10  op 3 policies: do=0 dump=0` and `ID: 0x10  policy[0]:attr[1]: type=U16 range:[0,65535]`.
fn policies_of_genl(id: &str) -> Result<Reported> {
    let mut reported = Reported::new();
    for line in genl(&["ctrl", "policy", "id", id])?.lines() {
        let line = line.trim().split_once("  ").with_context(|| format!("genl says {line:?}"))?.1;
        let (what, rest) = line.split_once(": ").with_context(|| format!("genl says {line:?}"))?;
        reported.entry(what.to_owned()).or_default().push(rest.trim().to_owned());
    }
    Ok(reported)
}

pub(crate) fn policies_equal_those_of_genl() -> Result<()> {
    let _guard = modules::all();
    let mut compared = 0;
    for family in list(&json(&["families"])?, "families")? {
        let name = family["name"].as_str().context("no name")?;
        let reported = policies_of_genl(&family["id"].to_string())?;
        let found = policies_in_genls_words(&json(&["family", name])?, reported.contains_key("op 0 policies"))?;
        ensure!(reported.keys().eq(found.keys()), "{name}: droptrace {:?}\ngenl {:?}", found.keys(), reported.keys());
        for (what, reported) in &reported {
            let found = &found[what];
            let same = reported.len() == found.len()
                && reported.iter().zip(found).all(|(reported, found)| is_same(reported, found));
            ensure!(same, "{name}, {what}: droptrace {found:?}, genl {reported:?}");
        }
        compared += reported.len();
    }
    ensure!(compared > 4, "genl shows {compared} policies only");
    Ok(())
}

/// genl does not know the names of types that are younger than itself.
fn is_same(reported: &str, found: &str) -> bool {
    match (reported.strip_prefix("type=unknown"), found.split_once(' ')) {
        (None, _) => reported == found,
        (Some(rest), found) => rest.trim() == found.map_or("", |(_, rest)| rest),
    }
}

/// genl shows the kernel's answer, which calls operations that only list 0 since 6.2.
fn policies_in_genls_words(family: &Value, has_unnumbered: bool) -> Result<Reported> {
    let mut found = Reported::new();
    for operation in list(family, "operations")? {
        let ways = [("do", &operation["do_policy"]), ("dump", &operation["dump_policy"])];
        let reported = ways.iter().filter(|(_, root)| !root.is_null()).map(|(way, root)| format!("{way}={root}"));
        let reported: Vec<_> = reported.collect();
        let number = if has_unnumbered && operation["do"] == false { &Value::from(0) } else { &operation["number"] };
        if !reported.is_empty() {
            found.entry(format!("op {number} policies")).or_default().push(reported.join(" "));
        }
    }
    for policy in list(family, "policies")? {
        for attribute in list(policy, "attributes")? {
            let what = format!("policy[{}]:attr[{}]", policy["index"], attribute["number"]);
            found.entry(what).or_default().push(attribute_in_genls_words(attribute)?);
        }
    }
    Ok(found)
}

fn attribute_in_genls_words(attribute: &Value) -> Result<String> {
    let kind = attribute["type"].as_str().context("no type")?;
    let mut words = vec![format!("type={}", kind.to_uppercase().replace('-', "_"))];
    if let (Some(least), Some(most)) = (attribute["min"].as_str(), attribute["max"].as_str()) {
        words.push(format!("range:[{least},{most}]"));
    }
    let others =
        [("min_length", "min len"), ("max_length", "max len"), ("policy", "policy"), ("max_attribute", "maxattr")];
    words.extend(others.iter().filter_map(|(field, word)| Some(format!("{word}:{}", attribute[field].as_u64()?))));
    Ok(words.join(" "))
}
