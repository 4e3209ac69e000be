//! Explains why a generic netlink family is absent.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::domain::unavailable::Unavailable;
use crate::kernel::modules::{self, Built, Loadable};

/// The conditions that decide whether a family is present.
#[derive(Debug)]
pub(crate) struct Surroundings {
    aliases: PathBuf,
    /// The module that provides the family, according to its alias. It is `None` if no module does.
    module: io::Result<Option<String>>,
    loadable: Loadable,
    /// How the kernel was built with [`OPTION`]; `None` if that is unknown, or if the family is another one.
    built: Option<Built>,
    namespace: Namespace,
}

/// The option with which a kernel has the drop monitor (`net/Kconfig`).
const OPTION: &str = "CONFIG_NET_DROP_MONITOR";

/// Settings of the core of the network, as this namespace shows them.
const CORE: &str = "/proc/sys/net/core";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    First,
    Other,
    Unknown,
}

impl Surroundings {
    /// Examines the modules of this kernel release, and the network namespace.
    pub(crate) fn look(family: &str, release: &str) -> Self {
        let aliases = Path::new("/lib/modules").join(release).join("modules.alias");
        let module = File::open(&aliases).and_then(|file| module_of(family, BufReader::new(file)));
        let loadable = Loadable::look();
        let built = usual_module(family).and_then(|_| modules::built(OPTION, release));
        Self { aliases, module, loadable, built, namespace: namespace(Path::new(CORE)) }
    }
}

/// Whether this process is in the first network namespace, which is the host's; `None` if that is unknown.
pub(crate) fn is_in_first_namespace() -> Option<bool> {
    match namespace(Path::new(CORE)) {
        Namespace::First => Some(true),
        Namespace::Other => Some(false),
        Namespace::Unknown => None,
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
pub(crate) fn explain(family: &str, surroundings: &Surroundings) -> Unavailable {
    if family.eq_ignore_ascii_case("irda") {
        return Unavailable::because(format_args!("family {family}: not registered; removed from Linux in 4.17"));
    }
    let (module, remedy) = module(family, surroundings);
    let mut remedies: Vec<_> = remedy.into_iter().collect();
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

/// Whether a module provides the family, and what would help.
fn module(family: &str, surroundings: &Surroundings) -> (String, Option<String>) {
    let Surroundings { aliases, module, loadable, built, .. } = surroundings;
    let path = aliases.display();
    let usual = usual_module(family);
    let other_kernel = usual.map(|_| format!("use a kernel built with {OPTION}"));
    match (module, built) {
        (_, Some(Built::No)) => (format!("this kernel was built without {OPTION}"), other_kernel),
        _ if *loadable == Loadable::No => {
            ("this kernel cannot load modules: /proc/modules does not exist".into(), other_kernel)
        }
        (Ok(Some(module)), _) => {
            let cause = format!("{path} names the module {module} for it, which the kernel did not load by itself");
            (cause, Some(modprobe(module)))
        }
        (Ok(None), Some(Built::Module)) => (
            format!("{path} names no module that provides it, though this kernel was built with {OPTION}=m"),
            Some("install the package with the rest of this kernel's modules".into()),
        ),
        (Ok(None), _) => (format!("{path} names no module that provides it"), other_kernel),
        (Err(error), _) => (format!("whether a module provides it is unknown: {path}: {error}"), usual.map(modprobe)),
    }
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

    fn absent(module: io::Result<Option<String>>) -> Surroundings {
        let aliases = "/lib/modules/6.1/modules.alias".into();
        Surroundings { aliases, module, loadable: Loadable::Yes, built: None, namespace: Namespace::First }
    }

    fn explained(module: io::Result<Option<String>>, namespace: Namespace) -> String {
        explain("NET_DM", &Surroundings { namespace, ..absent(module) }).to_string()
    }

    #[test]
    fn modprobe_is_the_remedy_only_where_it_can_help() {
        let remedy_of = |surroundings| explain("NET_DM", &surroundings).remedy;
        let other_kernel = Some("use a kernel built with CONFIG_NET_DROP_MONITOR".to_owned());
        let unknown = || absent(Err(io::ErrorKind::NotFound.into()));
        assert_eq!(remedy_of(Surroundings { loadable: Loadable::No, ..unknown() }), other_kernel);
        assert_eq!(remedy_of(Surroundings { built: Some(Built::No), ..unknown() }), other_kernel);
        assert_eq!(remedy_of(absent(Ok(None))), other_kernel);
        let with_module = Surroundings { built: Some(Built::Module), ..absent(Ok(None)) };
        assert!(remedy_of(with_module).unwrap().starts_with("install the package"));
        let modprobe = Some("run `modprobe drop_monitor` as root on the host".to_owned());
        assert_eq!(remedy_of(unknown()), modprobe);
        assert_eq!(remedy_of(Surroundings { built: Some(Built::Module), ..unknown() }), modprobe);
        let other = Surroundings { loadable: Loadable::No, ..unknown() };
        let other = explain("team", &other);
        assert!(other.cause.contains("cannot load modules") && other.remedy.is_none(), "{other}");
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
