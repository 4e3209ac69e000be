//! The files of a package as they will be installed, whatever the package's form.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::pages::{COMPLETIONS, MAN};
use super::{EXECUTABLE, PLAIN, PROGRAMS, install, write};
use crate::support::cargo;

const COPYRIGHT: &str = include_str!("../../../packaging/deb/copyright");

/// The agent's service, and its options, which belong to the administrator of the machine.
pub(super) const SERVICE: &str = "usr/lib/systemd/system/droptrace-agent.service";
pub(super) const OPTIONS: &str = "etc/droptrace/agent.toml";

/// Files that users copy to the folders of their Prometheus and Grafana.
const EXAMPLES: [&str; 3] = ["grafana/droptrace.json", "prometheus/alerts.rules.yml", "prometheus/recording.rules.yml"];

/// Lays out the files: the programs come from the part `programs` of `folder`.
pub(super) fn fill(folder: &Path, programs: &Path, root: &Path) -> Result<()> {
    for name in PROGRAMS {
        install(&folder.join(programs).join(name), &root.join("usr/bin").join(name), EXECUTABLE)?;
    }
    for page in files(&folder.join(MAN))? {
        compressed(&page, &root.join("usr/share/man/man1"))?;
    }
    for name in PROGRAMS {
        for (file, to) in [
            (format!("{name}.bash"), format!("bash-completion/completions/{name}")),
            (format!("_{name}"), format!("zsh/vendor-completions/_{name}")),
            (format!("{name}.fish"), format!("fish/vendor_completions.d/{name}.fish")),
        ] {
            install(&folder.join(COMPLETIONS).join(file), &root.join("usr/share").join(to), PLAIN)?;
        }
    }
    let systemd = cargo::root().join("packaging/systemd");
    install(&systemd.join("droptrace-agent.service"), &root.join(SERVICE), PLAIN)?;
    install(&systemd.join("agent.toml"), &root.join(OPTIONS), PLAIN)?;
    let documents = root.join("usr/share/doc/droptrace");
    compressed(&cargo::root().join("CHANGELOG.md"), &documents)?;
    // In the folders in which `--help` and the documents name them.
    for folder in ["guide", "reference"] {
        for document in files(&cargo::root().join("docs").join(folder))? {
            let name = document.file_name().with_context(|| format!("{} is not a file", document.display()))?;
            install(&document, &documents.join(folder).join(name), PLAIN)?;
        }
    }
    for example in EXAMPLES {
        install(&cargo::root().join("packaging").join(example), &documents.join("examples").join(example), PLAIN)?;
    }
    write(&documents.join("copyright"), COPYRIGHT.as_bytes(), PLAIN)
}

/// Compresses the file to the same bytes each time.
fn compressed(file: &Path, folder: &Path) -> Result<()> {
    let output = Command::new("gzip").args(["-9n", "-c"]).arg(file).output().context("cannot start gzip")?;
    if !output.status.success() {
        bail!("gzip of {} failed: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let name = file.file_name().with_context(|| format!("{} is not a file", file.display()))?;
    write(&folder.join(name).with_added_extension("gz"), &output.stdout, PLAIN)
}

pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Seconds since the epoch, so that a package of a commit is the same whenever it is built; `None` without git.
pub(super) fn time_of_commit() -> Option<String> {
    let mut git = Command::new("git");
    let output = git.current_dir(cargo::root()).args(["log", "-1", "--format=%ct"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
