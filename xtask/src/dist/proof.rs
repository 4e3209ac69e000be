//! Shows that the binary needs only a kernel.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::geteuid;
use serde_json::Value;

use super::binary::Target;
use super::{EXECUTABLE, Steps, VERSION, empty, install};
use crate::support::cargo;
use crate::support::process::{self, announce};
use crate::vm::BareMachine;

/// Runs the binary in a file system without other files: not even `/proc` is there.
pub(super) fn in_an_empty_folder(program: &Path, target: &Target, steps: &mut Steps) -> Result<()> {
    const NAME: &str = "an empty folder";
    if !target.is_here() {
        steps.skip(NAME, format_args!("this machine does not execute programs for {}", target.architecture));
        return Ok(());
    }
    if !geteuid().is_root() {
        steps.skip(NAME, "not root");
        return Ok(());
    }
    let Some(chroot) = process::find_program("chroot") else {
        steps.skip(NAME, "chroot is missing");
        return Ok(());
    };
    let root = cargo::root().join("target/empty-root");
    empty(&root)?;
    install(program, &root.join("droptrace"), EXECUTABLE)?;
    let run = |arguments: &[&str]| process::output(Command::new(&chroot).arg(&root).arg("/droptrace").args(arguments));
    let version = run(&["--version"])?;
    ensure!(version == format!("droptrace {VERSION}\n"), "in {NAME} it calls itself {version:?}");
    let reason = run(&["explain", "SOCKET_RCVBUFF"])?;
    ensure!(reason.contains("SOCKET_RCVBUFF"), "in {NAME} it explains a reason by {reason:?}");
    announce(format_args!("runs in {NAME}"));
    Ok(())
}

/// Runs the binary on another kernel, in a file system that contains only it and the first process: it attaches and
/// counts.
pub(super) fn in_a_bare_machine(series: &str, program: &Path, target: &Target, steps: &mut Steps) -> Result<()> {
    let (package, init) = BareMachine::INIT;
    let init = target.build(package, init)?;
    target.check(&init)?;
    let machine = match BareMachine::prepare(series, target.architecture, &init, program) {
        Ok(machine) => machine,
        Err(error) => {
            steps.skip("a machine without other files", format_args!("{error:#}"));
            return Ok(());
        }
    };
    let (status, output) = machine.run(&["droptrace", "snapshot", "--duration", "2s"])?;
    if status != Some(0) {
        bail!("in a machine without other files it ended with {status:?}:\n{output}");
    }
    judge(&output, machine.release())
        .with_context(|| format!("in a machine without other files it said:\n{output}"))?;
    announce(format_args!("runs on {}, in a machine without other files", machine.release()));
    Ok(())
}

/// Checks that the output is the snapshot of a run with the best backend.
fn judge(output: &str, release: &str) -> Result<()> {
    let document = output.find("{\"schema\"").and_then(|start| output.get(start..)).context("no document")?;
    let mut documents = serde_json::Deserializer::from_str(document).into_iter::<Value>();
    let document = documents.next().context("an empty document")??;
    let found = ["/schema", "/kernel", "/backend/source", "/sources/0/ledger/lost"].map(|path| document.pointer(path));
    let expected = ["droptrace.snapshot.v1".into(), release.into(), "ebpf".into(), Value::from(0)];
    ensure!(found == expected.each_ref().map(Some), "the document has {found:?}, not {expected:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document in the writer's own test.
    const DOCUMENT: &str =
        include_str!("../../../tracer/src/snapshot/snapshots/tracer__snapshot__tests__the_document.snap");

    #[test]
    fn run_with_losses_or_another_backend_fails_the_check() {
        let good = format!("droptrace: counting\n{DOCUMENT}\ndroptrace: done\n");
        judge(&good, "6.18.44").unwrap();
        assert!(judge(&good, "6.1").is_err());
        assert!(
            judge(&good.replace("\"backend\":{\"source\":\"ebpf\"", "\"backend\":{\"source\":\"x\""), "6.18.44")
                .is_err()
        );
        assert!(judge(&good.replace("\"lost\":0", "\"lost\":1"), "6.18.44").is_err());
        assert!(judge("droptrace: not found\n", "6.18.44").is_err());
    }
}
