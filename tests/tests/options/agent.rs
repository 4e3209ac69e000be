//! The options of the agent: readings, service and pushes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use tests::agent::Agent;
use tests::collector::{Collector, Request, TAKEN};
use tests::droptrace::command;
use tests::folder::Folder;
use tests::trials::trial_as_root;
use tests::{eventually, monitor, patience};

use super::capture::Host;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("totals_are_read_at_an_interval", totals_are_read_at_an_interval),
        trial_as_root("an_agent_has_a_source", an_agent_has_a_source),
        trial_as_root("an_agent_says_more", an_agent_says_more),
        trial_as_root("an_agent_looks_at_one_namespace", an_agent_looks_at_one_namespace),
        trial_as_root("an_agent_counts_drops_that_match", an_agent_counts_drops_that_match),
        trial_as_root("metrics_are_pushed_at_an_interval", metrics_are_pushed_at_an_interval),
        trial_as_root("pushes_have_names_and_headers", pushes_have_names_and_headers),
        trial_as_root("drops_are_pushed_with_headers", drops_are_pushed_with_headers),
        trial_as_root("a_push_may_take_so_long", a_push_may_take_so_long),
    ]
}

fn reads(agent: &Agent) -> Result<u64> {
    Ok(agent.scrape()?.sum("droptrace_reads_total", &[("result", "ok")]))
}

/// `--interval` of `agent`.
fn totals_are_read_at_an_interval() -> Result<()> {
    let rarely = Agent::spawn(&mut command(&["agent", "--listen", "127.0.0.1:0", "--interval", "1h"])?)?;
    let often = Agent::spawn(&mut command(&["agent", "--listen", "127.0.0.1:0", "--interval", "20ms"])?)?;
    eventually("many readings", || Ok(reads(&often)? > 10))?;
    let few = reads(&rarely)?;
    ensure!(few <= 2, "{few} readings");
    often.finish()?;
    rarely.finish().map(drop)
}

/// `--source` of `agent`.
fn an_agent_has_a_source() -> Result<()> {
    let agent = Agent::start(&["--source", "ebpf"])?;
    ensure!(agent.scrape()?.one("droptrace_backend_info")?.label("backend") == "ebpf", "another source");
    agent.finish()?;
    let alone = monitor::exclusively();
    match (&alone, Agent::start(&["--source", "net-dm"])) {
        (Ok(_), other) => {
            let other = other?;
            let scrape = other.scrape()?;
            let source = scrape.one("droptrace_backend_info")?.label("backend");
            ensure!(source == "net_dm", "{source} is another source");
            other.finish().map(drop)
        }
        (Err(_), Ok(_)) => bail!("it captures with a drop monitor that is not there"),
        (Err(_), Err(error)) => {
            ensure!(format!("{error:#}").contains("NET_DM"), "{error:#}");
            Ok(())
        }
    }
}

/// `--verbose` of `agent`.
fn an_agent_says_more() -> Result<()> {
    let (less, more) = (Agent::start(&[])?.finish()?.stderr, Agent::start(&["--verbose"])?.finish()?.stderr);
    ensure!(more.lines().count() > less.lines().count(), "{less} {more}");
    Ok(())
}

/// `--netns` of `agent`.
fn an_agent_looks_at_one_namespace() -> Result<()> {
    let (host, other) = (Host::new()?, Host::new()?);
    let agents = [Agent::start(&["--netns", &host.inum])?, Agent::start(&["--netns", &other.inum])?];
    host.drops()?;
    let counted = agents.map(|agent| -> Result<u64> {
        let scrape = agent.settled()?;
        agent.finish()?;
        Ok(scrape.sum("droptrace_dropped_packets_total", &[]))
    });
    let [own, foreign] = counted;
    ensure!((own?, foreign?) == (12, 0), "drops of other namespaces");
    Ok(())
}

/// `--filter` of `agent`: the ledger has all other drops as `filtered`.
fn an_agent_counts_drops_that_match() -> Result<()> {
    const OTHERS: [(&str, &str); 1] = [("account", "filtered")];
    let host = Host::new()?;
    let agents = ["udp", "tcp"].map(|filter| Agent::start(&["--netns", &host.inum, "--filter", filter]));
    host.drops()?;
    for (agent, (of_filter, of_others)) in agents.into_iter().zip([(3, 9), (9, 3)]) {
        let agent = agent?;
        let scrape = agent.settled()?;
        agent.finish()?;
        let counted = scrape.sum("droptrace_dropped_packets_total", &[]);
        // Drops in other namespaces are filtered, too.
        let others = scrape.sum("droptrace_ledger_drops_total", &OTHERS);
        ensure!(counted == of_filter && others >= of_others, "{counted} of {of_filter}, {others} filtered");
    }
    Ok(())
}

/// Counts the pushes.
fn counting() -> Result<(Collector, Arc<AtomicUsize>)> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let collector = Collector::start(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        TAKEN.to_vec()
    })?;
    Ok((collector, count))
}

/// `--otlp` and `--otlp-interval` of `agent`.
fn metrics_are_pushed_at_an_interval() -> Result<()> {
    let [(often, pushes), (rarely, few)] = [counting()?, counting()?];
    let agents = [
        Agent::start(&["--otlp", &often.url(), "--otlp-interval", "1s"])?,
        Agent::start(&["--otlp", &rarely.url(), "--otlp-interval", "1h"])?,
    ];
    eventually("three pushes", || Ok(pushes.load(Ordering::Relaxed) >= 3))?;
    let few = few.load(Ordering::Relaxed);
    ensure!(few <= 1, "{few} at a long interval");
    agents.into_iter().try_for_each(|agent| agent.finish().map(drop))
}

fn contains(request: &Request, words: &str) -> bool {
    request.body.windows(words.len()).any(|window| window == words.as_bytes())
}

/// `--otlp-instance` and `--otlp-headers-file` of `agent`.
fn pushes_have_names_and_headers() -> Result<()> {
    let folder = Folder::new("headers")?;
    let headers = folder.write("headers", "X-Tried: metrics\n")?;
    let pushed = |more: &[&str]| -> Result<Request> {
        let collector = Collector::start(|_| TAKEN.to_vec())?;
        let agent = Agent::start(&[&["--otlp", &collector.url(), "--otlp-interval", "1s"], more].concat())?;
        let request = collector.next().context("nothing was pushed")?;
        agent.finish()?;
        Ok(request)
    };
    let plain = pushed(&[])?;
    let named = pushed(&["--otlp-instance", "tried-instance", "--otlp-headers-file", &headers])?;
    ensure!(!contains(&plain, "tried-instance") && contains(&named, "tried-instance"), "the instance has no name");
    let reported = [plain.header("x-tried"), named.header("x-tried")];
    ensure!(reported == [None, Some("metrics")], "{reported:?}");
    Ok(())
}

/// `--otlp-logs` and `--otlp-logs-headers-file` of `agent`.
fn drops_are_pushed_with_headers() -> Result<()> {
    let (folder, host) = (Folder::new("log-headers")?, Host::new()?);
    let headers = folder.write("headers", "X-Tried: drops\n")?;
    let collector = Collector::start(|_| TAKEN.to_vec())?;
    let url = collector.url();
    let logs = ["--netns", &host.inum, "--otlp-logs", &url, "--otlp-logs-headers-file", &headers];
    let agent = Agent::start(&logs)?;
    host.drops()?;
    let request = collector.next().context("nothing was pushed")?;
    ensure!(request.path == "/v1/logs" && request.header("x-tried") == Some("drops"), "{request:?}");
    agent.finish().map(drop)
}

/// `--otlp-timeout` of `agent`.
fn a_push_may_take_so_long() -> Result<()> {
    let (silent, hold) = Collector::silent()?;
    let ((asked, was_asked), (other_hold, other_wait)) = (channel::<()>(), channel::<()>());
    let other = Collector::start(move |_| {
        _ = asked.send(());
        _ = other_wait.recv();
        vec![]
    })?;
    let patient = Agent::start(&["--otlp", &other.url(), "--otlp-interval", "1s", "--otlp-timeout", "1h"])?;
    was_asked.recv_timeout(patience())?;
    let hasty = Agent::start(&["--otlp", &silent.url(), "--otlp-interval", "1s", "--otlp-timeout", "100ms"])?;
    let failed = |agent: &Agent| -> Result<u64> {
        Ok(agent.scrape()?.sum("droptrace_otlp_exports_total", &[("signal", "metrics"), ("result", "failed")]))
    };
    eventually("a push that failed", || Ok(failed(&hasty)? > 0))?;
    ensure!(failed(&patient)? == 0, "it did not wait");
    drop((hold, other_hold, hasty, patient));
    Ok(())
}
