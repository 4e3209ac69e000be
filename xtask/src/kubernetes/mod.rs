//! The subcommand `kubernetes`: checks the chart and the plain manifests with Helm and Kubernetes' schemas.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::support::process::{self, announce};
use crate::support::{cargo, python};

/// The Python packages with Helm as a library, and with the schemas of Kubernetes.
const PACKAGES: [&str; 2] = ["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0"];
/// What the program loads of them.
const MODULES: [&str; 3] = ["helm_python", "kubernetes_validate", "yaml"];
/// The program that renders and checks.
const SCRIPT: &str = "xtask/src/kubernetes/render.py";
const CHART: &str = "packaging/helm/droptrace";
const PLAIN: &str = "packaging/kubernetes/droptrace.yaml";

/// Renders the Helm chart with several sets of values, checks the results against the schemas of several releases of
/// Kubernetes, and checks that the plain manifests are the chart with its default values.
///
/// Needs Python 3.10 or later. Helm and the schemas come from Python's package index into target/kubernetes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the plain manifests anew instead of comparing them
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let python = set_up()?;
    check(&python, args.write)?;
    Ok(ExitCode::SUCCESS)
}

/// Renders and checks; with `write`, also writes the plain manifests.
pub(crate) fn check(python: &Path, write: bool) -> Result<()> {
    let root = cargo::root();
    let mut command = Command::new(python);
    command.arg(root.join(SCRIPT)).arg(root.join(CHART)).arg(root.join(PLAIN));
    command.arg(if write { "write" } else { "check" }).env("PYTHONDONTWRITEBYTECODE", "1");
    announce(process::output(&mut command)?.trim_end());
    Ok(())
}

/// Installs the packages into a folder of their own, unless they are there; returns the interpreter.
///
/// # Errors
/// There is no suitable Python here, or the packages cannot be fetched or do not run on this machine.
pub(crate) fn set_up() -> Result<PathBuf> {
    // Only built packages: they would need Go to be built here.
    let options = ["--only-binary=helm-python-sdk"];
    python::set_up(&cargo::root().join("target/kubernetes"), &PACKAGES, &MODULES, &options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_pinned() {
        assert!(
            PACKAGES.iter().all(|package| package.split_once("==").is_some_and(|(_, version)| !version.is_empty()))
        );
    }
}
