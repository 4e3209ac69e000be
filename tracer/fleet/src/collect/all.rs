//! All hosts, of which a bounded number is asked at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use super::ask::Ask;
use super::child::Bounds;
use super::fetch::fetch;
use crate::report::Refused;

/// How hosts are asked.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'p> {
    /// The folder for the snapshots.
    pub folder: &'p Path,
    /// The most hosts that are asked at a time.
    pub parallel: usize,
    /// What each host may take.
    pub bounds: Bounds,
    /// Set when this process is to end: no more hosts are asked, and the programs that ask end.
    pub stop: &'p AtomicBool,
}

/// The answers of all hosts.
#[derive(Debug, Default)]
pub struct Collected {
    /// The file of each host that answered, with the host's name, in the order of the hosts.
    pub files: Vec<(PathBuf, String)>,
    /// The hosts without an answer, each with the cause.
    pub failed: Vec<Refused>,
}

/// Asks all hosts. `progress` receives the number of hosts that are done, and the host if it failed.
pub fn collect(asks: &[Ask], plan: Plan<'_>, progress: &mut dyn FnMut(usize, Option<&Refused>)) -> Collected {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = channel();
    let mut answers = BTreeMap::new();
    thread::scope(|scope| {
        for _ in 0..plan.parallel.min(asks.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some((at, ask)) = take(asks, next, plan.stop) {
                    let answer = fetch(ask, plan.folder, plan.bounds, plan.stop);
                    let answer = answer.map_err(|why| Refused {
                        file: ask.name.clone(),
                        why: format!("{:#}", anyhow::Error::from(why)),
                    });
                    // The receiver lives as long as the threads.
                    _ = sender.send((at, answer));
                }
            });
        }
        drop(sender);
        for (at, answer) in receiver {
            progress(answers.len() + 1, answer.as_ref().err());
            answers.insert(at, answer);
        }
    });
    let mut collected = Collected::default();
    for (at, answer) in answers {
        match answer {
            Ok(file) => collected.files.push((file, asks[at].name.clone())),
            Err(refused) => collected.failed.push(refused),
        }
    }
    collected
}

/// The next host, unless this process is to end.
fn take<'a>(asks: &'a [Ask], next: &AtomicUsize, stop: &AtomicBool) -> Option<(usize, &'a Ask)> {
    if stop.load(Ordering::Relaxed) {
        return None;
    }
    let at = next.fetch_add(1, Ordering::Relaxed);
    asks.get(at).map(|ask| (at, ask))
}
