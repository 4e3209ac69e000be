//! Modules that Debian's kernels come without, built against Debian's headers of the same kernel: one of our own in
//! `tests/modules`, and those of the kernel's source that Debian leaves out.
//!
//! They are put beside the kernel's own, in `lib/modules/RELEASE/extra`, and loaded by name as those are.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::kernels::{Kernel, SUITES, Series};
use super::modules;
use crate::support::apt::{self, PrivateApt};
use crate::support::cargo;
use crate::support::process::{self, announce};

/// The series that they are built for: the compiler of this machine's release need not be able to build others.
pub(super) const SERIES: Series = Series::cloud(6, 1);

/// One module, and where its source is.
struct Module {
    name: &'static str,
    source: Source,
    /// Settings of the kernel's that its makefile asks for.
    settings: &'static [&'static str],
}

enum Source {
    /// A folder of ours.
    Own(&'static str),
    /// A folder of the kernel's source.
    Kernel(&'static str),
}

const MODULES: [Module; 2] = [
    Module { name: "irda", source: Source::Own("tests/modules/irda"), settings: &[] },
    Module { name: "netdevsim", source: Source::Kernel("drivers/net/netdevsim"), settings: &["CONFIG_NETDEVSIM=m"] },
];

/// Builds all of them for a kernel and puts them beside its own; the names of those that could not be built, and why.
/// `folder` is where what is fetched lies.
pub(super) fn add(kernel: &Kernel, folder: &Path, busybox: &Path) -> Vec<(&'static str, String)> {
    let headers = match Headers::of(kernel, folder) {
        Ok(headers) => headers,
        Err(error) => {
            let reason = format!("{error:#}");
            return MODULES.iter().map(|module| (module.name, reason.clone())).collect();
        }
    };
    let add = |module: &Module| headers.build(module).and_then(|file| install(kernel, module.name, &file, busybox));
    MODULES.iter().filter_map(|module| Some((module.name, format!("{:#}", add(module).err()?)))).collect()
}

/// Puts a built module where modules are looked for by name.
fn install(kernel: &Kernel, name: &str, file: &Path, busybox: &Path) -> Result<()> {
    let modules = kernel.modules.as_deref().context("this kernel comes without modules")?;
    let target = modules.join(modules::EXTRA).join(format!("{name}.ko"));
    target
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .with_context(|| format!("cannot create {}", target.display()))?;
    let mut strip = Command::new("strip");
    process::run(strip.args(["--strip-debug", "-o"]).args([&target, file]))?;
    modules::list(modules, busybox)
}

/// What modules for one kernel are built against.
struct Headers {
    /// Where lists of packages are.
    apt: PathBuf,
    /// Where packages are unpacked.
    root: PathBuf,
    release: String,
}

impl Headers {
    /// Fetches Debian's headers of exactly this kernel, unless they are there.
    fn of(kernel: &Kernel, folder: &Path) -> Result<Self> {
        for program in ["make", "gcc", "strip"] {
            process::find_program(program)
                .with_context(|| format!("modules are built with {program}, which is missing"))?;
        }
        let release = kernel.release.clone();
        let headers =
            Self { apt: folder.join("apt-kernels-x86_64"), root: folder.join("headers").join(&release), release };
        if !headers.build_folder().exists() {
            headers.fetch()?;
        }
        Ok(headers)
    }

    fn archive(&self) -> Result<PrivateApt> {
        if !apt::available() {
            bail!("Debian's kernel headers come by apt, which this machine lacks");
        }
        let apt = PrivateApt::new(&self.apt)?;
        apt.list(&SUITES)?;
        Ok(apt)
    }

    fn package(&self) -> String {
        format!("linux-headers-{}", self.release)
    }

    fn fetch(&self) -> Result<()> {
        let (apt, package) = (self.archive()?, self.package());
        let depends = apt.field(&package, "Depends")?;
        let packages: Vec<&str> = [package.as_str()].into_iter().chain(parts_of_headers(&depends)).collect();
        let partial = self.root.with_file_name(format!("{}.partial", self.release));
        let _ = fs::remove_dir_all(&partial);
        apt.unpack(&packages, &partial)?;
        mend(&partial.join("usr/src").join(&package), &self.root)?;
        // Last, so that half of them is never taken for all.
        fs::rename(&partial, &self.root).with_context(|| format!("cannot move them to {}", self.root.display()))
    }

    /// The arguments of `make -C`.
    fn build_folder(&self) -> PathBuf {
        self.root.join("usr/src").join(self.package())
    }

    /// Builds a module; its file. What is there already and not older than its source is not built again.
    fn build(&self, module: &Module) -> Result<PathBuf> {
        let source = match module.source {
            Source::Own(folder) => cargo::root().join(folder),
            Source::Kernel(folder) => self.kernel_source(folder)?,
        };
        let folder = self.root.join("built").join(module.name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        process::run(Command::new("cp").args(["-r", "-p"]).arg(source.join(".")).arg(&folder))?;
        announce(format_args!("building the module {} for {}", module.name, self.release));
        let mut within = OsString::from("M=");
        within.push(&folder);
        let mut make = Command::new("make");
        make.arg("-s").arg("-C").arg(self.build_folder()).arg(within).args(["CC=gcc", "modules"]).args(module.settings);
        process::run(make.stdout(io::stderr()))?;
        Ok(folder.join(format!("{}.ko", module.name)))
    }

    /// A folder of the kernel's source of the same version, fetched unless it is there.
    fn kernel_source(&self, folder: &str) -> Result<PathBuf> {
        let target = self.root.join("source").join(folder);
        if target.exists() {
            return Ok(target);
        }
        let apt = self.archive()?;
        let package = format!("linux-source-{}", series(&self.release));
        let version = apt.field(&self.package(), "Version")?;
        let unpacked = self.root.join("source-package");
        apt.unpack(&[&format!("{package}={version}")], &unpacked)?;
        let partial = self.root.join("source-partial");
        fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
        announce(format_args!("taking {folder} from the kernel's source"));
        let mut tar = Command::new("tar");
        tar.arg("-xJf").arg(unpacked.join(format!("usr/src/{package}.tar.xz"))).arg("-C").arg(&partial);
        process::run(tar.arg("--strip-components=1").arg(format!("{package}/{folder}")))?;
        let arrange = || {
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::rename(partial.join(folder), &target)?;
            fs::remove_dir_all(&partial)?;
            fs::remove_dir_all(&unpacked)
        };
        arrange().with_context(|| format!("cannot lay out {}", target.display()))?;
        Ok(target)
    }
}

/// 6.1 of 6.1.0-50-cloud-amd64, as packages of the source are named.
fn series(release: &str) -> &str {
    release.match_indices('.').nth(1).map_or(release, |(end, _)| &release[..end])
}

/// Of what a package of headers depends on, what is needed to build and is no compiler.
fn parts_of_headers(depends: &str) -> impl Iterator<Item = &str> {
    let names = depends.split(',').filter_map(|package| package.split_whitespace().next());
    names.filter(|name| ["linux-headers-", "linux-kbuild-"].iter().any(|prefix| name.starts_with(prefix)))
}

/// Has a folder of headers look for the others below `root`, where they are going to lie, instead of in `/usr`.
fn mend(headers: &Path, root: &Path) -> Result<()> {
    let makefile = headers.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| format!("cannot read {}", makefile.display()))?;
    fs::write(&makefile, below(&text, root)).with_context(|| format!("cannot write {}", makefile.display()))
}

fn below(makefile: &str, root: &Path) -> String {
    makefile.replace("/usr/", &format!("{}/usr/", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_made_of_several_packages() {
        let depends =
            "linux-headers-6.1.0-50-common (= 6.1.176-1), linux-kbuild-6.1 (>= 6.1.176-1), linux-compiler-gcc-12-x86";
        assert_eq!(
            parts_of_headers(depends).collect::<Vec<_>>(),
            ["linux-headers-6.1.0-50-common", "linux-kbuild-6.1"]
        );
    }

    #[test]
    fn the_source_is_named_by_its_series() {
        assert_eq!(series("6.1.0-50-cloud-amd64"), "6.1");
        assert_eq!(series("7.3"), "7.3");
    }

    #[test]
    fn headers_find_one_another_in_their_folder() {
        let makefile = "include /usr/src/linux-headers-6.1.0-50-common/Makefile\n";
        let mended = "include /a/usr/src/linux-headers-6.1.0-50-common/Makefile\n";
        assert_eq!(below(makefile, Path::new("/a")), mended);
    }
}
