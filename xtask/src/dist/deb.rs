//! Debian's package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::layout::{self, OPTIONS, files, time_of_commit};
use super::{EXECUTABLE, PLAIN, VERSION, empty, write};
use crate::support::architecture::Architecture;
use crate::support::cargo;
use crate::support::process;

const CONTROL: &str = include_str!("../../../packaging/deb/control");
/// The scripts that dpkg runs.
const SCRIPTS: [(&str, &str); 2] = [
    ("postinst", include_str!("../../../packaging/deb/postinst")),
    ("prerm", include_str!("../../../packaging/deb/prerm")),
];

/// Builds the package from the files in the folder, whose part `programs` holds the programs of this architecture; returns
/// its name there, or the reason why it cannot be built here.
pub(super) fn build(folder: &Path, programs: &Path, architecture: Architecture) -> Result<Result<PathBuf, String>> {
    if process::find_program("dpkg-deb").is_none() {
        return Ok(Err("dpkg-deb is missing".to_owned()));
    }
    // The package's folder is next to the distributed files.
    let root = cargo::root().join("target/deb");
    empty(&root)?;
    layout::fill(folder, programs, &root)?;
    let architecture = architecture.debian();
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

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::dist::PROGRAMS;
    use crate::dist::layout::SERVICE;
    use crate::dist::pages::{COMPLETIONS, MAN};

    /// A folder with empty programs for arm64, pages and completions.
    pub(crate) fn sample(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        empty(&folder).unwrap();
        for name in PROGRAMS {
            for file in [format!("aarch64/{name}"), format!("{MAN}/{name}.1")] {
                write(&folder.join(file), b"", PLAIN).unwrap();
            }
            for file in [format!("{name}.bash"), format!("_{name}"), format!("{name}.fish")] {
                write(&folder.join(COMPLETIONS).join(file), b"", PLAIN).unwrap();
            }
        }
        folder
    }

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
        let folder = sample("xtask-deb");
        let package = folder.join(build(&folder, Path::new("aarch64"), Architecture::Aarch64).unwrap().unwrap());
        assert!(package.ends_with(format!("droptrace_{VERSION}_arm64.deb")));
        let contents = process::output(Command::new("dpkg-deb").arg("--contents").arg(&package)).unwrap();
        let output = "usr/share/doc/droptrace/reference/output.md";
        for file in [SERVICE, OPTIONS, "usr/bin/droptrace", "usr/bin/droptrace-fleet", output] {
            assert!(contents.lines().any(|line| line.ends_with(&format!(" ./{file}"))), "no {file} in {contents}");
        }
        let scripts = process::output(Command::new("dpkg-deb").arg("--info").arg(&package)).unwrap();
        for name in ["conffiles", "postinst", "prerm"] {
            assert!(scripts.contains(name), "no {name} in {scripts}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
