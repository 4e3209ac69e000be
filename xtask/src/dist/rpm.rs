//! The package for distributions with RPM, by Debian's `rpmbuild`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::layout::{self, OPTIONS, time_of_commit};
use super::{PLAIN, VERSION, empty, write};
use crate::support::architecture::Architecture;
use crate::support::cargo;
use crate::support::process;

const SPEC: &str = include_str!("../../../packaging/rpm/droptrace.spec");

/// What would make the package differ from one build to the next, and what `rpmbuild` would do to programs of another
/// architecture.
const DEFINITIONS: [&str; 7] = [
    "_buildhost reproducible",
    "use_source_date_epoch_as_buildtime 1",
    "clamp_mtime_to_source_date_epoch 1",
    "__os_install_post %{nil}",
    "debug_package %{nil}",
    "_build_id_links none",
    // Each RPM can unpack it.
    "_binary_payload w9.gzdio",
];

/// Builds the package from the files in the folder, whose part `programs` holds the programs of this architecture; returns
/// its name there, or the reason why it cannot be built here.
pub(super) fn build(folder: &Path, programs: &Path, architecture: Architecture) -> Result<Result<PathBuf, String>> {
    if process::find_program("rpmbuild").is_none() {
        return Ok(Err("rpmbuild is missing: Debian's package `rpm` has it".to_owned()));
    }
    let work = cargo::root().join("target/rpm");
    empty(&work)?;
    let root = work.join("root");
    layout::fill(folder, programs, &root)?;
    // Debian's zsh has a folder of its own for the completions of packages.
    let zsh = root.join("usr/share/zsh");
    fs::rename(zsh.join("vendor-completions"), zsh.join("site-functions")).context("cannot move zsh's completions")?;
    let architecture = architecture.name();
    let spec = work.join("droptrace.spec");
    write(&spec, filled(&root)?.as_bytes(), PLAIN)?;
    let mut command = Command::new("rpmbuild");
    command.args(["-bb", "--quiet", "--target", architecture, "--buildroot"]).arg(work.join("build"));
    let folders = ["_topdir top", "_rpmdir out"].map(|definition| {
        let (name, part) = definition.split_once(' ').unwrap_or_default();
        format!("{name} {}", work.join(part).display())
    });
    for definition in DEFINITIONS.into_iter().chain(folders.iter().map(String::as_str)) {
        command.args(["--define", definition]);
    }
    if let Some(time) = time_of_commit() {
        command.env("SOURCE_DATE_EPOCH", time);
    }
    process::output(command.arg(&spec))?;
    let package = PathBuf::from(format!("droptrace-{VERSION}-1.{architecture}.rpm"));
    super::install(&work.join("out").join(architecture).join(&package), &folder.join(&package), PLAIN)?;
    Ok(Ok(package))
}

/// The instructions for `rpmbuild`.
fn filled(root: &Path) -> Result<String> {
    let text = root.to_str().context("the target folder's path is not UTF-8")?;
    if text.contains(|c: char| c.is_whitespace() || "'\"%$`\\".contains(c)) {
        bail!("rpmbuild cannot take files from {text}: set CARGO_TARGET_DIR to a path without blanks and quotes");
    }
    let mut files = paths(root, root)?;
    files.sort();
    let listed = files.iter().map(|file| {
        let is_folder = root.join(file).is_dir();
        let kind = if is_folder {
            "%dir "
        } else if file == OPTIONS {
            "%config(noreplace) "
        } else {
            ""
        };
        format!("{kind}/{file}")
    });
    let listed = listed.collect::<Vec<_>>().join("\n");
    Ok(SPEC.replace("@VERSION@", VERSION).replace("@ROOT@", text).replace("@FILES@", &listed))
}

/// All files below a folder, and the folders that belong to this package alone, by their paths within `root`.
fn paths(folder: &Path, root: &Path) -> Result<Vec<String>> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let within = path.strip_prefix(root).with_context(|| format!("not in the package: {}", path.display()))?;
        if path.is_dir() {
            found.extend(paths(&path, root)?);
        }
        if !path.is_dir() || within.components().any(|part| part.as_os_str() == "droptrace") {
            found.push(within.to_str().with_context(|| format!("not UTF-8: {}", path.display()))?.to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::dist::deb::tests::sample;
    use crate::dist::layout::SERVICE;

    #[test]
    fn all_files_are_listed() {
        let root = std::env::temp_dir().join(format!("xtask-rpm-list-{}", std::process::id()));
        empty(&root).unwrap();
        for file in [OPTIONS, "usr/bin/droptrace"] {
            write(&root.join(file), b"", PLAIN).unwrap();
        }
        let text = filled(&root).unwrap();
        assert!(
            text.ends_with("\n%dir /etc/droptrace\n%config(noreplace) /etc/droptrace/agent.toml\n/usr/bin/droptrace\n"),
            "{text}"
        );
        assert!(text.contains(&format!("\nVersion: {VERSION}\n")), "{text}");
        assert!(filled(Path::new("/a b")).unwrap_err().to_string().contains("/a b"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn package_of_another_architecture_is_installed_in_a_bare_root() {
        if process::find_program("rpmbuild").is_none() || !rustix::process::geteuid().is_root() {
            // This message bypasses libtest, which hides the output of a test that passes.
            let mut stdout = std::io::stdout().lock();
            writeln!(
                stdout,
                "\nSKIPPED package_of_another_architecture_is_installed_in_a_bare_root: needs root and rpmbuild"
            )
            .unwrap();
            return;
        }
        let folder = sample("xtask-rpm");
        let build = || {
            let package = folder.join(build(&folder, Path::new("aarch64"), Architecture::Aarch64).unwrap().unwrap());
            (fs::read(&package).unwrap(), package)
        };
        let ((bytes, package), (again, _)) = (build(), build());
        assert!(bytes == again, "two builds differ");
        assert!(package.ends_with(format!("droptrace-{VERSION}-1.aarch64.rpm")));
        let root = folder.join("root");
        empty(&root).unwrap();
        let mut command = Command::new("rpm");
        command.arg("--root").arg(&root).args(["--install", "--nodeps", "--noscripts", "--ignorearch"]).arg(&package);
        process::output(&mut command).unwrap();
        let completions = "usr/share/zsh/site-functions/_droptrace";
        for file in [SERVICE, OPTIONS, completions, "usr/bin/droptrace", "usr/bin/droptrace-fleet"] {
            assert!(root.join(file).is_file(), "no {file}");
        }
        let query = |what: &str| process::output(Command::new("rpm").args(["-qp", what]).arg(&package)).unwrap();
        assert_eq!(query("--configfiles").trim(), format!("/{OPTIONS}"));
        assert!(query("--requires").lines().all(|line| line.starts_with("rpmlib(") || line == "/bin/sh"));
        let mut command = Command::new("rpm");
        process::output(command.arg("--root").arg(&root).args(["--erase", "--noscripts", "droptrace"])).unwrap();
        for left in ["etc/droptrace", "usr/share/doc/droptrace"] {
            assert!(!root.join(left).exists(), "{left} is left");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
