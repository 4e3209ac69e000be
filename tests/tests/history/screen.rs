//! The past on the screen of `top`.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests::pty::Terminal;
use tests::storm::Storm;
use tests::trials::trial_as_root;

use super::{new_folder, now, run, start};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial_as_root("screen_has_the_counts_of_the_past", screen_has_the_counts_of_the_past)]
}

/// `top --since` and `--until` show the intervals of `--history`, and leave the table of `stat --since`.
fn screen_has_the_counts_of_the_past() -> Result<()> {
    let (storm, (_folder, path)) = (Storm::new()?, new_folder("history-screen")?);
    let agent = start(&storm, &path, &[])?;
    storm.send(300)?;
    agent.settled()?;
    storm.send(400)?;
    agent.settled()?;
    let (dropped, end) = (storm.dropped()?.to_string(), now());
    // The storm starts in a later interval.
    agent.settled()?;
    storm.send(150)?;
    agent.settled()?;
    let all = storm.dropped()?.to_string();
    agent.finish()?;
    let top = |end: &[&str]| {
        let arguments = [&["top", "--since", "-1h", "--history", &path], end].concat();
        Terminal::start(&arguments, (120, 30), "xterm-256color")
    };
    let is_of = |lines: &[String], count: &str| {
        let is_count =
            |line: &&String| line.contains("udp_queue_rcv_one_skb") && line.split_whitespace().any(|it| it == count);
        lines[0].contains("history ") && lines.iter().filter(is_count).count() == 1
    };
    let terminal = top(&["--until", &end])?;
    terminal.await_screen("the rows until then", |lines| is_of(lines, &dropped))?;
    // Nothing moves that could be stopped.
    terminal.press(" ")?;
    terminal.press("c")?;
    let lines =
        terminal.await_screen("the command", |lines| lines.iter().any(|line| line.contains("trace --since")))?;
    ensure!(!lines.concat().contains("FROZEN"), "{lines:?}");
    // The command has the time itself, and a screen breaks lines between words.
    let command = lines.concat().replace(' ', "");
    ensure!(
        command.contains("droptracetrace--since20") && command.contains(&format!("--until{end}--history")),
        "{lines:?}"
    );
    terminal.press("q")?;
    let (finished, last, is_restored) = terminal.end()?;
    ensure!(finished.status.success() && is_restored, "{finished:?} {last}");
    ensure!(last.contains("Packets dropped on") && last.contains("history: "), "{last}");

    let terminal = top(&[])?;
    terminal.await_screen("all rows", |lines| is_of(lines, &all))?;
    terminal.press("q")?;
    ensure!(terminal.end()?.0.status.success());

    // Without a terminal.
    let table = run(&["top", "--since", "-1h", "--history", &path])?;
    ensure!(table.status.success() && table.stdout.contains("history: "), "{table:?}");
    Ok(())
}
