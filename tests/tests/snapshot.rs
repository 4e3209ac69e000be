//! Compares the content of `droptrace snapshot` with the counts of this kernel.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use droptrace_base::snapshot::{ReadError, Row, RowOwner, Snapshot, read_file};
use droptrace_fleet::merge::Merge;
use rustix::process::Signal;
use tests::cgroup::ControlGroup;
use tests::droptrace::Droptrace;
use tests::kernel;
use tests::netns::Netns;
use tests::owned::{overrun, udp_of};
use tests::storm::{REASON, Storm};
use tests::trials::{self, trial_as_root};

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("counts_as_the_kernel_does", counts_as_the_kernel_does),
        trial_as_root("rows_have_owners", rows_have_owners),
        trial_as_root("drops_that_do_not_match_are_left_out", drops_that_do_not_match_are_left_out),
        trial_as_root("runs_of_a_host_add_up", runs_of_a_host_add_up),
        trial_as_root("snapshot_of_a_killed_run_is_reported_as_cut", snapshot_of_a_killed_run_is_reported_as_cut),
    ])
}

/// A storm in a namespace with a name, and a file; the file is removed with it.
struct Scene {
    storm: Storm,
    netns: String,
    file: PathBuf,
}

impl Scene {
    fn new(name: &str, ending: &str) -> Result<Self> {
        let netns = format!("droptrace-{name}-{}", std::process::id());
        let file = env::temp_dir().join(format!("{netns}.json{ending}"));
        Ok(Self { storm: Storm::within(Netns::named(&netns)?)?, netns, file })
    }

    fn start(&self) -> Result<Droptrace> {
        self.start_with(&[])
    }

    fn start_with(&self, options: &[&str]) -> Result<Droptrace> {
        let file = self.file.to_str().context("the folder for temporary files is not UTF-8")?;
        Droptrace::start(&[&["snapshot", "--duration", "10m", "--output", file], options].concat())
    }

    /// A snapshot of so many datagrams.
    fn snapshot(&self, datagrams: u64) -> Result<Snapshot> {
        let droptrace = self.start()?;
        self.storm.send(datagrams)?;
        droptrace.finish()?;
        Ok(read_file(&self.file)?)
    }

    /// The storm's rows.
    fn rows(&self, snapshot: &Snapshot) -> Result<Vec<Row>> {
        let reason = kernel::reason(REASON)?.shown();
        let is_ours = |row: &&Row| row.netns_name.as_ref() == Some(&self.netns) && row.reason.as_deref() == reason;
        Ok(snapshot.drops.iter().filter(is_ours).cloned().collect())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The file may not exist.
        let _ = fs::remove_file(&self.file);
    }
}

/// `--filter` of `snapshot`, and the words of a filter: the ledger has the drops that do not match as `filtered`.
fn drops_that_do_not_match_are_left_out() -> Result<()> {
    let scene = Scene::new("filtered", "")?;
    for (options, is_counted) in [(&["--filter", "tcp"][..], false), (&["udp"], true)] {
        let droptrace = scene.start_with(options)?;
        let before = scene.storm.dropped()?;
        scene.storm.send(20_000)?;
        droptrace.finish()?;
        let (snapshot, dropped) = (read_file(&scene.file)?, scene.storm.dropped()? - before);
        let counted: u64 = scene.rows(&snapshot)?.iter().map(|row| row.packets).sum();
        let ledger = snapshot.sources.first().map(|source| &source.ledger).context("no source")?;
        ensure!(dropped > 0 && counted == if is_counted { dropped } else { 0 }, "{options:?}: {counted} of {dropped}");
        ensure!(snapshot.filter.as_deref() == options.last().copied(), "{options:?}: {:?}", snapshot.filter);
        ensure!(is_counted || ledger.filtered >= dropped, "{options:?}: {dropped} dropped, {ledger:?}");
    }
    Ok(())
}

fn counts_as_the_kernel_does() -> Result<()> {
    let scene = Scene::new("counts", ".zst")?;
    let snapshot = scene.snapshot(20_000)?;
    let (rows, dropped) = (scene.rows(&snapshot)?, scene.storm.dropped()?);
    let counted: u64 = rows.iter().map(|row| row.packets).sum();
    ensure!(dropped > 0 && counted == dropped, "it counts {counted}, the kernel {dropped}");
    for row in &rows {
        ensure!(row.class.as_deref() == Some("loopback") && row.own_netns == Some(false), "{row:?}");
        ensure!(row.interface.as_deref() == Some("lo") && row.symbol.is_some(), "{row:?}");
    }
    ensure!(snapshot.unaccounted() == Some(0), "off by {:?}", snapshot.unaccounted());
    ensure!(snapshot.sources[0].ledger.lost == Some(0), "{:?}", snapshot.sources);
    ensure!(snapshot.build_id.is_some() && snapshot.backend.source == "ebpf", "{snapshot:?}");
    let own = |name: &str| snapshot.interfaces.iter().find(|interface| interface.name == name);
    ensure!(own("lo").is_some_and(|lo| lo.class == "loopback"), "{:?}", snapshot.interfaces);
    Ok(())
}

/// `--owners` of `snapshot`.
fn rows_have_owners() -> Result<()> {
    let scene = Scene::new("owned", "")?;
    let id = format!("{:012x}", std::process::id());
    let group = ControlGroup::container(&id)?;
    let droptrace = scene.start_with(&["--owners", "container,socket"])?;
    let dropped = overrun(&scene.storm.host, &udp_of(&group, &scene.storm.host)?)?;
    droptrace.finish()?;
    let snapshot = read_file(&scene.file)?;
    let owned = scene.rows(&snapshot)?;
    let is_reported = kernel::reports_socket()?;
    let is_expected = |owner: &RowOwner| {
        let known = (owner.container.as_deref(), owner.socket_role.as_deref(), owner.attribution.as_str());
        known == if is_reported { (Some(&*id), Some("receiver"), "attributed") } else { (None, None, "no_socket") }
    };
    let ours = owned.iter().filter(|row| row.owner.as_ref().is_some_and(is_expected));
    let counted: u64 = ours.map(|row| row.packets).sum();
    ensure!(dropped > 0 && counted == dropped, "{counted} of {dropped}: {owned:?}");
    ensure!(snapshot.drops.iter().all(|row| row.owner.is_some()), "a row has no owner");
    ensure!(snapshot.unaccounted() == Some(0), "off by {:?}", snapshot.unaccounted());

    // A fleet sums the same rows, with owners and without.
    let without = Snapshot { drops: snapshot.rows_without_owners().into_owned(), ..snapshot.clone() };
    let sums = [&snapshot, &without].map(|snapshot| {
        let mut merge = Merge::default();
        merge.add(snapshot, None).map(|()| merge.into_fleet())
    });
    let [Ok(with), Ok(without)] = sums else { anyhow::bail!("a snapshot was refused") };
    ensure!(with.counts() == without.counts() && !with.counts().is_empty(), "{with:?} {without:?}");

    scene.start()?.finish()?;
    ensure!(!fs::read_to_string(&scene.file)?.contains("\"owner\""), "owners that nobody asked for");
    Ok(())
}

fn runs_of_a_host_add_up() -> Result<()> {
    let scene = Scene::new("merge", "")?;
    let (first, second) = (scene.snapshot(3_000)?, scene.snapshot(5_000)?);
    let ours = [scene.rows(&first)?, scene.rows(&second)?].concat();
    let packets: u64 = ours.iter().map(|row| row.packets).sum();
    ensure!(packets == scene.storm.dropped()?, "both count {packets}");
    let mut merge = Merge::default();
    for snapshot in [&first, &second] {
        merge.add(snapshot, None)?;
    }
    ensure!(merge.add(&first, None).is_err(), "the same drops are counted twice");
    let counted = |row: &Snapshot| row.sources[0].ledger.accounted + row.sources[0].ledger.overflow;
    let fleet = merge.into_fleet();
    let merged: f64 = fleet.counts().iter().map(|count| count.packets.float()).sum();
    let merged = merged + fleet.not_packets.unwrap_or_default().float();
    let all = counted(&first) + counted(&second);
    ensure!(merged.to_string() == all.to_string() && fleet.hosts().len() == 1, "{merged} in the sum of {all}");
    Ok(())
}

fn snapshot_of_a_killed_run_is_reported_as_cut() -> Result<()> {
    let scene = Scene::new("killed", ".zst")?;
    let droptrace = scene.start()?;
    scene.storm.send(100)?;
    droptrace.signal(Signal::KILL)?;
    droptrace.wait()?;
    match read_file(&scene.file) {
        Err(ReadError::Cut { .. }) => Ok(()),
        other => anyhow::bail!("it reads as {other:?}"),
    }
}
