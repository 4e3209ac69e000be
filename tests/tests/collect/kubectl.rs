//! Pods behind a stand-in for kubectl: a script that answers `get pods` and `exec` as kubectl does, from files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::droptrace::{Droptrace, Finished, fleet_command};
use tests::fleet::{Day, World};
use tests::folder::Folder;
use tests::trials::trial;

use super::{document, failed};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("pods_are_selected_and_asked", pods_are_selected_and_asked),
        trial("pods_that_fail_are_reported", pods_that_fail_are_reported),
        trial("a_collection_is_shown_as_asked", a_collection_is_shown_as_asked),
        trial("bounds_count_for_collections_too", bounds_count_for_collections_too),
        trial("more_is_said_of_hosts", more_is_said_of_hosts),
    ]
}

/// Writes down how it is called. A pod is called as its file is.
const KUBECTL: &str = r#"#!/bin/sh
cd "${0%/*}"
printf '%s\n' "$*" >> calls
while [ "${1#--}" != "$1" ]; do shift; done
case $1 in
get) if [ -e list ]; then cat list; else for file in *.json; do echo "${file%.json} node-${file%.json}"; done; fi;;
exec) echo "this is $4" >&2; exec cat "$4.json";;
esac
"#;

struct Cluster(Folder);

impl Cluster {
    /// A node for each host of an invented fleet, but for the second, which is silent.
    fn new(hosts: usize, rows: usize) -> Result<Self> {
        let folder = Folder::new("kubectl")?;
        World::new(hosts, rows, 7)?.write(folder.as_ref(), Day::Now, "")?;
        let kubectl = folder.write("kubectl", KUBECTL)?;
        fs::set_permissions(kubectl, Permissions::from_mode(0o755))?;
        Ok(Self(folder))
    }

    fn run(&self, options: &[&str]) -> Result<Finished> {
        let mut command = fleet_command(&[&["collect", "--kubectl"], options].concat())?;
        command.env("PATH", format!("{}:/usr/bin:/bin", self.0.path("")));
        Droptrace::spawn(&mut command)?.wait()
    }

    fn document(&self, options: &[&str]) -> Result<Value> {
        let finished = self.run(&[options, &["--format", "json"]].concat())?;
        ensure!(matches!(finished.status.code(), Some(0 | 3)), "{options:?}: {finished:?}");
        document(&finished, finished.status.code().unwrap_or_default())
    }

    /// How kubectl was called, each call on a line, in order.
    fn calls(&self) -> Result<Vec<String>> {
        let calls = fs::read_to_string(self.0.join("calls"))?;
        fs::remove_file(self.0.join("calls"))?;
        let mut calls: Vec<_> = calls.lines().map(str::to_owned).collect();
        calls.sort_unstable();
        Ok(calls)
    }
}

/// `--kubectl`, `--namespace`, `--selector`, `--container` and `--kubectl-option` of `collect`.
fn pods_are_selected_and_asked() -> Result<()> {
    let cluster = Cluster::new(3, 5)?;
    let collected = cluster.document(&[])?;
    ensure!(collected["input"]["read"] == 2 && collected["fleet"]["hosts"] == 2, "{collected:#}");
    let calls = cluster.calls()?;
    let exec = "exec --namespace droptrace host-00002 --container agent -- /droptrace snapshot --duration 10s";
    ensure!(calls.len() == 3 && calls[1] == exec, "{calls:?}");
    let get = "get pods --namespace droptrace --selector app.kubernetes.io/name=droptrace \
               --field-selector=status.phase=Running --output jsonpath=";
    ensure!(calls[2].starts_with(get), "{calls:?}");
    let out = cluster.0.path("out");
    let selected = ["--namespace", "net", "--selector", "app=x", "--container", "c", "--kubectl-option=--context=prod"];
    cluster.document(&[&selected[..], &["--droptrace", "/bin/d", "--out", &out]].concat())?;
    let calls = cluster.calls()?;
    let exec = "--context=prod exec --namespace net host-00000 --container c -- /bin/d snapshot --duration 10s";
    ensure!(calls[0] == exec, "{calls:?}");
    ensure!(calls[2].starts_with("--context=prod get pods --namespace net --selector app=x "), "{calls:?}");
    ensure!(fs::exists(cluster.0.join("out/node-host-00002:host-00002.json"))?, "no file is called by node and pod");
    Ok(())
}

fn pods_that_fail_are_reported() -> Result<()> {
    let cluster = Cluster::new(3, 5)?;
    cluster.0.write("list", "host-00002 node-1\ngone node-2\n")?;
    let finished = cluster.run(&["--format", "json"])?;
    let collected = document(&finished, 4)?;
    ensure!(collected["input"]["read"] == 1, "{collected:#}");
    let why = "node-2:gone: this is gone; cat: gone.json: No such file or directory (exit status 1)";
    ensure!(finished.stderr.contains(why), "{}", finished.stderr);
    for (list, words) in [
        ("", "no pod runs in the namespace droptrace"),
        ("--kubeconfig=x node\n", "kubectl's list of pods has the line \"--kubeconfig=x node\""),
        ("../../x node\n", "kubectl's list of pods has the line"),
    ] {
        cluster.0.write("list", list)?;
        failed(&cluster.run(&[])?, 1, &[words])?;
    }
    cluster.0.write("kubectl", "#!/bin/sh\necho 'error: no server' >&2\nexit 1\n")?;
    failed(&cluster.run(&[])?, 1, &["kubectl cannot list the pods: error: no server (exit status 1)"])
}

/// `--format`, `--output`, `--html`, `--color`, `--top` and `--named` of `collect`.
fn a_collection_is_shown_as_asked() -> Result<()> {
    let cluster = Cluster::new(40, 20)?;
    let folder = Folder::new("shown")?;
    let (page, out) = (folder.path("page.html"), folder.path("out"));
    let shown = |options: &[&str]| -> Result<String> {
        let finished = cluster.run(options)?;
        ensure!(matches!(finished.status.code(), Some(0 | 3)), "{options:?}: {finished:?}");
        Ok(finished.stdout)
    };
    let usual = shown(&[])?;
    ensure!(shown(&["--format", "json"])?.starts_with('{') && !usual.starts_with('{'), "one form");
    ensure!(usual.contains("39 snapshots read."), "{usual}");
    ensure!(shown(&["--output", &out, "--html", &page])?.is_empty(), "results are on stdout");
    ensure!(fs::read_to_string(out)? == usual && fs::read_to_string(page)?.contains("<svg"), "other results");
    let colored = shown(&["--color", "always"])?;
    ensure!(colored.contains('\x1b') && !shown(&["--color", "never"])?.contains('\x1b'), "{colored}");
    ensure!(shown(&["--top", "1"])?.lines().count() < usual.lines().count(), "{usual}");
    let named = |most| -> Result<usize> {
        let document = cluster.document(&["--named", most])?;
        let findings = document["findings"].as_array().context("no findings")?;
        let lengths = findings.iter().filter_map(|finding| Some(finding["hosts"]["named"].as_array()?.len()));
        Ok(lengths.max().unwrap_or_default())
    };
    let (one, all) = (named("1")?, named("1000")?);
    ensure!(one == 1 && all > 1, "{one} and {all} hosts are named");
    Ok(())
}

/// `--by`, `--false-discoveries`, `--min-times`, `--min-host-packets`, `--growth`, `--min-packets`, `--min-hosts` and
/// `--storm-rate` of `collect`.
fn bounds_count_for_collections_too() -> Result<()> {
    let cluster = Cluster::new(120, 40)?;
    let before = Folder::new("before")?;
    World::new(120, 40, 7)?.write(before.as_ref(), Day::Before, "")?;
    let before = before.path("");
    let count = |kind: &str, options: &[&str]| -> Result<usize> {
        let document = cluster.document(&[options, &["--baseline", &before]].concat())?;
        let findings = document["findings"].as_array().context("no findings")?;
        Ok(findings.iter().filter(|finding| finding["kind"] == kind).count())
    };
    for (kind, less, more) in [
        ("outlier", ["--false-discoveries", "1e-307"], ["--false-discoveries", "0.5"]),
        ("outlier", ["--min-times", "1e15"], ["--min-times", "1"]),
        ("grown", ["--growth", "1e9"], ["--growth", "1.1"]),
        ("outlier", ["--min-host-packets", "1e15"], ["--min-host-packets", "1"]),
        ("unhealthy", ["--min-packets", "1e15"], ["--min-packets", "1"]),
        ("outlier", ["--min-hosts", "1000"], ["--min-hosts", "3"]),
        ("storm", ["--storm-rate", "1e12"], ["--storm-rate", "100"]),
    ] {
        let (few, many) = (count(kind, &less)?, count(kind, &more)?);
        ensure!(few < many, "{few} of {kind} with {less:?}, {many} with {more:?}");
    }
    let within_kernels = |by| -> Result<bool> {
        let document = cluster.document(&["--by", by])?;
        let findings = document["findings"].as_array().context("no findings")?;
        let outliers = findings.iter().filter(|finding| finding["kind"] == "outlier");
        Ok(outliers.filter_map(|finding| finding["group"].as_str()).any(|group| group.starts_with("kernel=")))
    };
    ensure!(!within_kernels("nothing")? && within_kernels("kernel")?, "--by does not count");
    Ok(())
}

/// `--verbose` of `collect`.
fn more_is_said_of_hosts() -> Result<()> {
    let cluster = Cluster::new(3, 5)?;
    let said = |options: &[&str]| Ok::<_, anyhow::Error>(cluster.run(options)?.stderr);
    ensure!(said(&[])?.is_empty() && said(&["--verbose"])?.contains("this is host-00002"), "nothing more is said");
    Ok(())
}
