//! Explains why a generic netlink family is absent.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::domain::unavailable::Unavailable;

/// The conditions that decide whether a family is present.
#[derive(Debug)]
pub struct Surroundings {
    aliases: PathBuf,
    /// The module that provides the family, according to its alias. It is `None` if no module does.
    module: io::Result<Option<String>>,
    namespace: Namespace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    First,
    Other,
    Unknown,
}

impl Surroundings {
    /// Examines the modules of this kernel release, and the network namespace.
    pub fn look(family: &str, release: &str) -> Self {
        let aliases = Path::new("/lib/modules").join(release).join("modules.alias");
        let module = File::open(&aliases).and_then(|file| module_of(family, BufReader::new(file)));
        Self { aliases, module, namespace: namespace(Path::new("/proc/sys/net/core")) }
    }
}

/// Finds out which network namespace this is. Most settings of the core exist in the first one only
/// (`sysctl_core_init`, `net/core/sysctl_net_core.c`). A comparison with process 1 would need capabilities, and shows
/// nothing in a container.
fn namespace(core: &Path) -> Namespace {
    match (core.join("dev_weight").exists(), core.join("somaxconn").exists()) {
        (true, _) => Namespace::First,
        (false, true) => Namespace::Other,
        (false, false) => Namespace::Unknown,
    }
}

/// Finds the module with `MODULE_ALIAS_GENL_FAMILY` (`include/net/genetlink.h`). Like modprobe, it treats `-` and `_`
/// as equal.
fn module_of(family: &str, aliases: impl BufRead) -> io::Result<Option<String>> {
    let same = |text: &str| text.replace('-', "_");
    let wanted = same(&format!("net-pf-16-proto-16-family-{family}"));
    for line in aliases.lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        if words.next() == Some("alias") && words.next().is_some_and(|alias| same(alias) == wanted) {
            return Ok(words.next().map(str::to_owned));
        }
    }
    Ok(None)
}

/// The possible causes, one on each line, and the remedies.
pub fn explain(family: &str, surroundings: &Surroundings) -> Unavailable {
    if family.eq_ignore_ascii_case("irda") {
        return Unavailable::because(format_args!("family {family}: not registered; removed from Linux in 4.17"));
    }
    let path = surroundings.aliases.display();
    let mut remedies = Vec::new();
    let module = match &surroundings.module {
        Ok(Some(module)) => {
            remedies.push(modprobe(module));
            format!("{path} names the module {module} for it, which the kernel did not load by itself")
        }
        Ok(None) => format!("{path} names no module that provides it"),
        Err(error) => {
            remedies.extend(usual_module(family).map(modprobe));
            format!("whether a module provides it is unknown: {path}: {error}")
        }
    };
    let namespace = match surroundings.namespace {
        Namespace::First => "this is the first network namespace, so that is not the cause",
        Namespace::Other => {
            remedies.push("run droptrace in the first network namespace".into());
            "this is not the first network namespace, and many families answer in the first one only"
        }
        Namespace::Unknown => "whether this is the first network namespace is unknown; many families answer there only",
    };
    let cause = format!("family {family}: not registered here\n  module: {module}\n  namespace: {namespace}");
    Unavailable { cause, remedy: (!remedies.is_empty()).then(|| remedies.join(", and ")) }
}

fn modprobe(module: &str) -> String {
    format!("run `modprobe {module}` as root on the host")
}

/// The module of the drop monitor (`net/core/Makefile`), for hosts where a container does not show the modules.
fn usual_module(family: &str) -> Option<&'static str> {
    (family == "NET_DM").then_some("drop_monitor")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIASES: &[u8] = b"# Aliases extracted from modules themselves.
alias net-pf-16-proto-16-family-NET_DM drop_monitor
alias net-pf-16-proto-16-family-team team
alias cut
";

    #[test]
    fn the_module_is_found_by_its_alias() {
        let module = |family| module_of(family, ALIASES).unwrap();
        assert_eq!(module("NET_DM").as_deref(), Some("drop_monitor"));
        assert_eq!(module("NET-DM").as_deref(), Some("drop_monitor"));
        assert_eq!((module("NET"), module("cut")), (None, None));
    }

    fn explained(module: io::Result<Option<String>>, namespace: Namespace) -> String {
        let aliases = "/lib/modules/6.1/modules.alias".into();
        explain("NET_DM", &Surroundings { aliases, module, namespace }).to_string()
    }

    #[test]
    fn each_reason_of_absence_is_explained() {
        insta::assert_snapshot!(explained(Ok(Some("drop_monitor".into())), Namespace::Other));
        insta::assert_snapshot!(explained(Ok(None), Namespace::First));
        insta::assert_snapshot!(explained(Err(io::ErrorKind::NotFound.into()), Namespace::Unknown));
        let surroundings = Surroundings::look("IrDA", "6.1");
        assert_eq!(
            explain("IrDA", &surroundings).to_string(),
            "family IrDA: not registered; removed from Linux in 4.17"
        );
    }

    #[test]
    fn network_namespace_is_recognized_by_its_settings() {
        assert_eq!(namespace(Path::new("/nowhere")), Namespace::Unknown);
        assert_ne!(namespace(Path::new("/proc/sys/net/core")), Namespace::Unknown);
    }
}
