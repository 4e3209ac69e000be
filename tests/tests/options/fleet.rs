//! The analysis and the output of `droptrace-fleet merge`, with snapshots that differ.

use std::fs;

use anyhow::{Context, Result, ensure};
use droptrace_base::snapshot::{self, Snapshot};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::droptrace::{Droptrace, Finished, fleet_command};
use tests::fleet::{Day, World};
use tests::folder::Folder;
use tests::trials::trial;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("a_fleet_is_shown_as_asked", a_fleet_is_shown_as_asked),
        trial("bounds_of_findings_count", bounds_of_findings_count),
        trial("what_is_new_needs_a_baseline", what_is_new_needs_a_baseline),
        trial("reasons_are_explained_as_asked", reasons_are_explained_as_asked),
    ]
}

/// A fleet that has all kinds of findings.
struct Scene {
    folder: Folder,
    now: String,
    before: String,
}

impl Scene {
    fn new() -> Result<Self> {
        let (folder, world) = (Folder::new("options")?, World::new(120, 40, 7)?);
        let (now, before) = (folder.path("now"), folder.path("before"));
        world.write(now.as_ref(), Day::Now, "")?;
        world.write(before.as_ref(), Day::Before, "")?;
        Ok(Self { folder, now, before })
    }

    fn run(&self, options: &[&str]) -> Result<Finished> {
        let line = [&["merge", self.now.as_str()], options].concat();
        let finished = Droptrace::spawn(&mut fleet_command(&line)?)?.wait()?;
        ensure!(matches!(finished.status.code(), Some(0 | 3)), "{options:?}: {finished:?}");
        Ok(finished)
    }

    fn document(&self, options: &[&str]) -> Result<Value> {
        let line = [options, &["--format", "json", "--baseline", &self.before]].concat();
        Ok(serde_json::from_str(&self.run(&line)?.stdout)?)
    }

    /// How many findings of a kind there are.
    fn count(&self, kind: &str, options: &[&str]) -> Result<usize> {
        let document = self.document(options)?;
        let findings = document["findings"].as_array().context("no findings")?;
        Ok(findings.iter().filter(|finding| finding["kind"] == kind).count())
    }
}

/// `--format`, `--output`, `--html`, `--color`, `--top` and `--named` of `merge`.
fn a_fleet_is_shown_as_asked() -> Result<()> {
    let scene = Scene::new()?;
    results_are_shown_as_asked(|options| scene.run(options), |options| scene.document(options))
}

/// The options that say how results are shown, of `merge` and of `diagnose`. `run` runs the command with options,
/// `document` gives its results as JSON.
pub(super) fn results_are_shown_as_asked(
    run: impl Fn(&[&str]) -> Result<Finished>,
    document: impl Fn(&[&str]) -> Result<Value>,
) -> Result<()> {
    let folder = Folder::new("shown")?;
    let (page, out) = (folder.path("page.html"), folder.path("out"));
    let usual = run(&[])?.stdout;
    ensure!(run(&["--format", "json"])?.stdout.starts_with('{') && !usual.starts_with('{'), "one form");
    ensure!(run(&["--output", &out, "--html", &page])?.stdout.is_empty(), "results are on stdout");
    ensure!(fs::read_to_string(out)? == usual && fs::read_to_string(page)?.contains("<svg"), "other results");
    let colored = run(&["--color", "always"])?.stdout;
    ensure!(colored.contains('\x1b') && !run(&["--color", "never"])?.stdout.contains('\x1b'), "{colored}");
    let top = run(&["--top", "1"])?.stdout;
    ensure!(top.contains("more reasons") && top.lines().count() < usual.lines().count(), "{top}");
    let named = |most| -> Result<usize> {
        let document = document(&["--named", most])?;
        let findings = document["findings"].as_array().context("no findings")?;
        let lengths = findings.iter().filter_map(|finding| Some(finding["hosts"]["named"].as_array()?.len()));
        Ok(lengths.max().unwrap_or_default())
    };
    let (one, all) = (named("1")?, named("1000")?);
    ensure!(one == 1 && all > 1, "{one} and {all} hosts are named");
    Ok(())
}

/// `--by`, `--false-discoveries`, `--min-times`, `--min-host-packets`, `--growth`, `--min-packets`, `--min-hosts` and
/// `--storm-rate` of `merge`.
fn bounds_of_findings_count() -> Result<()> {
    let scene = Scene::new()?;
    let differ = |kind: &str, less: &[&str], more: &[&str]| -> Result<()> {
        let (few, many) = (scene.count(kind, less)?, scene.count(kind, more)?);
        ensure!(few < many, "{few} of {kind} with {less:?}, {many} with {more:?}");
        Ok(())
    };
    differ("outlier", &["--false-discoveries", "1e-307"], &["--false-discoveries", "0.5"])?;
    differ("outlier", &["--min-times", "1e15"], &["--min-times", "1"])?;
    differ("grown", &["--growth", "1e9"], &["--growth", "1.1"])?;
    differ("outlier", &["--min-host-packets", "1e15"], &["--min-host-packets", "1"])?;
    differ("unhealthy", &["--min-packets", "1e15"], &["--min-packets", "1"])?;
    differ("outlier", &["--min-hosts", "1000"], &["--min-hosts", "3"])?;
    differ("storm", &["--storm-rate", "1e12"], &["--storm-rate", "100"])?;
    let (one, other) = (scene.folder.join("racks/one"), scene.folder.join("racks/other"));
    fs::create_dir_all(&one)?;
    fs::create_dir_all(&other)?;
    let world = World::new(60, 10, 5)?;
    for (number, snapshot) in (0..60).filter_map(|host| world.snapshot(host, Day::Before)).enumerate() {
        let folder = if number % 2 == 0 { &one } else { &other };
        let mut bytes = Vec::new();
        snapshot::write(&mut bytes, &in_rack(snapshot, number % 2 == 0))?;
        fs::write(folder.join(format!("{number}.json")), bytes)?;
    }
    let racks = Scene { now: scene.folder.path("racks"), ..scene };
    let (few, many) = (racks.count("group", &["--by", "nothing"])?, racks.count("group", &["--by", "folder"])?);
    ensure!(few < many, "{few} groups by nothing, {many} by folder");
    Ok(())
}

/// A host that differs from all others only by its drops.
fn in_rack(mut snapshot: Snapshot, has_many: bool) -> Snapshot {
    snapshot.kernel = "6.18.44".into();
    let factor = if has_many { 100 } else { 1 };
    for row in &mut snapshot.drops {
        row.packets *= factor;
    }
    snapshot.sources[0].ledger.accounted *= factor;
    snapshot
}

/// `--baseline` of `merge`.
fn what_is_new_needs_a_baseline() -> Result<()> {
    let scene = Scene::new()?;
    let alone: Value = serde_json::from_str(&scene.run(&["--format", "json"])?.stdout)?;
    let compared: Value = serde_json::from_str(&scene.run(&["--format", "json", "--baseline", &scene.before])?.stdout)?;
    ensure!(alone["baseline"].is_null() && compared["baseline"]["hosts"] == 120, "{}", compared["baseline"]);
    Ok(())
}

/// `--format` and `--output` of `explain`.
fn reasons_are_explained_as_asked() -> Result<()> {
    let folder = Folder::new("explained")?;
    let path = folder.path("out");
    let explain = |options: &[&str]| {
        Droptrace::spawn(&mut fleet_command(&[&["explain", "NO_SOCKET"], options].concat())?)?.wait()
    };
    let (text, json) = (explain(&[])?.stdout, explain(&["--format", "json"])?.stdout);
    ensure!(!text.starts_with('{') && json.starts_with('{'), "{text} {json}");
    let to_file = explain(&["--output", &path])?;
    ensure!(to_file.stdout.is_empty() && fs::read_to_string(path)? == text, "{to_file:?}");
    Ok(())
}
