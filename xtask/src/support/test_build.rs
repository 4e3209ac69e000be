//! The executables that tests need, from one build.
//!
//! Cargo gives a dependency the features that the packages of one command ask for. With one command for all packages,
//! each dependency is built once.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::cross::{Cross, STATIC};
use super::{cargo, process};

/// The package of the tests that need a kernel.
pub(crate) const KERNEL_TESTS: &str = "tests";

/// What to build beside the binaries that tests start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Targets<'t> {
    /// All tests of all packages, their unit tests as well.
    All,
    /// Integration tests alone.
    Integration,
    /// The integration tests of these names.
    Named(&'t [&'t str]),
}

impl Targets<'_> {
    /// Whether there is an integration test of this name.
    pub(crate) fn has(name: &str) -> bool {
        let manifest = fs::read_to_string(cargo::root().join(KERNEL_TESTS).join("Cargo.toml")).unwrap_or_default();
        manifest.contains(&format!("[[test]]\nname = \"{name}\"\n"))
    }
}

/// The executables of a build.
pub(crate) struct TestBuild(Vec<Executable>);

/// An executable that cargo built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    /// The name of its target, such as `droptrace`.
    pub(crate) name: String,
    /// `lib`, `bin` or `test`.
    kind: String,
    /// Whether it runs tests.
    tests: bool,
    /// The folder of its package.
    package: PathBuf,
    pub(crate) path: PathBuf,
}

impl TestBuild {
    /// Builds the executables in the profile `dev`; for another architecture as static programs, which need no libraries of
    /// the machine that they run on.
    pub(crate) fn make(targets: Targets<'_>, cross: Option<&Cross>) -> Result<Self> {
        let mut command = cargo::cargo_for_tests();
        command.args(["build", "--workspace", "--message-format=json-render-diagnostics"]);
        // Named tests are those of a machine, which lacks the operator's program.
        let of_operator = (!matches!(targets, Targets::Named(_))).then_some("droptrace-fleet");
        for binary in ["droptrace", "vm-init"].into_iter().chain(of_operator) {
            command.args(["--bin", binary]);
        }
        match targets {
            Targets::All => _ = command.arg("--tests"),
            Targets::Integration => _ = command.args(["--test", "*"]),
            Targets::Named(names) => names.iter().for_each(|name| _ = command.args(["--test", name])),
        }
        if let Some(cross) = cross {
            cargo::set_rustflags(&mut command, &STATIC.map(OsString::from))?;
            cross.direct(&mut command);
        }
        // The output is read before the status is checked: on failure cargo's own messages on stderr have the cause.
        let build = Self(process::output(&mut command)?.lines().filter_map(Executable::parse).collect());
        ensure!(build.0.iter().any(|executable| executable.tests), "cargo built no test");
        Ok(build)
    }

    /// A binary that tests start.
    pub(crate) fn binary(&self, name: &str) -> Result<&Path> {
        let found = self.0.iter().find(|executable| !executable.tests && executable.name == name);
        found.map(|binary| &*binary.path).with_context(|| format!("cargo built no executable of the name {name}"))
    }

    /// The tests of other packages than [`KERNEL_TESTS`], which need no privileges.
    pub(crate) fn host_tests(&self) -> impl Iterator<Item = &Executable> {
        self.0.iter().filter(|executable| executable.tests && !executable.of_kernel_tests())
    }

    /// All tests of [`KERNEL_TESTS`].
    pub(crate) fn kernel_tests(&self) -> impl Iterator<Item = &Executable> {
        self.0.iter().filter(|executable| executable.tests && executable.of_kernel_tests())
    }

    /// Its integration tests, which an emulated machine runs.
    pub(crate) fn machine_tests(&self) -> impl Iterator<Item = &Executable> {
        self.kernel_tests().filter(|executable| executable.kind == "test")
    }
}

impl Executable {
    /// Reads one of cargo's messages. Those about anything else are nothing.
    fn parse(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        let target = &message["target"];
        Some(Self {
            path: message["executable"].as_str()?.into(),
            name: target["name"].as_str()?.to_owned(),
            kind: target["kind"][0].as_str()?.to_owned(),
            tests: message["profile"]["test"].as_bool()?,
            package: Path::new(message["manifest_path"].as_str()?).parent()?.to_owned(),
        })
    }

    fn of_kernel_tests(&self) -> bool {
        self.package == cargo::root().join(KERNEL_TESTS)
    }

    /// The command that runs it as cargo does: in the folder of its package.
    pub(crate) fn command(&self, runner: Option<&[String]>) -> Command {
        let mut command = match runner {
            Some([program, arguments @ ..]) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.path);
                command
            }
            _ => Command::new(&self.path),
        };
        command.current_dir(&self.package);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(package: &str, kind: &str, name: &str, test: bool) -> String {
        let manifest = cargo::root().join(package).join("Cargo.toml");
        serde_json::json!({
            "reason": "compiler-artifact",
            "manifest_path": manifest,
            "target": { "name": name, "kind": [kind] },
            "profile": { "test": test },
            "executable": format!("/t/{name}"),
        })
        .to_string()
    }

    fn build() -> TestBuild {
        let messages = [
            message("tracer", "bin", "droptrace", false),
            message("tracer", "bin", "droptrace", true),
            message("tracer", "test", "options", true),
            message("tests", "lib", "tests", true),
            message("tests", "test", "options", true),
            message("tests", "bin", "vm-init", false),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            "not JSON".to_owned(),
            r#"{"reason":"compiler-artifact","target":{"name":"x","kind":["lib"]},"executable":null}"#.to_owned(),
        ];
        TestBuild(messages.iter().filter_map(|line| Executable::parse(line)).collect())
    }

    fn names<'b>(of: impl Iterator<Item = &'b Executable>) -> Vec<&'b str> {
        of.map(|executable| &*executable.name).collect()
    }

    #[test]
    fn tests_are_distinguished_by_package_and_kind() {
        let build = build();
        assert_eq!(names(build.host_tests()), ["droptrace", "options"]);
        assert_eq!(names(build.kernel_tests()), ["tests", "options"]);
        assert_eq!(names(build.machine_tests()), ["options"]);
    }

    #[test]
    fn a_binary_is_not_its_unit_tests() {
        let build = build();
        assert_eq!(build.binary("vm-init").unwrap(), Path::new("/t/vm-init"));
        assert!(build.binary("options").is_err());
        assert!(build.binary("absent").is_err());
    }

    #[test]
    fn tests_are_known_by_their_names() {
        assert!(Targets::has("drops") && Targets::has("storms"));
        assert!(!Targets::has("tests") && !Targets::has("droptrace") && !Targets::has(""));
    }

    #[test]
    fn a_test_runs_in_the_folder_of_its_package() {
        let build = build();
        let test = build.machine_tests().next().unwrap();
        let runner = ["sudo".to_owned(), "--".to_owned()];
        assert_eq!(process::line(&test.command(Some(&runner))), "sudo -- /t/options");
        assert_eq!(process::line(&test.command(None)), "/t/options");
        assert_eq!(test.command(None).get_current_dir(), Some(&*cargo::root().join("tests")));
    }
}
