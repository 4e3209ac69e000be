//! Debian's package manager: installs packages for tests, and fetches single packages from a suite that this machine
//! does not list, without a change of its settings.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::architecture::Architecture;
use super::process::{self, announce};

/// Whether this machine has Debian's tools.
pub(crate) fn available() -> bool {
    ["apt-get", "apt-cache", "dpkg"].into_iter().all(|program| process::find_program(program).is_some())
}

/// Installs packages from the suites that this machine lists. Needs root, and asks no questions.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    announce(format_args!("installing {} with apt-get", packages.join(", ")));
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["install", "--yes", "--no-install-recommends", "-qq"]).args(packages);
        process::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // The lists may be absent or old: they are fetched only if the installation fails without.
    install().or_else(|_| {
        process::run(Command::new("apt-get").args(["update", "-qq"]))?;
        install()
    })
}

/// A private apt: its lists, cache and sources are in one folder, and the machine's stay unchanged.
pub(crate) struct PrivateApt {
    folder: PathBuf,
    mirror: String,
    release: String,
    /// Debian's name of an architecture that is not this machine's.
    foreign: Option<&'static str>,
}

impl PrivateApt {
    /// Uses `folder`, and the mirror in this machine's own sources for its release.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
        }
        let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let codename = codename(&release).context("/etc/os-release names no VERSION_CODENAME")?;
        let targets = process::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(RELEASE) $(REPO_URI)",
            "Created-By: Packages",
        ]))?;
        let mirror = mirror(&targets, codename)
            .with_context(|| format!("this machine's apt sources list no mirror for its release, {codename}"))?;
        Ok(Self { folder: folder.to_owned(), mirror: mirror.to_owned(), release: codename.to_owned(), foreign: None })
    }

    /// Does the same for packages of an architecture. If it is not this machine's, no package counts as installed.
    pub(crate) fn of(architecture: Architecture, folder: &Path) -> Result<Self> {
        let mut apt = Self::new(folder)?;
        if architecture != Architecture::host()? {
            let status = apt.status();
            fs::write(&status, "").with_context(|| format!("cannot write {}", status.display()))?;
            apt.foreign = Some(architecture.debian());
        }
        Ok(apt)
    }

    /// This machine's release: `bookworm`.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// Fetches the lists of these suites; later packages come only from them.
    pub(crate) fn list(&self, suites: &[&str]) -> Result<()> {
        let source = |suite: &&str| {
            format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {} {suite} main\n", self.mirror)
        };
        let list = self.source_list();
        fs::write(&list, suites.iter().map(source).collect::<String>())
            .with_context(|| format!("cannot write {}", list.display()))?;
        process::run(self.apt_get().args(["update", "-qq", "--error-on=any"]))
    }

    /// Names of the listed packages that start with `prefix`, in no order.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = process::output(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// A field of the archive's data about the newest version of a package, such as `Depends`.
    pub(crate) fn field(&self, package: &str, name: &str) -> Result<String> {
        let text = process::output(self.apt("apt-cache").args(["show", "--no-all-versions", package]))?;
        let value = field(&text, name).with_context(|| format!("the archive has no {name} of {package}"))?;
        Ok(value.to_owned())
    }

    /// Downloads these packages (`NAME` or `NAME=VERSION`) and unpacks them into a folder, which is created if it does
    /// not exist.
    pub(crate) fn unpack(&self, packages: &[&str], folder: &Path) -> Result<()> {
        let downloads = self.fresh_downloads()?;
        announce(format_args!("downloading {}", packages.join(", ")));
        process::run(self.apt_get().args(["download", "-qq"]).args(packages).current_dir(&downloads))?;
        unpack_all(&downloads, folder)
    }

    /// Does the same as [`PrivateApt::unpack`] for packages from that suite if they are there, and for their dependencies
    /// that this machine has not installed.
    pub(crate) fn unpack_with_dependencies(&self, packages: &[&str], suite: &str, folder: &Path) -> Result<()> {
        announce(format_args!("downloading {} from {suite}, and what is needed", packages.join(", ")));
        let mut command = self.apt_get();
        command.args(["install", "--download-only", "--yes", "--no-install-recommends", "-qq"]);
        process::run(command.args(["--target-release", suite]).args(packages))?;
        unpack_all(&self.folder.join("cache/archives"), folder)
    }

    /// Downloads `package` from the first of `suites` that has it in a version that starts with `prefix`.
    pub(crate) fn download(&self, package: &str, prefix: &str, suites: &[&str]) -> Result<PathBuf> {
        for suite in suites {
            announce(format_args!("looking for Debian's {package} {prefix}… in {suite}"));
            match self.download_from(package, prefix, suite) {
                Ok(Some(file)) => return Ok(file),
                Ok(None) => {}
                Err(error) => announce(format_args!("{suite}: {error:#}")),
            }
        }
        bail!("no suite of {} has {package} in a version {prefix}… (tried {})", self.mirror, suites.join(", "))
    }

    fn download_from(&self, package: &str, prefix: &str, suite: &str) -> Result<Option<PathBuf>> {
        self.list(&[suite])?;
        let madison = process::output(self.apt("apt-cache").args(["madison", package]))?;
        let Some(version) = version(&madison, prefix) else { return Ok(None) };

        let folder = self.fresh_downloads()?;
        announce(format_args!("downloading {package} {version} from {suite}"));
        process::run(self.apt_get().args(["download", "-q", &format!("{package}={version}")]).current_dir(&folder))?;
        let mut files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let file = files.next().context("apt-get downloaded nothing")??;
        Ok(Some(file.path()))
    }

    /// Creates an empty folder.
    fn fresh_downloads(&self) -> Result<PathBuf> {
        let folder = self.folder.join("downloads");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    fn source_list(&self) -> PathBuf {
        self.folder.join("sources.list")
    }

    /// The list of installed packages for another architecture.
    fn status(&self) -> PathBuf {
        self.folder.join("status")
    }

    /// The output of the command is shown as progress.
    fn apt_get(&self) -> Command {
        let mut command = self.apt("apt-get");
        command.stdout(io::stderr());
        command
    }

    fn apt(&self, program: &str) -> Command {
        let option = |name: &str, path: &Path| {
            let mut option = OsString::from(format!("{name}="));
            option.push(path);
            option
        };
        let mut command = Command::new(program);
        for option in [
            option("Dir::Etc::sourcelist", &self.source_list()),
            option("Dir::Etc::sourceparts", Path::new("-")),
            option("Dir::State::lists", &self.folder.join("lists")),
            option("Dir::Cache", &self.folder.join("cache")),
            // apt's own user may not be able to write to the folder.
            "APT::Sandbox::User=".into(),
            "Acquire::Languages=none".into(),
        ] {
            command.arg("-o").arg(option);
        }
        if let Some(foreign) = self.foreign {
            command.arg("-o").arg(option("Dir::State::status", &self.status()));
            command.args(["APT::Architecture", "APT::Architectures"].map(|name| format!("-o{name}={foreign}")));
        }
        command
    }
}

/// Unpacks every package in `downloads`.
fn unpack_all(downloads: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let files = fs::read_dir(downloads).with_context(|| format!("cannot read {}", downloads.display()))?;
    for file in files {
        let file = file?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            process::run(Command::new("dpkg").arg("-x").args([&file, folder]))?;
        }
    }
    Ok(())
}

fn codename(os_release: &str) -> Option<&str> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"'))
}

/// The first repository of this release in lines of `RELEASE URI`.
fn mirror<'t>(targets: &'t str, codename: &str) -> Option<&'t str> {
    targets.lines().filter_map(|line| line.split_once(' ')).find(|(suite, _)| *suite == codename).map(|(_, uri)| uri)
}

/// The value of a field in lines of `NAME: VALUE`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The first version with this prefix in `apt-cache madison`'s table: package | version | source.
fn version<'t>(madison: &'t str, prefix: &str) -> Option<&'t str> {
    madison.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim).find(|version| version.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_that_of_the_release() {
        let targets = "bookworm-security http://mirror.invalid/security/\nbookworm http://mirror.invalid/debian/\n";
        assert_eq!(mirror(targets, "bookworm"), Some("http://mirror.invalid/debian/"));
        assert_eq!(mirror(targets, "trixie"), None);
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm"));
        assert_eq!(codename("VERSION_CODENAME=\"noble\"\n"), Some("noble"));
    }

    #[test]
    fn the_version_is_that_of_the_compiler() {
        let madison = " rust-src | 1.96.0+dfsg1-1 | mirror sid/main\n rust-src | 1.95.0+dfsg1-2~bpo13+1 | mirror x\n";
        assert_eq!(version(madison, "1.95.0+"), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(version(madison, "1.9.0+"), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "Package: linux-kbuild-6.1\nVersion: 6.1.176-1\nDepends: libc6 (>= 2.36)\n";
        assert_eq!(field(text, "Version"), Some("6.1.176-1"));
        assert_eq!(field(text, "Dep"), None);
    }
}
