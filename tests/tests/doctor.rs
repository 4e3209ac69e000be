//! The diagnosis on each of these kernels, word for word as it was checked.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use tests::droptrace::{Droptrace, binary};
use tests::kernel;
use tests::trials::{self, Unable, trial_as_root};
use tracer::run;

/// The kernel, and the diagnosis that was checked.
const GOLDEN: [(&str, &str); 11] = [
    ("5.10", include_str!("../golden/doctor/5.10")),
    ("6.1", include_str!("../golden/doctor/6.1")),
    ("6.12", include_str!("../golden/doctor/6.12")),
    // Nothing differs from x86_64.
    ("6.12 arm64", include_str!("../golden/doctor/6.12")),
    ("6.12 without capabilities", include_str!("../golden/doctor/6.12-without-capabilities")),
    ("6.12 locked down", include_str!("../golden/doctor/6.12-locked-down")),
    ("6.18", include_str!("../golden/doctor/6.18")),
    ("6.18 without modules", include_str!("../golden/doctor/6.18-without-modules")),
    (
        "6.18 without modules without capabilities",
        include_str!("../golden/doctor/6.18-without-modules-and-capabilities"),
    ),
    ("7.3", include_str!("../golden/doctor/7.3")),
    ("7.3 arm64", include_str!("../golden/doctor/7.3")),
];

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("with_all_capabilities", || is_as_found_right("", &[])),
        trial_as_root("without_capabilities", || {
            is_as_found_right(" without capabilities", &["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
        }),
    ])
}

fn is_as_found_right(capabilities: &str, prefix: &[&str]) -> Result<()> {
    let kernel = format!("{}{capabilities}", this_kernel());
    let (_, golden) = GOLDEN
        .into_iter()
        .find(|(name, _)| *name == kernel)
        .ok_or_else(|| Unable(format!("what is right on {kernel} is not kept")))?;
    let found = diagnosis(prefix)?;
    ensure!(found == golden, "on {kernel}, droptrace doctor says\n{found}---instead of\n{golden}---");
    Ok(())
}

fn this_kernel() -> String {
    let release = run::host().kernel;
    let series: Vec<_> = release.split(['.', '-']).take(2).collect();
    let locked_down = if kernel::is_confidential() { " locked down" } else { "" };
    let modules = if std::fs::exists("/proc/modules").unwrap_or(false) { "" } else { " without modules" };
    let architecture = if cfg!(target_arch = "aarch64") { " arm64" } else { "" };
    format!("{}{architecture}{locked_down}{modules}", series.join("."))
}

/// The diagnosis without the parts that differ from host to host.
fn diagnosis(prefix: &[&str]) -> Result<String> {
    let binary = binary()?;
    let words: Vec<_> = prefix.iter().map(AsRef::as_ref).chain([binary.as_os_str()]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["doctor", "--format", "text"]);
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = Droptrace::spawn(command)?.wait()?;
    ensure!(finished.status.success(), "{finished:?}");
    let path = binary.canonicalize()?;
    let path = path.to_str().context("a path that is not UTF-8")?;
    let host = run::host();
    let text = without_number(&finished.stdout).replace(&format!("{}, Linux", host.name), "HOST, Linux");
    Ok(text.replace(&host.kernel, "RELEASE").replace(path, "DROPTRACE"))
}

/// Reasons come and go within a series of kernels.
fn without_number(diagnosis: &str) -> String {
    let line = |line: &str| match line.strip_suffix(" of the core") {
        Some(rest) => format!("{}N of the core\n", rest.trim_end_matches(|digit: char| digit.is_ascii_digit())),
        None => format!("{line}\n"),
    };
    diagnosis.lines().map(line).collect()
}
