//! Rules that iptables-nft made: `droptrace rule` names them, with the counts of iptables.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::frame::udp4;
use tests::trials::Unable;
use tests::wire::Wire;

use crate::{PACKETS, during, row, rows};

pub(crate) fn rules_of_iptables_nft() -> Result<()> {
    let wire = Wire::new()?;
    // Without the program, the test is skipped.
    let version = wire.host.command("iptables-nft --version")?;
    ensure!(version.contains("nf_tables"), Unable(format!("no iptables for nftables: {version}")));
    wire.host.probe(
        "iptables-nft -A INPUT -p udp --dport 9 -s 10.0.0.0/24 -m comment --comment closed -j DROP
         iptables-nft -A INPUT -p udp -m multiport --dports 10,11 -j DROP
         iptables-nft -A INPUT -p udp --dport 12 -j DROP",
    )?;
    let document = during(&wire.host, &["--limit", "100000"], || {
        wire.repeat(PACKETS, &udp4(9)?)?;
        wire.repeat(PACKETS / 2, &udp4(10)?)?;
        wire.repeat(PACKETS / 3, &udp4(11)?)
    })?;
    let listed = wire.host.command("iptables-nft -L INPUT -v -x -n")?;
    let counts: Vec<u64> = listed
        .lines()
        .filter(|line| line.contains("DROP") && !line.starts_with("Chain"))
        .map(|line| line.split_whitespace().next().and_then(|count| count.parse().ok()).context("no count"))
        .collect::<Result<_>>()?;
    let several = PACKETS / 2 + PACKETS / 3;
    ensure!(counts == [PACKETS, several, 0], "{listed}");
    let expected = [counts[0], counts[1]].map(|count| row("filter", "INPUT", Some("input"), false, count, Some(count)));
    ensure!(rows(&document)? == expected, "{document:#}");
    let [first, second] = [0, 1].map(|at| &document["rules"][at]);
    ensure!(first["family"] == "ip", "{first}");
    let text = |rule: &Value| rule["text"].as_str().unwrap_or_default().to_owned();
    ensure!(text(first).contains("udp dport 9 comment \"closed\"") && text(first).ends_with("drop"), "{first}");
    ensure!(text(second).contains("multiport"), "{second}");
    Ok(())
}
