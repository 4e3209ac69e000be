//! The direction of dependencies: a folder uses only what stands before it, and no two files of a folder use each other in
//! a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules of the library, lowest first: each uses only those before it.
const LAYERS: [&str; 20] = [
    "domain", "outside", "files", "kernel", "identity", "netlink", "packet", "explain", "backend", "pipeline",
    "render", "sink", "run", "snapshot", "metrics", "bench", "doctor", "cli", "fleet", "hostile",
];

/// A module's path within the library, such as `["backend", "ebpf", "ring"]`.
type Module = Vec<String>;

/// The modules, and which others each one names.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn every_folder_stands_in_one_layer() {
    let found: BTreeSet<String> = graph().into_keys().filter_map(|module| module.into_iter().next()).collect();
    let known = LAYERS.map(str::to_owned).into();
    assert_eq!(found, known, "the modules of the library, and those of LAYERS");
}

#[test]
fn dependencies_point_down() {
    let layer = |module: &Module| LAYERS.iter().position(|known| Some(*known) == module.first().map(String::as_str));
    let mut upward = Vec::new();
    for (module, used) in graph() {
        for target in used.iter().filter(|target| layer(target) > layer(&module)) {
            upward.push(format!("{} uses {}", module.join("::"), target.join("::")));
        }
    }
    assert!(upward.is_empty(), "upward dependencies:\n{}", upward.join("\n"));
}

#[test]
fn files_of_a_folder_form_no_circle() {
    let graph = graph();
    let folders: BTreeSet<&[String]> = graph.keys().filter_map(|module| Some(module.split_last()?.1)).collect();
    let circles: Vec<_> = folders.into_iter().filter_map(|folder| circle(&siblings(&graph, folder))).collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

#[test]
fn paths_of_groups_are_found() {
    let text = "use crate::{domain::{event as e, facts}, sink};\nfn f() { super::rate::<u8>(crate::run::host()) }";
    let found: Vec<String> = paths(text).into_iter().map(|path| path.join("::")).collect();
    let expected = ["crate::domain::event", "crate::domain::facts", "crate::sink", "crate::run::host", "super::rate"];
    assert_eq!(found, expected);
}

/// The children of a folder, and which of the others each one uses, all that is below it included.
fn siblings(graph: &Graph, folder: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let child = |module: &Module| module.strip_prefix(folder).and_then(|rest| rest.first()).cloned();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, used) in graph {
        let Some(from) = child(module) else { continue };
        let targets = used.iter().filter_map(child).filter(|to| *to != from);
        edges.entry(from.clone()).or_default().extend(targets);
    }
    edges
}

/// What is left when all that uses nothing of the rest is taken away, again and again: a circle and what leads to it.
fn circle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let mut left = edges.clone();
    loop {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, used)| used.iter().all(|to| !left.contains_key(to)))
            .map(|(from, _)| from.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        left.retain(|from, _| !free.contains(from));
    }
    let describe = |(from, used): (&String, &BTreeSet<String>)| {
        let used: Vec<&str> = used.iter().filter(|to| left.contains_key(*to)).map(String::as_str).collect();
        format!("{from} uses {}", used.join(", "))
    };
    (!left.is_empty()).then(|| left.iter().map(describe).collect::<Vec<_>>().join("; "))
}

/// Reads the library, tests left out.
fn graph() -> Graph {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    read(&root, &mut Vec::new(), &mut sources);
    let modules: BTreeSet<Module> = sources.keys().cloned().collect();
    let used = |(module, text): (Module, String)| {
        let used = paths(&text).iter().filter_map(|path| resolve(path, &module, &modules)).collect();
        (module, used)
    };
    sources.into_iter().map(used).collect()
}

fn read(folder: &Path, module: &mut Module, sources: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if name.ends_with("tests")
            || name == "samples"
            || name == "fake"
            || module.is_empty() && matches!(&*name, "bin" | "lib")
        {
            continue;
        }
        if path.is_dir() {
            module.push(name);
            read(&path, module, sources);
            module.pop();
        } else if is_rust {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            let own = if name == "mod" { None } else { Some(name) };
            sources.insert(module.iter().cloned().chain(own).collect(), code);
        }
    }
}

/// All paths in a text that start at the library's root or at the module above, those of `use` with their braces opened.
fn paths(text: &str) -> Vec<Vec<String>> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let is_start = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if is_start {
                open(&code[at..], &mut Vec::new(), &mut found);
            }
        }
    }
    found
}

/// Reads one path, or the paths of a group, and returns what follows.
fn open<'t>(text: &'t str, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'t str {
    let depth = before.len();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            rest = group;
            while !rest.trim_start().starts_with('}') {
                rest = open(rest, before, found).trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest);
                if rest.is_empty() {
                    break;
                }
            }
            rest = rest.trim_start().strip_prefix('}').unwrap_or(rest);
            break;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        before.push(rest[..end].to_owned());
        rest = &rest[end..];
        let Some(more) = rest.strip_prefix("::").filter(|more| !more.starts_with('<')) else {
            found.push(before.clone());
            // A renamed import, or something that is no path.
            rest = rest.find([',', '}', ';']).map_or("", |at| &rest[at..]);
            break;
        };
        rest = more;
    }
    before.truncate(depth);
    rest
}

/// The deepest module that a path within `module` names; none where it is the module's own or one above it.
fn resolve(path: &[String], module: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut at = if path.first()? == "crate" { Vec::new() } else { module.clone() };
    for part in path.iter().skip(usize::from(path.first()? == "crate")) {
        if part == "super" {
            at.pop()?;
        } else {
            at.push(part.clone());
        }
    }
    while !at.is_empty() && !modules.contains(&at) {
        at.pop();
    }
    (!at.is_empty() && !module.starts_with(&at)).then_some(at)
}
