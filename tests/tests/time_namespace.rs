//! Within a time namespace, whose monotonic clock is shifted, drops still have the time of day.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Droptrace, binary};
use tests::frame::udp4;
use tests::trials::{self, Unable, trial_as_root};
use tests::wire::Wire;

/// Seconds that the clocks are shifted by.
const SHIFT: &str = "100000";
/// How far a time may be from the truth: far more than the clocks drift, and far less than the shift.
const SLACK: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("totals_have_the_time_of_day", || {
            times(&["stat", "--duration", "4s"], &["/started_at", "/drops/0/first_seen", "/drops/0/last_seen"])
        }),
        trial_as_root("records_have_the_time_of_day", || {
            times(&["trace", "--all", "--duration", "4s"], &["/timestamp"])
        }),
    ])
}

/// droptrace with these arguments in a new time namespace, as a child of `unshare`. It has to end by itself.
fn shifted(arguments: &[&str]) -> Result<Command> {
    ensure!(Path::new("/proc/self/ns/time").exists(), Unable("this kernel has no time namespaces".to_owned()));
    let mut command = Command::new("unshare");
    command.args(["--time", "--monotonic", SHIFT, "--boottime", SHIFT, "--kill-child", "--"]);
    let probed = Command::new("unshare").args(["--time", "--monotonic", SHIFT, "--kill-child", "--", "true"]).output();
    let probed = probed.map_err(|error| Unable(format!("cannot start unshare: {error}")))?;
    let reported = String::from_utf8_lossy(&probed.stderr);
    ensure!(probed.status.success(), Unable(format!("unshare makes no time namespace: {}", reported.trim())));
    command.arg(binary()?).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

fn times(arguments: &[&str], fields: &[&str]) -> Result<()> {
    let wire = Wire::new()?;
    let inum = wire.host.inum().to_string();
    let arguments = [arguments, &["--format", "json", "--netns", &inum]].concat();
    let mut droptrace = Droptrace::spawn(&mut shifted(&arguments)?)?;
    droptrace.await_attached()?;
    let sent = SystemTime::now();
    wire.send(&udp4(9)?)?;
    drained()?;
    let finished = droptrace.wait()?;
    ensure!(finished.status.success(), "droptrace ended with {}: {}", finished.status, finished.stderr);
    let first = finished.stdout.lines().next().context("droptrace printed nothing")?;
    let document: Value = serde_json::from_str(first)?;
    for field in fields {
        let text = document.pointer(field).and_then(Value::as_str);
        let text = text.with_context(|| format!("no {field} in {document}"))?;
        let shown = humantime::parse_rfc3339(text).with_context(|| format!("{field} is {text}"))?;
        let apart = shown.duration_since(sent).unwrap_or_else(|earlier| earlier.duration());
        ensure!(apart <= SLACK, "{field} is {text}, which is {apart:?} from the truth");
    }
    Ok(())
}
