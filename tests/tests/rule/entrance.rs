//! The way into the namespace of a rule.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tests::netns::Netns;

use super::during;

/// The command that shows a rule runs as it is printed, outside the namespace.
pub(super) fn command_enters_the_namespace() -> Result<()> {
    let name = format!("rule-{}", std::process::id());
    let netns = Netns::named(&name)?;
    netns.command("ip link set lo up")?;
    netns.probe(
        "nft add table inet web
         nft 'add chain inet web input { type filter hook input priority 0 ; }'
         nft add rule inet web input udp dport 9 counter drop",
    )?;
    let socket = tests::wire::udp(&netns, "127.0.0.1:0".parse()?)?;
    let document = during(&netns, &["--limit", "100000"], || {
        socket.send_to(&[0; 8], "127.0.0.1:9")?;
        Ok(())
    })?;
    let command = document["rules"][0]["command"].as_str().with_context(|| document.to_string())?;
    ensure!(command == format!("ip netns exec {name} nft -a list chain inet web input"), "{command}");
    // Not by a shell: one of busybox would run its own `ip`, which has no namespaces.
    let mut words = command.split(' ');
    let shown = Command::new(words.next().context("an empty command")?).args(words).output()?;
    ensure!(String::from_utf8_lossy(&shown.stdout).contains("udp dport 9"), "{shown:?}");
    Ok(())
}
