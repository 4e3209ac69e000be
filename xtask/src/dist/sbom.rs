//! Bills of materials: the packages that each program consists of, as CycloneDX.
//!
//! `cargo-cyclonedx` writes them beside the manifests of all members, with the features that the whole workspace asks for. What
//! is kept are the packages of the program alone, without the folders of this machine. Two runs on a commit give the same bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::layout::time_of_commit;
use super::{PACKAGES, PLAIN, PROGRAMS, Steps, write};
use crate::support::architecture::Architecture;
use crate::support::process::{self, announce};
use crate::support::{cargo, paths, python};

/// The tool that writes them, and its version.
const TOOL: [&str; 2] = ["cargo-cyclonedx", "0.5.9"];
/// The version of CycloneDX.
const FORMAT: &str = "1.5";
/// The Python package with CycloneDX's schemas.
const SCHEMAS: &str = "cyclonedx-python-lib[json-validation]==11.12.0";
/// The program that checks a file against the schema of its version.
const CHECK: &str = "xtask/src/dist/sbom.py";
/// The end of the names of files.
const ENDING: &str = ".cdx.json";

/// Writes the bill of each program into the folder of this target's programs; returns their names in `folder`, or the reason why
/// they cannot be made here.
pub(super) fn build(folder: &Path, programs: &Path, target: Architecture) -> Result<Result<[PathBuf; 2], String>> {
    let tool = match set_up() {
        Ok(tool) => tool,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    let members = members()?;
    remove(&members)?;
    generate(&tool, target)?;
    let files = PROGRAMS.map(|name| programs.join(format!("{name}{ENDING}")));
    for ((package, name), file) in PACKAGES.into_iter().zip(PROGRAMS).zip(&files) {
        let made = members.iter().map(|member| member.join(format!("{name}_bin{ENDING}"))).find(|file| file.exists());
        let text = fs::read_to_string(made.with_context(|| format!("{} made no file for {name}", TOOL[0]))?)?;
        write(&folder.join(file), reduced(&text, &packages(package, target)?)?.as_bytes(), PLAIN)?;
    }
    remove(&members)?;
    Ok(Ok(files))
}

/// Checks the files against CycloneDX's schema.
pub(super) fn check(folder: &Path, files: &[PathBuf], steps: &mut Steps) -> Result<()> {
    let environment = cargo::root().join("target/sbom/python");
    match python::set_up(&environment, &[SCHEMAS], &["cyclonedx.validation.json", "jsonschema"], &[]) {
        Ok(python) => {
            let mut command = Command::new(python);
            process::output(command.current_dir(folder).arg(cargo::root().join(CHECK)).arg(FORMAT).args(files))?;
            announce(format_args!("{} bills of materials fit CycloneDX {FORMAT}", files.len()));
        }
        Err(error) => steps.skip("CycloneDX's schema", format_args!("{error:#}")),
    }
    Ok(())
}

/// Installs the tool into the target folder, unless it is there.
fn set_up() -> Result<PathBuf> {
    let [name, version] = TOOL;
    let folder = cargo::root().join("target/sbom");
    let tool = folder.join("bin").join(name);
    let known = process::output(Command::new(&tool).args(["cyclonedx", "--version"])).unwrap_or_default();
    if !known.trim_end().ends_with(version) {
        announce(format_args!("installing {name} {version} into {}", folder.display()));
        let mut command = cargo::cargo();
        command.args(["install", name, "--version", version, "--locked", "--debug", "--root"]).arg(&folder);
        process::run(&mut command)?;
    }
    Ok(tool)
}

fn generate(tool: &Path, target: Architecture) -> Result<()> {
    let mut command = Command::new(tool);
    command.current_dir(cargo::root());
    command.args(["cyclonedx", "--format", "json", "--spec-version", FORMAT, "--describe", "binaries"]);
    command.args(["--no-build-deps", "-qq", "--target", target.target()]);
    // The time is in the file; with it, there is no random serial number.
    command.env("SOURCE_DATE_EPOCH", time_of_commit().unwrap_or_else(|| "0".to_owned()));
    process::run(&mut command)
}

/// The folders of the members of the workspace.
fn members() -> Result<Vec<PathBuf>> {
    let metadata = process::output(cargo::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata wrote no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let manifests = packages.iter().filter_map(|package| package["manifest_path"].as_str());
    Ok(manifests.filter_map(|manifest| Some(Path::new(manifest).parent()?.to_owned())).collect())
}

/// Removes what the tool wrote beside the manifests.
fn remove(members: &[PathBuf]) -> Result<()> {
    for member in members {
        for file in super::layout::files(member)? {
            if file.to_string_lossy().ends_with(ENDING) {
                fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
            }
        }
    }
    Ok(())
}

/// The names and versions of a program's packages, itself included.
fn packages(package: &str, target: Architecture) -> Result<BTreeSet<(String, String)>> {
    let options = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--target"];
    let text = process::output(cargo::cargo().args(options).args([target.target(), "--package", package]))?;
    let mut packages = BTreeSet::new();
    for line in text.lines() {
        // NAME vVERSION, and for packages of the workspace their folder.
        let (name, rest) = line.split_once(" v").with_context(|| format!("cargo tree names no version: {line}"))?;
        let version = rest.split(' ').next().unwrap_or(rest);
        packages.insert((name.to_owned(), version.to_owned()));
    }
    Ok(packages)
}

/// The bill with these packages alone, and without the folder of the workspace.
fn reduced(text: &str, packages: &BTreeSet<(String, String)>) -> Result<String> {
    let root = cargo::root().to_str().context("the workspace's folder is no UTF-8")?;
    let mut bill: Value = serde_json::from_str(&text.replace(root, "/remapped/droptrace")).context("no JSON")?;
    let mut kept: BTreeSet<String> =
        bill["metadata"]["component"]["bom-ref"].as_str().map(str::to_owned).into_iter().collect();
    let mut found = 0;
    retain(&mut bill["components"], |component| {
        let field = |name: &str| component[name].as_str().unwrap_or_default().to_owned();
        let is_part = packages.contains(&(field("name"), field("version")));
        if is_part {
            kept.insert(field("bom-ref"));
            found += 1;
        }
        is_part
    })?;
    // The program's own package is none of the components.
    ensure!(found + 1 == packages.len(), "{found} components, and {} packages by `cargo tree`", packages.len());
    let is_kept = |reference: &Value| reference.as_str().is_some_and(|reference| kept.contains(reference));
    retain(&mut bill["dependencies"], |it| is_kept(&it["ref"]))?;
    for dependency in bill["dependencies"].as_array_mut().into_iter().flatten() {
        if let Some(Value::Array(on)) = dependency.get_mut("dependsOn") {
            on.retain(is_kept);
        }
    }
    if bill.get("serialNumber").is_some() {
        bail!("the bill has a random serial number");
    }
    let text = serde_json::to_string_pretty(&bill)? + "\n";
    paths::check(text.as_bytes(), &paths::of_this_machine(&[]))?;
    Ok(text)
}

fn retain(list: &mut Value, keep: impl FnMut(&Value) -> bool) -> Result<()> {
    list.as_array_mut().context("a bill without a list")?.retain(keep);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        let reference = |name: &str| format!("path+file://{}/{name}#1.0.0", cargo::root().display());
        let component = |name: &str| json!({ "name": name, "version": "1.0.0", "bom-ref": reference(name) });
        json!({
            "metadata": { "component": component("program") },
            "components": [component("part"), component("other")],
            "dependencies": [
                { "ref": reference("program"), "dependsOn": [reference("part"), reference("other")] },
                { "ref": reference("part") },
                { "ref": reference("other") },
            ],
        })
    }

    fn of(names: &[&str]) -> BTreeSet<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), "1.0.0".to_owned())).collect()
    }

    #[test]
    fn a_bill_has_the_packages_of_its_program_alone() {
        let bill = reduced(&sample().to_string(), &of(&["program", "part"])).unwrap();
        assert!(bill.contains("path+file:///remapped/droptrace/part#1.0.0") && !bill.contains("other"), "{bill}");
    }

    #[test]
    fn a_package_that_is_missing_or_a_random_number_is_an_error() {
        let error = reduced(&sample().to_string(), &of(&["program", "part", "absent"])).unwrap_err();
        assert_eq!(error.to_string(), "1 components, and 3 packages by `cargo tree`");
        let mut random = sample();
        random["serialNumber"] = json!("urn:uuid:1");
        assert!(reduced(&random.to_string(), &of(&["program", "part"])).is_err());
    }

    #[test]
    fn two_runs_give_the_same_bills_which_fit_the_schema() {
        let is_here = cargo::root().join("target/sbom/bin").join(TOOL[0]).exists();
        if !is_here {
            // This message bypasses libtest, which hides the output of a test that passes.
            let reason = "`cargo xtask dist` installs cargo-cyclonedx";
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "\nSKIPPED two_runs_give_the_same_bills_which_fit_the_schema: {reason}").unwrap();
            return;
        }
        let folder = std::env::temp_dir().join(format!("xtask-sbom-{}", std::process::id()));
        let made = ["one", "two"].map(|name| {
            let files = build(&folder, Path::new(name), Architecture::X86_64).unwrap().unwrap();
            files.map(|file| fs::read_to_string(folder.join(file)).unwrap())
        });
        // The shorter bill: the check of a long one takes most of a minute.
        let short = Path::new("one").join(format!("{}{ENDING}", PROGRAMS[1]));
        check(&folder, &[short], &mut Steps::default()).unwrap();
        assert_eq!(made[0], made[1]);
        build(&folder, Path::new("arm"), Architecture::Aarch64).unwrap().unwrap();
        assert!(made[0][0].contains("pkg:cargo/aya@") && !made[0][1].contains("pkg:cargo/aya@"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn packages_are_those_of_the_program() {
        let names = |package| -> BTreeSet<String> {
            packages(package, Architecture::X86_64).unwrap().into_iter().map(|(name, _)| name).collect()
        };
        let (host, fleet) = (names("tracer"), names("droptrace-fleet"));
        assert!(host.contains("tracer") && host.contains("aya") && host.contains("droptrace-base"));
        assert!(fleet.contains("droptrace-fleet") && !fleet.contains("aya") && !fleet.contains("tests"));
    }
}
