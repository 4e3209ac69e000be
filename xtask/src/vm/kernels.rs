//! Kernels for tests: Debian's, or any other.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::modules;
use crate::support::apt::{self, PrivateApt};
use crate::support::architecture::Architecture;
use crate::support::process::{self, announce};

/// Debian's suites that hold kernels of all series from 5.10 on.
pub(super) const SUITES: [&str; 4] = ["bullseye", "bookworm", "bookworm-backports", "trixie-backports"];

/// The default set: the oldest without a drop reason, two long-term ones, the one before `qdisc_drop`, and the newest.
/// Kernels with `PREEMPT_RT` take longer under emulation, and are tested on demand.
pub(crate) const DEFAULT: [Series; 5] =
    [Series::cloud(5, 10), Series::cloud(6, 1), Series::cloud(6, 12), Series::cloud(6, 18), Series::cloud(7, 3)];

/// The set for arm64: the same versions, which differ in the same way.
pub(crate) const ARM64: [Series; 5] =
    [Series::arm64(5, 10), Series::arm64(6, 1), Series::arm64(6, 12), Series::arm64(6, 18), Series::arm64(7, 3)];

/// The start of the names of Debian's packages.
const PREFIX: &str = "linux-image-";

/// A flavour of Debian's kernels. All of them have BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flavour {
    /// Small, for virtual machines.
    Cloud,
    /// With `PREEMPT_RT`.
    Realtime,
    /// As [`Flavour::Cloud`], for arm64.
    Arm64,
}

impl Flavour {
    const ALL: [Self; 3] = [Self::Cloud, Self::Realtime, Self::Arm64];

    /// The end of the flavour's releases.
    fn ending(self) -> &'static str {
        match self {
            Self::Cloud => "-cloud-amd64",
            Self::Realtime => "-rt-amd64",
            Self::Arm64 => "-cloud-arm64",
        }
    }

    /// The end of the flavour's series on the command line.
    fn suffix(self) -> &'static str {
        match self {
            Self::Cloud => "",
            Self::Realtime => "-rt",
            Self::Arm64 => "-arm64",
        }
    }

    fn architecture(self) -> Architecture {
        match self {
            Self::Cloud | Self::Realtime => Architecture::X86_64,
            Self::Arm64 => Architecture::Aarch64,
        }
    }
}

/// A series of kernels in one flavour, written as `6.12`, `6.12-rt` or `6.12-arm64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    numbers: (u32, u32),
    pub(crate) flavour: Flavour,
}

impl Series {
    pub(crate) const fn cloud(major: u32, minor: u32) -> Self {
        Self { numbers: (major, minor), flavour: Flavour::Cloud }
    }

    pub(crate) const fn arm64(major: u32, minor: u32) -> Self {
        Self { numbers: (major, minor), flavour: Flavour::Arm64 }
    }

    /// The series of the same version for an architecture.
    pub(crate) fn on(self, architecture: Architecture) -> Self {
        match architecture {
            _ if self.flavour.architecture() == architecture => self,
            Architecture::X86_64 => Self { flavour: Flavour::Cloud, ..self },
            Architecture::Aarch64 => Self { flavour: Flavour::Arm64, ..self },
        }
    }

    pub(crate) const fn realtime(major: u32, minor: u32) -> Self {
        Self { numbers: (major, minor), flavour: Flavour::Realtime }
    }
}

impl FromStr for Series {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let marked = [Flavour::Realtime, Flavour::Arm64];
        let known = marked.into_iter().find_map(|flavour| Some((text.strip_suffix(flavour.suffix())?, flavour)));
        let (numbers, flavour) = known.unwrap_or((text, Flavour::Cloud));
        let parsed =
            numbers.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let numbers =
            parsed.ok_or_else(|| format!("`{text}` is no series of kernels, as 6.12, 6.12-rt and 6.12-arm64 are"))?;
        Ok(Self { numbers, flavour })
    }
}

impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.numbers;
        write!(formatter, "{major}.{minor}{}", self.flavour.suffix())
    }
}

/// A kernel that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// The release, as `uname -r` prints it.
    pub(crate) release: String,
    pub(crate) architecture: Architecture,
    /// The file to start.
    pub(crate) image: PathBuf,
    /// The modules, not compressed, with their lists; `None` for a kernel that needs none.
    pub(crate) modules: Option<PathBuf>,
}

impl Kernel {
    /// A kernel of another origin. `modules` is its folder of modules, whose name is the kernel's release.
    pub(crate) fn given(image: &Path, modules: Option<&Path>, folder: &Path, busybox: &Path) -> Result<Self> {
        let architecture = Architecture::host()?;
        let Some(modules) = modules else {
            let release = image.file_name().context("the kernel's image is no file")?.to_string_lossy().into_owned();
            return Ok(Self { release, architecture, image: image.to_owned(), modules: None });
        };
        let name = modules.file_name().context("the modules' folder has no name")?;
        let root = folder.join("given").join(name);
        let own = root.join("lib/modules").join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("lib/modules")).with_context(|| format!("cannot create {}", root.display()))?;
        process::run(Command::new("cp").arg("-rL").args([modules, &own]))?;
        modules::prepare(&own, busybox)?;
        let release = name.to_string_lossy().into_owned();
        Ok(Self { release, architecture, image: image.to_owned(), modules: Some(own) })
    }
}

/// The kernels that were fetched, and the archive that has more.
pub(crate) struct Kernels {
    folder: PathBuf,
    /// The archive's parts, each of which is read once, when a kernel for that architecture is missing.
    archives: BTreeMap<Architecture, Archive>,
}

/// The archive's kernels for one architecture.
struct Archive {
    apt: PrivateApt,
    offered: Vec<Version>,
}

impl Kernels {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.join("kernels"), archives: BTreeMap::new() }
    }

    /// The archive's series for `x86_64`, oldest first.
    pub(crate) fn series(&mut self) -> Result<Vec<Series>> {
        let mut series: Vec<_> = self.archive(Architecture::X86_64)?.offered.iter().map(Version::series).collect();
        series.sort_unstable();
        series.dedup();
        Ok(series)
    }

    /// The newest kernel of a series, which is fetched if it does not exist yet. If the archive has no such series, the
    /// next newer one of the same flavour is used, else the next older one.
    pub(crate) fn of_series(&mut self, series: Series, busybox: &Path) -> Result<Kernel> {
        let there = versions(
            fs::read_dir(&self.folder)
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok()),
        );
        if let Some(version) = newest_of(&there, series) {
            return self.fetched(version);
        }
        let offered = &self.archive(series.flavour.architecture())?.offered;
        let nearest = nearest(offered, series).context("the archive has no kernels")?;
        if nearest != series {
            announce(format_args!("the archive has no {series}: taking {nearest} instead"));
        }
        let version = newest_of(offered, nearest).context("the archive has no kernels")?.clone();
        self.fetch(&version, busybox)?;
        self.fetched(&version)
    }

    fn archive(&mut self, architecture: Architecture) -> Result<&Archive> {
        Ok(match self.archives.entry(architecture) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(vacant) => {
                if !apt::available() {
                    bail!("Debian's kernels come by apt, which this machine lacks; give one with --kernel-image");
                }
                announce(format_args!("looking for Debian's kernels for {architecture}"));
                let name = format!("apt-kernels-{architecture}");
                let apt = PrivateApt::of(architecture, &self.folder.with_file_name(name))?;
                apt.list(&SUITES)?;
                let names = apt.names(PREFIX)?;
                let offered = versions(names.iter().filter_map(|name| Some(name.strip_prefix(PREFIX)?.to_owned())));
                vacant.insert(Archive { apt, offered })
            }
        })
    }

    fn fetch(&mut self, version: &Version, busybox: &Path) -> Result<()> {
        let target = self.folder.join(&version.release);
        let partial = self.folder.join(format!("{}.partial", version.release));
        let _ = fs::remove_dir_all(&partial);
        let unpacked = partial.join("unpacked");
        let release = &version.release;
        let apt = &self.archive(version.flavour.architecture())?.apt;
        let packages = packages(release, &apt.names("linux-")?)?;
        apt.unpack(&packages.iter().map(String::as_str).collect::<Vec<_>>(), &unpacked)?;
        let first = |paths: [String; 2]| {
            let mut paths = paths.into_iter().map(|path| unpacked.join(path));
            paths.find(|path| path.exists()).with_context(|| format!("Debian's {release} is laid out in a new way"))
        };
        let image = first([format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")])?;
        let modules = first([format!("lib/modules/{release}/kernel"), format!("usr/lib/modules/{release}/kernel")])?;
        let modules = modules.parent().context("the folder has a parent")?;
        let own = partial.join("lib/modules").join(release);
        let arrange = || {
            fs::create_dir_all(partial.join("lib/modules"))?;
            fs::rename(&image, partial.join("vmlinuz"))?;
            fs::rename(modules, &own)?;
            fs::remove_dir_all(&unpacked)
        };
        arrange().with_context(|| format!("cannot lay out {}", partial.display()))?;
        modules::prepare(&own, busybox)?;
        // The folder is moved last, so that half a kernel is never used as a whole one.
        fs::rename(&partial, &target).with_context(|| format!("cannot move it to {}", target.display()))
    }

    fn fetched(&self, version: &Version) -> Result<Kernel> {
        let folder = self.folder.join(&version.release);
        let image = folder.join("vmlinuz");
        if !image.exists() {
            bail!("{} holds no kernel: remove it, and it is fetched anew", folder.display());
        }
        let modules = folder.join("lib/modules").join(&version.release);
        let architecture = version.flavour.architecture();
        Ok(Kernel { release: version.release.clone(), architecture, image, modules: Some(modules) })
    }
}

/// The packages of a kernel and its modules. Newer kernels are split: then the image's package is empty and depends on
/// two others, which the archive removes at different times.
fn packages(release: &str, offered: &[String]) -> Result<Vec<String>> {
    let image = format!("{PREFIX}{release}");
    let [binary, modules] = ["binary", "modules"].map(|part| format!("linux-{part}-{release}"));
    if !offered.contains(&binary) {
        return Ok(vec![image]);
    }
    if !offered.contains(&modules) {
        bail!("the archive has {binary}, but {modules} no more");
    }
    Ok(vec![binary, modules])
}

/// A kernel's release, and the numbers in it, by which it is older or newer than others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    numbers: Vec<u32>,
    flavour: Flavour,
    release: String,
}

impl Version {
    fn series(&self) -> Series {
        Series { numbers: (self.numbers[0], self.numbers[1]), flavour: self.flavour }
    }
}

/// Reads releases such as `6.12.95+deb12-cloud-amd64`; others are left out.
fn versions(releases: impl Iterator<Item = String>) -> Vec<Version> {
    let read = |release: String| {
        let stem = |flavour: Flavour| Some((flavour, release.strip_suffix(flavour.ending())?));
        let (flavour, numbers) = Flavour::ALL.into_iter().find_map(stem)?;
        let numbers = numbers.split(|c: char| !c.is_ascii_digit());
        let numbers: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
        (numbers.len() >= 2).then_some(Version { numbers, flavour, release })
    };
    releases.filter_map(read).collect()
}

fn newest_of(versions: &[Version], series: Series) -> Option<&Version> {
    versions.iter().filter(|version| version.series() == series).max_by_key(|version| &version.numbers)
}

fn nearest(versions: &[Version], series: Series) -> Option<Series> {
    let same = || versions.iter().map(Version::series).filter(|other| other.flavour == series.flavour);
    same().filter(|other| *other >= series).min().or_else(|| same().max())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &str) -> Series {
        text.parse().unwrap()
    }

    fn archive() -> Vec<Version> {
        let releases = [
            "5.10.0-30-cloud-amd64",
            "5.10.0-32-cloud-amd64",
            "6.12.9+deb12-cloud-amd64",
            "6.12.90+deb12-cloud-amd64",
            "6.12.90+deb12.1-cloud-amd64",
            "6.12.95+deb12-cloud-amd64-unsigned",
            "6.12.95+deb12-amd64",
            "6.12.94+deb12-rt-amd64",
            "6.12.96+deb12-rt-amd64-unsigned",
            "6.12.93+deb12-cloud-arm64",
            "6.12.97+deb12-arm64",
        ];
        versions(releases.into_iter().map(str::to_owned))
    }

    #[test]
    fn the_newest_of_a_series_is_taken() {
        let newest = |text| newest_of(&archive(), series(text)).map(|version| version.release.clone());
        assert_eq!(newest("5.10").as_deref(), Some("5.10.0-32-cloud-amd64"));
        assert_eq!(newest("6.12").as_deref(), Some("6.12.90+deb12.1-cloud-amd64"));
        assert_eq!(newest("6.12-rt").as_deref(), Some("6.12.94+deb12-rt-amd64"));
        assert_eq!(newest("6.12-arm64").as_deref(), Some("6.12.93+deb12-cloud-arm64"));
        assert_eq!(newest("6.1"), None);
    }

    #[test]
    fn split_kernels_need_both_halves() {
        let offered =
            ["linux-image-7.3", "linux-binary-7.3", "linux-modules-7.3", "linux-binary-7.1", "linux-image-6.1"];
        let packages = |release| packages(release, &offered.map(str::to_owned)).map_err(|error| error.to_string());
        assert_eq!(packages("6.1").unwrap(), ["linux-image-6.1"]);
        assert_eq!(packages("7.3").unwrap(), ["linux-binary-7.3", "linux-modules-7.3"]);
        assert_eq!(packages("7.1").unwrap_err(), "the archive has linux-binary-7.1, but linux-modules-7.1 no more");
    }

    #[test]
    fn a_series_that_is_not_there_has_a_neighbour() {
        let nearest = |text| nearest(&archive(), series(text)).map(|series| series.to_string());
        assert_eq!(nearest("6.12").as_deref(), Some("6.12"));
        assert_eq!(nearest("6.1").as_deref(), Some("6.12"));
        assert_eq!(nearest("7.3").as_deref(), Some("6.12"));
        assert_eq!(nearest("5.10-rt").as_deref(), Some("6.12-rt"));
        assert_eq!(nearest("5.10-arm64").as_deref(), Some("6.12-arm64"));
        assert_eq!(super::nearest(&[], series("6.1")), None);
        assert!("six".parse::<Series>().is_err() && "6.12-cloud".parse::<Series>().is_err());
    }

    #[test]
    fn a_version_has_a_series_on_each_architecture() {
        let on = |text, architecture| series(text).on(architecture).to_string();
        assert_eq!(on("6.12", Architecture::Aarch64), "6.12-arm64");
        assert_eq!(on("6.12-arm64", Architecture::X86_64), "6.12");
        assert_eq!(on("6.12-rt", Architecture::X86_64), "6.12-rt");
    }
}
