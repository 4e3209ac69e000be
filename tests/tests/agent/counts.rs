//! The counts of the agent.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tests::agent::{Agent, Scrape};
use tests::droptrace::command;
use tests::eventually;
use tests::kernel;
use tests::netns::Netns;
use tests::prometheus;
use tests::storm::{REASON, Storm};
use tests::trials::trial_as_root;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("counts_as_the_kernel_does", counts_as_the_kernel_does),
        trial_as_root("offset_label_is_shown_if_asked_for", offset_label_is_shown_if_asked_for),
        trial_as_root("a_namespace_that_vanishes_keeps_its_count", a_namespace_that_vanishes_keeps_its_count),
        trial_as_root("overflow_series_keeps_sum_exact", overflow_series_keeps_sum_exact),
        trial_as_root("series_of_what_is_gone_expire", series_of_what_is_gone_expire),
        trial_as_root("keys_without_room_are_counted_by_reason", keys_without_room_are_counted_by_reason),
        trial_as_root("build_and_host_info_are_exported", build_and_host_info_are_exported),
        trial_as_root("promtool_finds_nothing_wrong", promtool_finds_nothing_wrong),
    ]
}

fn named_storm(name: &str) -> Result<(Storm, String)> {
    let netns = format!("droptrace-agent-{name}-{}", std::process::id());
    Ok((Storm::within(Netns::named(&netns)?)?, netns))
}

fn counts_as_the_kernel_does() -> Result<()> {
    let (storm, netns) = named_storm("counts")?;
    let agent = Agent::start(&[])?;
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default();
    let labels = [("netns", netns.as_str()), ("reason", reason)];
    for _ in 0..3 {
        storm.send(20_000)?;
        let scrape = agent.settled()?;
        let (counted, dropped) = (scrape.sum("droptrace_dropped_packets_total", &labels), storm.dropped()?);
        ensure!(dropped > 0 && counted == dropped, "it counts {counted}, the kernel {dropped}");
        scrape.check_sum()?;
        counts_equal_the_kernels(&scrape, &labels)?;
        // Payload, and the headers of UDP, IP and Ethernet.
        let bytes = scrape.sum("droptrace_dropped_bytes_total", &labels);
        ensure!(bytes == dropped * (64 + 8 + 20 + 14), "{bytes} bytes of {dropped} datagrams");
    }
    agent.finish()?;
    Ok(())
}

fn counts_equal_the_kernels(scrape: &Scrape, labels: &[(&str, &str)]) -> Result<()> {
    for sample in scrape.of("droptrace_dropped_packets_total", labels) {
        let reported = ["interface_class", "protocol"].map(|label| sample.label(label));
        ensure!(reported == ["loopback", "ipv4"] && !sample.label("symbol").is_empty(), "{sample:?}");
        ensure!(sample.labels.iter().all(|(label, _)| label != "offset"), "{sample:?}");
        ensure!(sample.labels.iter().all(|(_, value)| !value.contains("ffff")), "an address: {sample:?}");
    }
    let lost = scrape.sum("droptrace_ledger_drops_total", &[("account", "lost")]);
    let is_unknown = scrape.sum("droptrace_loss_unknown", &[]) == 1;
    ensure!(lost == 0 && !is_unknown, "{lost} lost, unknown: {is_unknown}");
    Ok(())
}

fn offset_label_is_shown_if_asked_for() -> Result<()> {
    let (storm, netns) = named_storm("offsets")?;
    let (with, without) = (Agent::start(&["--offset-label"])?, Agent::start(&[])?);
    storm.send(2_000)?;
    let labels = [("netns", netns.as_str()), ("symbol", "udp_queue_rcv_one_skb")];
    let (with, without) = (with.settled()?, without.settled()?);
    with.check_sum()?;
    without.check_sum()?;
    let sums = [&with, &without].map(|scrape| scrape.sum("droptrace_dropped_packets_total", &labels));
    ensure!(sums[0] > 0 && sums[0] == sums[1], "{sums:?}");
    let has_offset = |scrape: &Scrape| {
        let mut series = scrape.of("droptrace_dropped_packets_total", &labels);
        series.all(|sample| sample.label("offset").starts_with("0x"))
    };
    ensure!(has_offset(&with) && !has_offset(&without), "{with:?} {without:?}");
    Ok(())
}

fn a_namespace_that_vanishes_keeps_its_count() -> Result<()> {
    let (storm, netns) = named_storm("vanishes")?;
    let agent = Agent::start(&[])?;
    storm.send(5_000)?;
    let dropped = storm.dropped()?;
    agent.settled()?;
    drop(storm);
    let scrape = agent.settled()?;
    let counted = scrape.sum("droptrace_dropped_packets_total", &[("netns", &netns), ("protocol", "ipv4")]);
    ensure!(counted == dropped, "it counts {counted}, the kernel dropped {dropped}");
    scrape.check_sum()
}

fn series_of_what_is_gone_expire() -> Result<()> {
    const NAME: &str = "droptrace_dropped_packets_total";
    let (storm, netns) = named_storm("expire")?;
    let agent = Agent::start(&["--expire-after", "1s"])?;
    let of = |scrape: &Scrape| scrape.sum(NAME, &[("netns", &netns)]);
    let (mut expired, mut dropped) = (0, 0);
    for _ in 0..2 {
        storm.send(2_000)?;
        let came = storm.dropped()? - dropped;
        dropped += came;
        let scrape = agent.settled()?;
        // It may have expired by now, on a slow machine.
        ensure!([0, came].contains(&of(&scrape)), "{} instead of {came}", of(&scrape));
        scrape.check_sum()?;
        eventually("that the series expire", || {
            let scrape = agent.scrape()?;
            scrape.check_sum()?;
            Ok(of(&scrape) == 0)
        })?;
        let now = agent.scrape()?.sum(NAME, &[("reason", "expired"), ("netns", "expired")]);
        // Other tests' namespaces may be among them.
        ensure!(now >= expired + came, "{now} expired, {expired} before, {came} came");
        expired = now;
    }
    agent.finish()?;
    Ok(())
}

fn overflow_series_keeps_sum_exact() -> Result<()> {
    let storms = [Storm::new()?, Storm::new()?];
    let (all, one) = (Agent::start(&["--max-series", "1"])?, Agent::start(&["--max-series", "2"])?);
    let inum = storms[0].host.inum().to_string();
    let own = Agent::start(&["--max-series", "1", "--netns", &inum])?;
    for storm in &storms {
        storm.send(3_000)?;
    }
    for (agent, limit) in [(&all, 1), (&one, 2), (&own, 1)] {
        let scrape = agent.settled()?;
        scrape.check_sum()?;
        let series = scrape.of("droptrace_dropped_packets_total", &[]).count();
        ensure!(series == limit, "{series} series of {limit}");
        ensure!(scrape.sum("droptrace_series", &[]) == limit as u64, "the number of series is not exported");
    }
    let others = own.settled()?.sum("droptrace_dropped_packets_total", &[("reason", "other"), ("netns", "other")]);
    let dropped = storms[0].dropped()?;
    // Drops with an unknown namespace may belong to other tests.
    let unknown = own.scrape()?.sum("droptrace_ledger_drops_total", &[("account", "unknown_netns")]);
    let is_right = (dropped..=dropped + unknown).contains(&others);
    ensure!(is_right, "{others} in the one for others, the kernel dropped {dropped}, {unknown} of unknown namespaces");
    let filtered = own.scrape()?.sum("droptrace_ledger_drops_total", &[("account", "filtered")]);
    ensure!(filtered >= storms[1].dropped()?, "{filtered} filtered out");
    Ok(())
}

fn keys_without_room_are_counted_by_reason() -> Result<()> {
    let storms = [Storm::new()?, Storm::new()?, Storm::new()?, Storm::new()?];
    // The interval is so long that all drops come between two readings.
    let rarely = ["agent", "--listen", "127.0.0.1:0", "--interval", "2s", "--map-entries", "1"];
    let agent = Agent::spawn(&mut command(&rarely)?)?;
    for storm in &storms {
        storm.send(1_000)?;
    }
    let scrape = agent.settled()?;
    scrape.check_sum()?;
    let overflow = scrape.sum("droptrace_ledger_drops_total", &[("account", "overflow")]);
    let by_reason: u64 = scrape.sum("droptrace_dropped_packets_total", &[("symbol", ""), ("netns", "")]);
    ensure!(overflow > 0 && by_reason >= overflow, "{overflow} in overflow, {by_reason} by reason only");
    Ok(())
}

fn build_and_host_info_are_exported() -> Result<()> {
    let agent = Agent::start(&[])?;
    let scrape = agent.settled()?;
    let source = scrape.one("droptrace_backend_info")?;
    ensure!((source.label("backend"), source.label("mode")) == ("ebpf", "tp_btf"), "{source:?}");
    let host = scrape.one("droptrace_host_info")?;
    ensure!(host.label("kernel") == tracer::run::host().kernel, "{scrape:?}");
    ensure!(host.label("machine") == droptrace_base::snapshot::machine().unwrap_or_default(), "{scrape:?}");
    ensure!(scrape.sum("droptrace_backend_rank", &[]) == 1, "{scrape:?}");
    ensure!(scrape.one("droptrace_build_info")?.label("version") == env!("CARGO_PKG_VERSION"), "{scrape:?}");
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"] {
        ensure!(scrape.one(name)?.value > 0.0, "{name}");
    }
    ensure!(agent.get("/-/healthy")?.status == 200 && agent.get("/-/ready")?.status == 200, "it is not ready");
    ensure!(agent.get("/")?.body.contains("href=\"/metrics\""), "its page leads nowhere");
    let answer = agent.get_with("/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n")?;
    ensure!(answer.headers.contains("application/openmetrics-text; version=1.0.0; charset=utf-8"), "{answer:?}");
    ensure!(answer.body.ends_with("\n# EOF\n"), "{answer:?}");
    Ok(())
}

fn promtool_finds_nothing_wrong() -> Result<()> {
    let promtool = prometheus::program("promtool")?;
    let storm = Storm::new()?;
    let agent = Agent::start(&[])?;
    storm.send(100)?;
    agent.settled()?;
    let text = agent.get("/metrics")?.body;
    let mut command = Command::new(promtool);
    let mut child = command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no stdin")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.trim().is_empty(), "promtool says {said}");
    Ok(())
}
