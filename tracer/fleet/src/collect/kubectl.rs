//! Asks the pods of a `DaemonSet` through kubectl.

use std::ffi::OsString;
use std::sync::atomic::AtomicBool;

use droptrace_base::outside::printable;

use super::ask::Ask;
use super::child::{Bounds, End, RunError, run};
use super::said::said;

/// The largest list of pods in bytes: some hundred thousand pods.
const MAX_LIST: u64 = 16 << 20;

/// A pod on each line: its name, and the node that it runs on.
const COLUMNS: &str = r#"jsonpath={range .items[*]}{.metadata.name}{" "}{.spec.nodeName}{"\n"}{end}"#;

/// How pods are asked through kubectl.
#[derive(Clone, Debug)]
pub struct Kubectl {
    /// The namespace of the pods.
    pub namespace: String,
    /// The labels of the pods, as `kubectl --selector` takes them.
    pub selector: String,
    /// The container.
    pub container: String,
    /// Arguments before the command of kubectl, such as `--context=prod`.
    pub options: Vec<String>,
}

/// The error for a list of pods.
#[derive(Debug, thiserror::Error)]
pub enum NoPods {
    /// kubectl cannot be started.
    #[error("cannot run kubectl")]
    Start(#[source] RunError),
    /// kubectl failed.
    #[error("kubectl cannot list the pods: {0}")]
    Failed(String),
    /// kubectl did not end in time.
    #[error("kubectl did not list the pods in {} s; see --timeout", .0.as_secs_f64())]
    Late(std::time::Duration),
    /// The list is too long.
    #[error("the list of pods is longer than {MAX_LIST} bytes")]
    Flood,
    /// This process is to end.
    #[error("interrupted")]
    Stopped,
    /// A line of the list is not a pod.
    #[error("kubectl's list of pods has the line {:?}", printable(.0))]
    Line(String),
    /// There are no pods.
    #[error("no pod runs in the namespace {namespace} with the labels {selector}: see --namespace and --selector")]
    Nothing {
        /// The namespace.
        namespace: String,
        /// The labels.
        selector: String,
    },
}

/// A running pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pod {
    name: String,
    node: String,
}

impl Kubectl {
    /// Lists the pods that run, and prepares to run a program with arguments in each of them.
    ///
    /// # Errors
    /// Fails if kubectl does, or if there is no such pod.
    pub fn asks(&self, program: &[String], bounds: Bounds, stop: &AtomicBool) -> Result<Vec<Ask>, NoPods> {
        let listing = self.ask("the pods", &self.listing());
        let mut list = Vec::new();
        let bounds = Bounds { bytes: MAX_LIST, ..bounds };
        match run(&mut listing.command(), &mut list, bounds, stop).map_err(NoPods::Start)? {
            (End::Exited(status), _) if status.success() => {}
            (End::Exited(status), text) => return Err(NoPods::Failed(said(&text, Some(status)))),
            (End::Late, _) => return Err(NoPods::Late(bounds.time)),
            (End::Flood, _) => return Err(NoPods::Flood),
            (End::Stopped, _) => return Err(NoPods::Stopped),
        }
        let pods = pods(&String::from_utf8_lossy(&list))?;
        if pods.is_empty() {
            return Err(NoPods::Nothing { namespace: self.namespace.clone(), selector: self.selector.clone() });
        }
        Ok(pods.iter().map(|pod| self.ask_pod(pod, program)).collect())
    }

    fn listing(&self) -> Vec<String> {
        let running = "--field-selector=status.phase=Running";
        let line =
            ["get", "pods", "--namespace", &self.namespace, "--selector", &self.selector, running, "--output", COLUMNS];
        line.map(str::to_owned).into()
    }

    fn ask_pod(&self, pod: &Pod, program: &[String]) -> Ask {
        let line = ["exec", "--namespace", &self.namespace, &pod.name, "--container", &self.container, "--"];
        let arguments: Vec<_> = line.into_iter().map(str::to_owned).chain(program.iter().cloned()).collect();
        // A node may have several pods with the labels.
        self.ask(&format!("{}:{}", pod.node, pod.name), &arguments)
    }

    fn ask(&self, name: &str, arguments: &[String]) -> Ask {
        let arguments = self.options.iter().chain(arguments).map(OsString::from).collect();
        Ask { name: name.to_owned(), program: "kubectl", arguments }
    }
}

/// Reads the lines of [`COLUMNS`]. The names are those of Kubernetes: no option, and no path.
fn pods(list: &str) -> Result<Vec<Pod>, NoPods> {
    let is_name = |name: &str| {
        let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        name.len() <= 253 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_of_name)
    };
    let pod = |line: &str| match line.split_once(' ') {
        Some((name, node)) if is_name(name) && is_name(node) && name.len() + node.len() < 240 => {
            Ok(Pod { name: name.to_owned(), node: node.to_owned() })
        }
        _ => Err(NoPods::Line(line.to_owned())),
    };
    list.lines().filter(|line| !line.is_empty()).map(pod).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_named_by_their_nodes() {
        let kubectl = Kubectl {
            namespace: "droptrace".into(),
            selector: "app=x".into(),
            container: "agent".into(),
            options: vec!["--context=prod".into()],
        };
        let listed = pods("droptrace-4xk2p node-1\ndroptrace-z9 node-2.example\n").unwrap();
        let ask = kubectl.ask_pod(&listed[1], &["/droptrace".into(), "snapshot".into()]);
        assert_eq!(ask.name, "node-2.example:droptrace-z9");
        assert_eq!(
            ask.arguments.join(" ".as_ref()),
            "--context=prod exec --namespace droptrace droptrace-z9 --container agent -- /droptrace snapshot"
        );
        for line in ["-x node", "a", "a ", "a --", "../a node", "A node", "a b c", "a\x1b b"] {
            assert!(matches!(pods(line), Err(NoPods::Line(_))), "{line:?}");
        }
    }
}
