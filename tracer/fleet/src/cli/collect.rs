//! `droptrace-fleet collect`: the fleet as described by snapshots that its hosts make now.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use droptrace_base::command::log_to_stderr;
use droptrace_base::outside::{printable, say};

use super::NAME;
use super::args::CollectArgs;
use super::merge::{read, with_baseline};
use super::progress::Progress;
use super::show::Show;
use crate::collect::{Ask, Bounds, Collected, Folder, Host, Kubectl, Plan, Ssh, Stop, collect};
use crate::merge::{Files, Loaded};
use crate::report::{Input, Refused};

/// The exit status if some hosts failed.
const PARTLY: u8 = 4;

/// Asks the hosts, analyses the fleet, and shows the report.
pub(super) fn run(args: &CollectArgs) -> Result<ExitCode> {
    log_to_stderr(args.verbose, &[]);
    let stop = Stop::catch().context("cannot catch signals")?;
    let asks = asks(args, &stop)?;
    // Bad paths must be known before the work starts.
    let baseline = Files::find(&args.baseline);
    let folder = Folder::open(args.out.as_deref())?;
    let show = Show::open(&args.show, baseline.paths())?;
    let collected = ask_all(&asks, args, &folder, &stop);
    ensure!(!stop.over(), "interrupted{}", left(args, collected.files.len()));
    if collected.files.is_empty() {
        bail!("none of the {} hosts sent a snapshot", asks.len());
    }
    let Loaded { mut fleet, input } = load(collected, args)?;
    let mut input = Input { from: "hosts", ..input };
    with_baseline(&mut fleet, &mut input, baseline, &args.baseline, &args.show)?;
    let is_whole = input.refused.is_empty();
    let found = show.fleet(&fleet, input)?;
    Ok(if is_whole { found } else { PARTLY.into() })
}

fn asks(args: &CollectArgs, stop: &Stop) -> Result<Vec<Ask>> {
    let program = program(args);
    if args.kubectl {
        let kubectl = Kubectl {
            namespace: args.namespace.clone(),
            selector: args.selector.clone(),
            container: args.container.clone(),
            options: args.kubectl_option.clone(),
        };
        let bounds = Bounds { time: args.timeout, bytes: 0 };
        return Ok(kubectl.asks(&program, bounds, stop.flag())?);
    }
    let ssh = Ssh {
        configuration: args.ssh_config.clone(),
        user: args.user.clone(),
        options: args.ssh_option.clone(),
        sudo: args.sudo,
    };
    let listed = args.hosts.as_deref().map(Host::read_file).transpose()?.unwrap_or_default();
    let mut named = HashSet::new();
    let asks = args.targets.iter().chain(&listed).map(|host| ssh.ask(host, &program));
    // A host that is named twice is asked once.
    let asks: Vec<_> = asks.filter(|ask| named.insert(ask.name().to_owned())).collect();
    ensure!(!asks.is_empty(), "{} names no host", args.hosts.clone().unwrap_or_default().display());
    Ok(asks)
}

/// The program on the hosts, with its arguments.
fn program(args: &CollectArgs) -> Vec<String> {
    let usual = if args.kubectl { "/droptrace" } else { "droptrace" };
    let program = args.droptrace.clone().unwrap_or_else(|| usual.to_owned());
    let duration = humantime::format_duration(args.duration).to_string().replace(' ', "");
    let mut words = vec![program, "snapshot".to_owned(), "--duration".to_owned(), duration];
    words.extend(args.snapshot_options.iter().cloned());
    words
}

/// Asks all hosts, and says at once which ones fail.
fn ask_all(asks: &[Ask], args: &CollectArgs, folder: &Folder, stop: &Stop) -> Collected {
    let plan = Plan {
        folder: folder.path(),
        parallel: args.parallel,
        bounds: Bounds { time: args.duration.saturating_add(args.timeout), bytes: args.max_size << 20 },
        stop: stop.flag(),
    };
    let mut progress = Progress::new("hosts");
    progress.show(0, asks.len());
    collect(asks, plan, &mut |done, failed| {
        if let Some(Refused { file, why }) = failed {
            progress.hide();
            say(NAME, format_args!("{}: {}", printable(file), printable(why)));
        }
        progress.show(done, asks.len());
    })
}

/// Reads the snapshots. A snapshot that cannot be read has the name of its host.
fn load(collected: Collected, args: &CollectArgs) -> Result<Loaded> {
    let Collected { files, failed } = collected;
    let (paths, names): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let host_of = |refused: Refused| {
        let at = paths.iter().position(|path| path.display().to_string() == refused.file);
        Refused { file: at.map_or(refused.file, |at| names[at].clone()), ..refused }
    };
    let mut loaded = read(Files::find(&paths), &args.show, "snapshots")?;
    let unreadable = std::mem::take(&mut loaded.input.refused);
    loaded.input.refused = failed.into_iter().chain(unreadable.into_iter().map(host_of)).collect();
    Ok(loaded)
}

/// What is left of a collection that was interrupted.
fn left(args: &CollectArgs, files: usize) -> String {
    args.out.as_ref().filter(|_| files > 0).map_or_else(String::new, |out| {
        let out = out.display();
        format!("; {files} snapshots are in {out}, of which `droptrace-fleet merge {out}` makes a report")
    })
}
