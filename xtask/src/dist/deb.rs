//! Debian's package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::pages::{COMPLETIONS, MAN};
use super::{EXECUTABLE, PLAIN, PROGRAMS, VERSION, empty, install, write};
use crate::support::cargo;
use crate::support::process;

const CONTROL: &str = include_str!("../../../packaging/deb/control");
const COPYRIGHT: &str = include_str!("../../../packaging/deb/copyright");
/// The scripts that dpkg runs.
const SCRIPTS: [(&str, &str); 2] = [
    ("postinst", include_str!("../../../packaging/deb/postinst")),
    ("prerm", include_str!("../../../packaging/deb/prerm")),
];

/// The agent's service, and its options, which belong to the administrator of the machine.
const SERVICE: &str = "usr/lib/systemd/system/droptrace-agent.service";
const OPTIONS: &str = "etc/droptrace/agent.toml";

/// Files that users copy to the folders of their Prometheus and Grafana.
const EXAMPLES: [&str; 3] = ["grafana/droptrace.json", "prometheus/alerts.rules.yml", "prometheus/recording.rules.yml"];

/// Builds the package from the files in the folder; returns its name there, or the reason why it cannot be built here.
pub(super) fn build(folder: &Path, target: &str) -> Result<Result<PathBuf, String>> {
    if process::find_program("dpkg-deb").is_none() {
        return Ok(Err("dpkg-deb is missing".to_owned()));
    }
    let Some(architecture) = architecture(target) else {
        return Ok(Err(format!("Debian's name for {target} is unknown")));
    };
    // The package's folder is next to the distributed files.
    let root = cargo::root().join("target/deb");
    empty(&root)?;
    fill(folder, &root)?;
    let control = control(architecture, size(&root)?);
    write(&root.join("DEBIAN/control"), control.as_bytes(), PLAIN)?;
    write(&root.join("DEBIAN/conffiles"), format!("/{OPTIONS}\n").as_bytes(), PLAIN)?;
    for (name, script) in SCRIPTS {
        write(&root.join("DEBIAN").join(name), script.as_bytes(), EXECUTABLE)?;
    }
    let package = PathBuf::from(format!("droptrace_{VERSION}_{architecture}.deb"));
    let mut command = Command::new("dpkg-deb");
    command.args(["--build", "--root-owner-group"]).arg(&root).arg(folder.join(&package));
    if let Some(time) = time_of_commit() {
        command.env("SOURCE_DATE_EPOCH", time);
    }
    process::output(&mut command)?;
    Ok(Ok(package))
}

/// Lays out the files as they will be installed.
fn fill(folder: &Path, root: &Path) -> Result<()> {
    for name in PROGRAMS {
        install(&folder.join(name), &root.join("usr/bin").join(name), EXECUTABLE)?;
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
    for document in ["agent.md", "fleet.md", "output-fleet.md", "output.md"] {
        install(&cargo::root().join("docs").join(document), &documents.join(document), PLAIN)?;
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

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Bytes of all files in a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for file in files(folder)? {
        bytes += if file.is_dir() { size(&file)? } else { fs::metadata(&file)?.len() };
    }
    Ok(bytes)
}

/// `Installed-Size` is in KiB.
fn control(architecture: &str, bytes: u64) -> String {
    let size = bytes.div_ceil(1024).to_string();
    CONTROL.replace("@VERSION@", VERSION).replace("@ARCHITECTURE@", architecture).replace("@SIZE@", &size)
}

fn architecture(target: &str) -> Option<&'static str> {
    match target.split('-').next()? {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        _ => None,
    }
}

/// Seconds since the epoch, so that the package of a commit is the same whenever it is built; `None` without git.
fn time_of_commit() -> Option<String> {
    let mut git = Command::new("git");
    let output = git.current_dir(cargo::root()).args(["log", "-1", "--format=%ct"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_control_file_is_filled_in() {
        let text = control("amd64", 2049);
        assert!(text.starts_with("Package: droptrace\n") && text.ends_with(".\n"), "{text}");
        for line in [format!("Version: {VERSION}"), "Architecture: amd64".into(), "Installed-Size: 3".into()] {
            assert!(text.lines().any(|it| it == line), "no {line} in {text}");
        }
        assert!(!text.contains('@') && !text.contains("\n\n"), "{text}");
    }

    #[test]
    fn the_package_holds_the_service_with_its_options() {
        if process::find_program("dpkg-deb").is_none() {
            // This message bypasses libtest, which hides the output of a test that passes.
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "\nSKIPPED the_package_holds_the_service_with_its_options: no dpkg-deb").unwrap();
            return;
        }
        let folder = std::env::temp_dir().join(format!("xtask-deb-{}", std::process::id()));
        empty(&folder).unwrap();
        for name in PROGRAMS {
            for file in [name.to_owned(), format!("{MAN}/{name}.1")] {
                write(&folder.join(file), b"", PLAIN).unwrap();
            }
            for file in [format!("{name}.bash"), format!("_{name}"), format!("{name}.fish")] {
                write(&folder.join(COMPLETIONS).join(file), b"", PLAIN).unwrap();
            }
        }
        let package = folder.join(build(&folder, "x86_64-unknown-linux-gnu").unwrap().unwrap());
        let contents = process::output(Command::new("dpkg-deb").arg("--contents").arg(&package)).unwrap();
        for file in [SERVICE, OPTIONS, "usr/bin/droptrace", "usr/bin/droptrace-fleet"] {
            assert!(contents.lines().any(|line| line.ends_with(&format!(" ./{file}"))), "no {file} in {contents}");
        }
        let scripts = process::output(Command::new("dpkg-deb").arg("--info").arg(&package)).unwrap();
        for name in ["conffiles", "postinst", "prerm"] {
            assert!(scripts.contains(name), "no {name} in {scripts}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn architectures_have_debians_words() {
        assert_eq!(architecture("x86_64-unknown-linux-gnu"), Some("amd64"));
        assert_eq!(architecture("aarch64-unknown-linux-gnu"), Some("arm64"));
        assert_eq!(architecture("riscv64gc-unknown-linux-gnu"), None);
    }
}
