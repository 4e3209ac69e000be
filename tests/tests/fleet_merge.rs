//! `droptrace-fleet merge` on the snapshots of an invented fleet, and on bad input.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use droptrace_base::snapshot::{self, Snapshot};
use serde_json::Value;
use tests::droptrace::{Droptrace, Finished, command, fleet_command};
use tests::fleet::judge::{Verdict, found};
use tests::fleet::{Day, World};
use tests::folder::Folder;
use tests::trials::{self, Unable, trial};

fn main() -> ExitCode {
    trials::run(vec![
        trial("finds_what_was_planted_and_nothing_else", finds_what_was_planted_and_nothing_else),
        trial("the_order_of_files_does_not_matter", the_order_of_files_does_not_matter),
        trial("sums_are_those_of_the_snapshots", sums_are_those_of_the_snapshots),
        trial("status_shows_that_no_finding_exists", status_shows_that_no_finding_exists),
        trial("cut_snapshots_are_counted", cut_snapshots_are_counted),
        trial("unreadable_files_do_not_stop_the_merge", unreadable_files_do_not_stop_the_merge),
        trial("nothing_to_read_is_a_failure", nothing_to_read_is_a_failure),
        trial("full_disk_is_reported", full_disk_is_reported),
        trial("a_reader_that_goes_is_a_normal_end", a_reader_that_goes_is_a_normal_end),
        trial("wrong_usage_is_reported", wrong_usage_is_reported),
        trial("explains_as_droptrace_does", explains_as_droptrace_does),
    ])
}

/// Runs `merge` with these arguments, each a path or text.
fn merge(arguments: &[&dyn AsRef<Path>]) -> Result<Finished> {
    let mut line = vec![OsString::from("merge")];
    line.extend(arguments.iter().map(|argument| argument.as_ref().as_os_str().to_owned()));
    let finished = Droptrace::spawn(&mut fleet_command(&line)?)?.wait()?;
    ensure!(!finished.stderr.contains("panicked"), "it panics: {}", finished.stderr);
    Ok(finished)
}

/// The document of a run that found something, or nothing.
fn document(finished: &Finished) -> Result<Value> {
    let Finished { status, stdout, stderr } = finished;
    ensure!(matches!(status.code(), Some(0 | 3)), "{status}: {stderr}");
    let document: Value = serde_json::from_str(stdout)?;
    ensure!(document["schema"] == "droptrace.findings.v1", "{}", document["schema"]);
    let found = document["findings"].as_array().context("no findings")?.len();
    ensure!((status.code() == Some(3)) == (found > 0), "{status} with {found} findings");
    Ok(document)
}

fn failed(finished: &Finished, code: i32, words: &[&str]) -> Result<()> {
    let Finished { status, stderr, .. } = finished;
    ensure!(status.code() == Some(code), "{status} instead of {code}: {stderr}");
    for word in words {
        ensure!(stderr.contains(word), "it does not say {word:?}: {stderr}");
    }
    Ok(())
}

/// A host without a fault, with few rows.
fn healthy() -> Result<Snapshot> {
    let world = World::new(20, 4, 1)?;
    let hosts = (0..20).filter_map(|host| world.snapshot(host, Day::Before));
    let is_healthy = |it: &Snapshot| it.unaccounted() == Some(0) && it.sources[0].ledger.lost == Some(0);
    let mut snapshot = hosts.into_iter().find(is_healthy).context("no host is healthy")?;
    snapshot.drops.truncate(3);
    snapshot.sources[0].ledger.accounted = snapshot.drops.iter().map(|row| row.packets).sum();
    Ok(snapshot)
}

fn bytes(snapshot: &Snapshot) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    snapshot::write(&mut bytes, snapshot)?;
    Ok(bytes)
}

fn finds_what_was_planted_and_nothing_else() -> Result<()> {
    let (folder, world) = (Folder::new("planted")?, World::new(300, 120, 7)?);
    let (now, before, page) = (folder.join("now"), folder.join("before"), folder.join("fleet.html"));
    world.write(&now, Day::Now, ".zst")?;
    world.write(&before, Day::Before, "")?;
    let all_named: [&dyn AsRef<Path>; 4] = [&"--format", &"json", &"--named", &"1000"];
    let finished =
        merge(&[&[&now as &dyn AsRef<Path>, &"--baseline", &before, &"--html", &page], &all_named[..]].concat())?;
    let document = document(&finished)?;
    let verdict = Verdict::of(&found(&document)?, world.planted());
    ensure!(verdict.missed.is_empty() && verdict.invented.is_empty(), "{verdict:#?}");
    ensure!(verdict.hits > 20, "only {} faults were planted", verdict.hits);
    ensure!(document["fleet"]["hosts"] == 298 && document["baseline"]["hosts"] == 300, "{}", document["fleet"]);
    let page = fs::read_to_string(page)?;
    ensure!(page.contains("<svg") && page.contains("is new: on") && page.ends_with("</html>\n"), "{page}");
    Ok(())
}

fn the_order_of_files_does_not_matter() -> Result<()> {
    let (folder, world) = (Folder::new("order")?, World::new(40, 60, 3)?);
    world.write(folder.as_ref(), Day::Now, "")?;
    let mut files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    let reported = |files: &[PathBuf]| -> Result<String> {
        let mut arguments: Vec<&dyn AsRef<Path>> = files.iter().map(|file| file as &dyn AsRef<Path>).collect();
        arguments.extend([&"--format" as &dyn AsRef<Path>, &"json"]);
        Ok(merge(&arguments)?.stdout)
    };
    let forwards = reported(&files)?;
    files.reverse();
    ensure!(forwards == reported(&files)?, "the order of files shows");
    Ok(())
}

fn sums_are_those_of_the_snapshots() -> Result<()> {
    let (folder, world) = (Folder::new("sums")?, World::new(30, 50, 5)?);
    world.write(folder.as_ref(), Day::Now, ".zst")?;
    let document = document(&merge(&[&folder, &"--format", &"json"])?)?;
    let snapshots: Vec<_> = (0..30).filter_map(|host| world.snapshot(host, Day::Now)).collect();
    let packets: u64 = snapshots.iter().flat_map(|it| &it.drops).map(|row| row.packets).sum();
    let lost: u64 = snapshots.iter().filter_map(|it| it.sources[0].ledger.lost).sum();
    let fleet = &document["fleet"];
    ensure!(fleet["packets"] == packets && fleet["lost"] == lost, "{packets} and {lost}: {fleet}");
    ensure!(fleet["host_seconds"] == 3600 * snapshots.len(), "{fleet}");
    let rows = document["dropped_most"].as_array().context("no rows")?;
    let of_rows: u64 = rows.iter().filter_map(|row| row["packets"].as_u64()).sum();
    ensure!(of_rows == packets, "the rows are {of_rows} of {packets}");
    Ok(())
}

fn status_shows_that_no_finding_exists() -> Result<()> {
    let folder = Folder::new("nothing")?;
    fs::write(folder.join("a.json"), bytes(&healthy()?)?)?;
    let finished = merge(&[&folder])?;
    ensure!(finished.status.code() == Some(0) && finished.stdout.contains("Nothing found"), "{}", finished.stdout);
    ensure!(finished.stderr.is_empty() && !finished.stdout.contains('\x1b'), "{}", finished.stderr);
    Ok(())
}

/// One file for each position where a snapshot can be cut.
fn cut_snapshots_are_counted() -> Result<()> {
    let folder = Folder::new("cut")?;
    let whole = bytes(&healthy()?)?;
    // A snapshot without its last line end is whole.
    let cuts = 0..whole.len() - 1;
    for length in cuts.clone() {
        fs::write(folder.join(&format!("{length:05}.json")), &whole[..length])?;
    }
    fs::write(folder.join("whole.json"), &whole)?;
    let finished = merge(&[&folder, &"--format", &"json"])?;
    let document = document(&finished)?;
    let refused = document["input"]["refused"].as_array().context("none is refused")?;
    ensure!(document["input"]["read"] == 1 && refused.len() == cuts.len(), "{} of {cuts:?}", refused.len());
    let is_cut =
        |it: &&Value| it["why"].as_str().is_some_and(|why| why.starts_with("the snapshot is truncated: it ends after"));
    ensure!(refused.iter().all(|it| is_cut(&it)), "{refused:?}");
    let reported = format!("… and {} more that could not be read", refused.len() - 20);
    ensure!(finished.stderr.lines().count() == 21 && finished.stderr.contains(&reported), "{}", finished.stderr);
    Ok(())
}

fn unreadable_files_do_not_stop_the_merge() -> Result<()> {
    let folder = Folder::new("rest")?;
    let whole = bytes(&healthy()?)?;
    let newer = String::from_utf8(whole.clone())?.replace("snapshot.v1", "snapshot.v2");
    let files: [(&str, &[u8]); 8] = [
        ("a-garbage.json", b"\x00\xff garbage"),
        ("b-newer.json", newer.as_bytes()),
        ("c-other.json", b"{\"schema\":\"droptrace.stat.v1\"}"),
        ("d-empty.json", b""),
        ("e-damaged.json.zst", b"\x28\xb5\x2f\xfd damaged"),
        ("f-whole.json", &whole),
        ("g-the-same.json", &whole),
        ("notes.txt", b"no snapshot"),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), content)?;
    }
    fs::create_dir(folder.join("below"))?;
    // The link leads back, and `merge` does not follow it.
    symlink(&folder, folder.join("below/loop"))?;
    symlink("/no/such/file", folder.join("h-dangling.json"))?;
    let absent = folder.join("absent.json");
    let finished = merge(&[&folder, &absent, &"--format", &"json"])?;
    let input = &document(&finished)?["input"];
    let refused = input["refused"].as_array().context("none is refused")?;
    let whys = [
        ("a-garbage", "the file is not a snapshot, or it is damaged"),
        ("b-newer", "which is newer than droptrace.snapshot.v1"),
        ("c-other", "its schema is droptrace.stat.v1"),
        ("d-empty", "the snapshot is truncated: it ends after 0 bytes"),
        ("e-damaged", ""),
        ("g-the-same", "overlaps another one in time"),
        ("absent", "No such file or directory"),
    ];
    ensure!(refused.len() == whys.len() && input["read"] == 1 && input["passed_over"] == 3, "{input}");
    for (refused, (name, why)) in refused.iter().zip(whys) {
        let text = |field: &str| refused[field].as_str().unwrap_or_default().to_owned();
        ensure!(text("file").contains(name) && text("why").contains(why), "{refused} instead of {name}: {why}");
        ensure!(finished.stderr.contains(&text("why")), "stderr lacks {refused}: {}", finished.stderr);
    }
    Ok(())
}

fn nothing_to_read_is_a_failure() -> Result<()> {
    let folder = Folder::new("empty")?;
    failed(&merge(&[&folder])?, 1, &["no snapshots could be read", ".json.zst"])?;
    fs::write(folder.join("a.json"), "rubbish")?;
    failed(&merge(&[&folder])?, 1, &["a.json: the file is not a snapshot", "1 refused"])?;
    fs::write(folder.join("a.json"), bytes(&healthy()?)?)?;
    failed(&merge(&[&folder, &"--baseline", &folder.join("none")])?, 1, &["no snapshots of the baseline"])
}

fn full_disk_is_reported() -> Result<()> {
    ensure!(fs::exists("/dev/full")?, Unable("no /dev/full".to_owned()));
    let folder = Folder::new("full")?;
    fs::write(folder.join("a.json"), bytes(&healthy()?)?)?;
    for option in ["--html", "--output"] {
        failed(&merge(&[&folder, &option, &"/dev/full"])?, 1, &["writing to /dev/full failed: No space left"])?;
        failed(&merge(&[&folder, &option, &"/no/such/folder/x"])?, 1, &["cannot write to /no/such/folder/x"])?;
    }
    Ok(())
}

fn a_reader_that_goes_is_a_normal_end() -> Result<()> {
    let folder = Folder::new("pipe")?;
    fs::write(folder.join("a.json"), bytes(&healthy()?)?)?;
    for format in ["text", "json"] {
        let (reader, writer) = io::pipe()?;
        drop(reader);
        let line = ["merge".as_ref(), folder.as_ref().as_os_str(), "--format".as_ref(), format.as_ref()];
        let finished = Droptrace::spawn(fleet_command(&line)?.stdout(writer))?.wait()?;
        failed(&finished, 0, &[])?;
        ensure!(finished.stderr.is_empty(), "{}", finished.stderr);
    }
    Ok(())
}

fn wrong_usage_is_reported() -> Result<()> {
    let folder = Folder::new("usage")?;
    fs::write(folder.join("a.json"), bytes(&healthy()?)?)?;
    failed(&merge(&[])?, 2, &["SNAPSHOT"])?;
    failed(&merge(&[&folder, &"--false-discoveries", &"0"])?, 2, &["write a number between zero and one"])?;
    let labels = "no host has the label rack; there are: kernel, class, backend, build, driver, folder, version";
    failed(&merge(&[&folder, &"--by", &"rack"])?, 1, &[labels])
}

fn explains_as_droptrace_does() -> Result<()> {
    for line in [vec!["explain"], vec!["explain", "socket_rcvbuff", "--format", "json"]] {
        let fleet = Droptrace::spawn(&mut fleet_command(&line)?)?.wait()?;
        let single = Droptrace::spawn(&mut command(&line)?)?.wait()?;
        ensure!(fleet.status.success() && fleet.stdout == single.stdout && !fleet.stdout.is_empty(), "{line:?}");
    }
    let unknown = Droptrace::spawn(&mut fleet_command(&["explain", "xyzzy"])?)?.wait()?;
    failed(
        &unknown,
        1,
        &["droptrace-fleet: unknown drop reason, drop site or counter \"xyzzy\"", "`droptrace-fleet explain` lists"],
    )
}
