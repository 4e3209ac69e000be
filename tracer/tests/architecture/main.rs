//! The direction of dependencies: a module uses only modules that stand before it, also across the members, no two files of
//! a folder use each other in a circle, and `droptrace-fleet` needs no BPF. An item that a module imports or re-exports
//! counts as a dependency on the file that defines it.

mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use uses::{Module, imports, paths, resolve};

/// The members, by the first word of a [`Module`], and their sources.
const MEMBERS: [(&str, &str); 5] = [
    ("ebpf", "../tracer-ebpf/src"),
    ("base", "base/src"),
    ("fleet", "fleet/src"),
    ("bench", "bench/src"),
    ("tracer", "src"),
];

/// The modules of all members, lowest first: each uses only those before it.
const LAYERS: [&str; 80] = [
    "ebpf::config",
    "ebpf::log",
    "ebpf::maps",
    "ebpf::guard",
    "ebpf::memory",
    "ebpf::headers",
    "ebpf::skb",
    "ebpf::account",
    "ebpf::section",
    "ebpf::flow",
    "ebpf::filter",
    "ebpf::sampler",
    "ebpf::record",
    "ebpf::segment",
    "ebpf::namespace",
    "ebpf::probe",
    "base::testing",
    "base::domain",
    "base::outside",
    "base::hostile",
    "base::files",
    "base::explain",
    "base::render",
    "base::dimension",
    "base::filter",
    "base::advice",
    "base::snapshot",
    "base::command",
    "fleet::number",
    "fleet::names",
    "fleet::model",
    "fleet::finding",
    "fleet::analyse",
    "fleet::report",
    "fleet::sink",
    "fleet::merge",
    "fleet::prometheus",
    "fleet::collect",
    "fleet::watch",
    "fleet::cli",
    "fleet::hostile",
    "bench::cpus",
    "bench::folder",
    "bench::machine",
    "bench::programs",
    "bench::spread",
    "bench::sys",
    "bench::target",
    "bench::child",
    "bench::empty",
    "bench::netns",
    "bench::reported",
    "bench::unprivileged",
    "bench::counter",
    "bench::zipf",
    "bench::load",
    "bench::generator",
    "bench::plan",
    "bench::report",
    "bench::measure",
    "bench::table",
    "bench::words",
    "bench::html",
    "bench::text",
    "tracer::kernel",
    "tracer::netlink",
    "tracer::identity",
    "tracer::packet",
    "tracer::nftables",
    "tracer::backend",
    "tracer::pipeline",
    "tracer::sink",
    "tracer::explained",
    "tracer::run",
    "tracer::snapshot",
    "tracer::metrics",
    "tracer::doctor",
    "tracer::top",
    "tracer::cli",
    "tracer::hostile",
];

/// What only droptrace itself needs: packages that load BPF programs, and its own.
const FOR_BPF: [&str; 5] = ["aya", "aya-obj", "droptrace-bench", "tracer", "tracer-ebpf"];

/// The modules, and which others each one names.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn every_folder_stands_in_one_layer() {
    let found: BTreeSet<String> = graph().keys().map(layer).collect();
    let known = LAYERS.map(str::to_owned).into();
    assert_eq!(found, known, "the modules of the members, and those of LAYERS");
}

#[test]
fn dependencies_point_down() {
    let upward = upward(&graph());
    assert!(upward.is_empty(), "upward dependencies:\n{}", upward.join("\n"));
}

#[test]
fn an_upward_dependency_is_found() {
    let sources = sources();
    let imports = imports(&sources);
    let mut graph = graph();
    for (module, text) in
        [("base::domain::event", "use crate::render::time;"), ("tracer::sink", "use crate::run::Session;")]
    {
        let module: Module = module.split("::").map(str::to_owned).collect();
        let used = graph.entry(module.clone()).or_default();
        used.extend(paths(text).iter().filter_map(|path| resolve(path, &module, &imports)));
    }
    assert_eq!(upward(&graph), ["base::domain::event uses base::render::time", "tracer::sink uses tracer::run"]);
}

#[test]
fn droptrace_fleet_needs_no_bpf() {
    for package in ["droptrace-base", "droptrace-fleet"] {
        let needed = needed_by(package);
        let found: Vec<_> = FOR_BPF.into_iter().filter(|package| needed.contains(*package)).collect();
        assert!(found.is_empty(), "{package} needs {}", found.join(", "));
    }
    assert!(needed_by("tracer").contains("aya"));
}

#[test]
fn the_benchmark_does_not_need_the_program_that_it_measures() {
    let needed = needed_by("droptrace-bench");
    assert!(needed.contains("aya") && !needed.contains("tracer") && !needed.contains("tracer-ebpf"), "{needed:?}");
}

#[test]
fn files_of_a_folder_form_no_circle() {
    let graph = graph();
    let folders: BTreeSet<&[String]> = graph.keys().filter_map(|module| Some(module.split_last()?.1)).collect();
    let circles: Vec<_> = folders.into_iter().filter_map(|folder| circle(&siblings(&graph, folder))).collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

#[test]
fn circle_through_a_re_export_is_found() {
    let sources = [
        ("tracer::snapshot", "mod outside;\nmod take;\npub use take::{Facts as Known, take};\nuse outside::Row;"),
        ("tracer::snapshot::outside", "use super::Known;\npub struct Row;"),
        ("tracer::snapshot::take", "use super::Row;\npub struct Facts;"),
    ];
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let sources = sources.map(|(path, text)| (module(path), text.to_owned())).into();
    let found = circle(&siblings(&graph_of(&sources), &module("tracer::snapshot")));
    assert_eq!(found.as_deref(), Some("outside uses take; take uses outside"));
}

#[test]
fn paths_of_groups_are_found() {
    let text = "use crate::{domain::{event as e, facts}, sink};\nuse droptrace_base::files;\n\
        fn f() { super::rate::<u8>(crate::run::host()) }";
    let found: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    let of_the_member = ["crate::domain::event", "crate::domain::facts", "crate::sink", "crate::run::host"];
    assert_eq!(found, [&of_the_member[..], &["super::rate", "droptrace_base::files"]].concat());
}

/// Member and first module.
fn layer(module: &Module) -> String {
    module.iter().take(2).map(String::as_str).collect::<Vec<_>>().join("::")
}

/// What uses a module that stands after its own.
fn upward(graph: &Graph) -> Vec<String> {
    let height = |module: &Module| LAYERS.iter().position(|known| **known == layer(module));
    let mut upward = Vec::new();
    for (module, used) in graph {
        for target in used.iter().filter(|target| height(target) > height(module)) {
            upward.push(format!("{} uses {}", module.join("::"), target.join("::")));
        }
    }
    upward
}

/// All packages that a package of the workspace needs, also by way of others, as the lock file has them.
fn needed_by(package: &str) -> BTreeSet<String> {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let dependencies = |name: &str| {
        let packages =
            lock["package"].as_array().unwrap().iter().filter(|package| package["name"].as_str() == Some(name));
        let dependencies = packages.filter_map(|package| package.get("dependencies")?.as_array()).flatten();
        // Behind the name stands a version, where there are several.
        let names = dependencies.map(|dependency| dependency.as_str().unwrap().split(' ').next().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let (mut needed, mut left) = (BTreeSet::new(), dependencies(package));
    while let Some(next) = left.pop() {
        if needed.insert(next.clone()) {
            left.extend(dependencies(&next));
        }
    }
    needed
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

fn graph() -> Graph {
    graph_of(&sources())
}

fn graph_of(sources: &BTreeMap<Module, String>) -> Graph {
    let imports = imports(sources);
    let used = |(module, text): (&Module, &String)| {
        let used = paths(text).iter().filter_map(|path| resolve(path, module, &imports)).collect();
        (module.clone(), used)
    };
    sources.iter().map(used).collect()
}

/// Reads all members, tests left out.
fn sources() -> BTreeMap<Module, String> {
    let mut sources = BTreeMap::new();
    for (member, folder) in MEMBERS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        read(&root, &mut vec![member.to_owned()], &mut sources);
    }
    sources
}

fn read(folder: &Path, module: &mut Module, sources: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if name.ends_with("tests")
            || name == "samples"
            || name == "fake"
            || module.len() == 1 && matches!(&*name, "bin" | "lib" | "main")
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
