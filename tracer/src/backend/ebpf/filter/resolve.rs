//! Answers a filter's questions by numbers of this kernel and this host, which the kernel program compares.
//!
//! What has no number when the run starts, such as a control group that is made later, never matches.

use std::io;
use std::ops::Range;

use tracer_common::{IFNAMSIZ, KIND_TRAP, KIND_XDP, REASON_ABSENT, USER_KNOWN};

use super::super::identify::NamespaceQuestion;
use super::condition::{Condition, Fact, Numbers};
use crate::explain::{UsualDrops, generic_traps};
use crate::filter::question::{Question, is_cgroup_within, is_container, is_pod, matches_pattern};
use crate::identity::netns::{self, NetnsError};
use crate::identity::owners::{NamedOwner, Owners};
use crate::identity::users::{self, Users};
use crate::kernel::btf::KernelBtf;
use crate::kernel::reasons::{ReasonNames, xdp};
use crate::kernel::symbols::Functions;

/// Reason why the kernel program cannot answer a question.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// There is no such namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The namespace has no known cookie.
    #[error("cannot read the cookie of the network namespace `{given}`")]
    Cookie {
        /// The text that the user gave.
        given: Box<str>,
        /// The system's error.
        source: io::Error,
    },
    /// The functions of the kernel could not be read.
    #[error("cannot read the kernel's functions, among which `site {given}` is")]
    Symbols {
        /// The text that the user gave.
        given: Box<str>,
        /// The system's error.
        source: io::Error,
    },
    /// The kernel has no such function, or hides its addresses.
    #[error("the kernel shows no function `{given}` with an address (/proc/kallsyms), so that `site` has no answer")]
    NoFunction {
        /// The text that the user gave.
        given: Box<str>,
    },
    /// The kernel's types do not show the user of a socket.
    #[error("this kernel's BTF shows no user of a socket (`sk_uid`), so that `uid {given}` has no answer")]
    NoUser {
        /// The text that the user gave.
        given: Box<str>,
    },
    /// The user cannot be found.
    #[error("/etc/passwd has no user `{given}`")]
    UnknownUser {
        /// The text that the user gave.
        given: Box<str>,
    },
    /// The file of users cannot be read.
    #[error("cannot read /etc/passwd, which has the number of the user `{given}`")]
    Users {
        /// The text that the user gave.
        given: Box<str>,
        /// The system's error.
        source: io::Error,
    },
    /// The kernel program does not know processes; userspace applies such conditions.
    #[error("the kernel program knows no processes, so that `process {given}` has no answer")]
    Process {
        /// The text that the user gave.
        given: Box<str>,
    },
    /// The explanations cannot be read, which is a fault of droptrace.
    #[error("the explanations of drop reasons cannot be read")]
    Explanations {
        /// The error of the reader.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The sources of the answers.
pub(in super::super) struct Resolver<'a> {
    pub(in super::super) btf: &'a KernelBtf,
    pub(in super::super) functions: &'a Functions,
    pub(in super::super) namespaces: &'a NamespaceQuestion,
    /// Namespaces are identified by cookies.
    pub(in super::super) has_cookies: bool,
    /// The kernel's types show the user of a socket.
    pub(in super::super) has_users: bool,
}

impl Resolver<'_> {
    /// The conditions of all questions, by their index. Warns of questions that nothing can match now.
    pub(super) fn conditions(&self, questions: &[Question]) -> Result<Vec<Condition>, Unresolved> {
        questions.iter().map(|question| self.condition(question)).collect()
    }

    fn condition(&self, question: &Question) -> Result<Condition, Unresolved> {
        Ok(match question {
            Question::Reason(pattern) => self.of_reasons(pattern, |name| matches_pattern(pattern, name)),
            Question::Usual => {
                let usual = UsualDrops::built_in();
                self.of_usual(usual.map_err(|source| Unresolved::Explanations { source: Box::new(source) })?)
            }
            Question::Site(pattern) => of_functions(self.functions, pattern)?,
            Question::Netns(given) => self.of_namespace(given)?,
            Question::Interface(given) => of_interface(given),
            Question::Cgroup(pattern) => of_owners("cgroup", pattern, |owner| is_cgroup_within(pattern, &owner.cgroup)),
            Question::Container(pattern) => {
                of_owners("container", pattern, |owner| is_owned_by_container(pattern, owner))
            }
            Question::User(given) => self.of_user(given)?,
            Question::Process(given) => return Err(Unresolved::Process { given: given.clone() }),
            Question::Pod(pattern) => of_owners("pod", pattern, |owner| is_owned_by_pod(pattern, owner)),
        })
    }

    /// Reasons of the enum, and those of XDP, which have numbers of their own. Hardware drops have names instead of
    /// numbers, and match no reason.
    fn of_reasons(&self, given: &str, wanted: impl Fn(&str) -> bool) -> Condition {
        let mut numbers = ReasonNames::load(self.btf).numbers(&wanted);
        // Kernels without reasons, whose drops have the name of an unspecified one.
        numbers.extend(wanted("NOT_SPECIFIED").then_some(REASON_ABSENT));
        numbers.extend(given.parse::<u32>().ok());
        let of_xdp = xdp::numbers(&wanted);
        if numbers.is_empty() && of_xdp.is_empty() && !is_doubtful_trap(given) {
            tracing::warn!("this kernel has no drop reason {given}, so that no drop matches it");
        }
        let each = |numbers: Vec<u32>| Numbers::each(numbers.into_iter().map(u64::from));
        let kinds = [KIND_TRAP, KIND_XDP].map(u64::from);
        Condition::NEVER
            .or(vec![(Fact::Kind, Numbers::but(kinds)), (Fact::Reason, each(numbers))])
            .or(vec![(Fact::Kind, Numbers::each([KIND_XDP.into()])), (Fact::Reason, each(of_xdp))])
    }

    /// The usual reasons anywhere, those that are usual at most sites, and others at the sites where they are usual. A function
    /// that this kernel does not show has no drops with a known site either.
    fn of_usual(&self, usual: &UsualDrops) -> Condition {
        let mut condition = self.of_reasons("usual", |name| usual.is_often_anywhere(name));
        for (reason, function) in usual.often_sites() {
            if let Some(sites) = self.sites(&[function]).filter(|sites| *sites != Numbers::default()) {
                condition = self.of_reason_at(condition, reason, sites);
            }
        }
        for (reason, exceptions) in usual.often_elsewhere() {
            if let Some(sites) = self.sites(&exceptions) {
                condition = self.of_reason_at(condition, reason, sites.others());
            }
        }
        condition
    }

    /// As before, or drops of this reason at these return addresses.
    fn of_reason_at(&self, condition: Condition, reason: &str, sites: Numbers) -> Condition {
        let mut reasons = ReasonNames::load(self.btf).numbers(|name| name == reason);
        reasons.extend((reason == "NOT_SPECIFIED").then_some(REASON_ABSENT));
        if reasons.is_empty() {
            return condition;
        }
        condition.or(vec![
            (Fact::Kind, Numbers::but([KIND_TRAP, KIND_XDP].map(u64::from))),
            (Fact::Reason, Numbers::each(reasons.into_iter().map(u64::from))),
            (Fact::Location, sites),
        ])
    }

    /// The return addresses of these functions; `None` if this kernel shows no functions.
    fn sites(&self, functions: &[&str]) -> Option<Numbers> {
        self.functions.code_where(|name| functions.contains(&name)).ok().map(return_addresses)
    }

    fn of_user(&self, given: &str) -> Result<Condition, Unresolved> {
        if !self.has_users {
            return Err(Unresolved::NoUser { given: given.into() });
        }
        let users = if users::number(given).is_some() { Ok(Users::default()) } else { Users::read() };
        let users = users.map_err(|source| Unresolved::Users { given: given.into(), source })?;
        let uid = users.number(given).ok_or_else(|| Unresolved::UnknownUser { given: given.into() })?;
        Ok(Condition::is(Fact::User, Numbers::each([USER_KNOWN | u64::from(uid)])))
    }

    fn of_namespace(&self, given: &str) -> Result<Condition, Unresolved> {
        let target = netns::parse_target(given)?;
        let number = self.namespaces.number_of(&target, self.has_cookies);
        let number = number.map_err(|source| Unresolved::Cookie { given: given.into(), source })?;
        Ok(Condition::is(Fact::Netns, Numbers::each([number])))
    }
}

/// Whether this is a name in small letters that no generic devlink trap has: the check of names has warned of it.
fn is_doubtful_trap(given: &str) -> bool {
    given.bytes().any(|byte| byte.is_ascii_lowercase()) && !generic_traps().any(|trap| matches_pattern(given, trap))
}

/// The return addresses of calls in functions: the call ends before the address, so that the one after the last
/// instruction is the function's, and the one before the first is not.
fn return_addresses(code: Vec<Range<u64>>) -> Numbers {
    Numbers::of(code.into_iter().map(|code| code.start.saturating_add(1)..=code.end))
}

/// The drops in the functions that a pattern names.
fn of_functions(functions: &Functions, pattern: &str) -> Result<Condition, Unresolved> {
    let found = functions
        .code_where(|name| matches_pattern(pattern, name))
        .map_err(|source| Unresolved::Symbols { given: pattern.into(), source })?;
    if found.is_empty() {
        return Err(Unresolved::NoFunction { given: pattern.into() });
    }
    let addresses = return_addresses(found);
    let kinds = Numbers::but([KIND_TRAP.into()]);
    Ok(Condition::NEVER.or(vec![(Fact::Kind, kinds), (Fact::Location, addresses)]))
}

/// The interface with this name, or with this index, in any namespace.
fn of_interface(given: &str) -> Condition {
    let mut name = [0; IFNAMSIZ];
    let mut condition = Condition::NEVER;
    if let Some(to) = name.get_mut(..given.len()).filter(|to| !to.is_empty() && to.len() < IFNAMSIZ) {
        to.copy_from_slice(given.as_bytes());
        let [start, end]: [u64; 2] = zerocopy::transmute!(name);
        let checks = [(Fact::InterfaceName, start), (Fact::InterfaceNameEnd, end)];
        condition = condition.or(checks.map(|(fact, word)| (fact, Numbers::each([word]))).into());
    }
    match given.parse::<u32>() {
        Ok(index @ 1..) => condition.or(vec![(Fact::Interface, Numbers::each([index.into()]))]),
        _ => condition,
    }
}

/// The control groups that exist now and whose owner is wanted.
fn of_owners(kind: &str, given: &str, wanted: impl Fn(&NamedOwner) -> bool) -> Condition {
    let mut owners = Owners::new();
    let all = owners.of_all_cgroups();
    let ids: Vec<u64> = all.iter().filter(|(_, owner)| wanted(owner)).map(|(id, _)| *id).collect();
    if ids.is_empty() {
        let pid = owners.process_owned_by(&wanted);
        tracing::warn!("{}", nothing_matches(kind, given, pid, owners.limits().first()));
    }
    Condition::is(Fact::Cgroup, Numbers::each(ids))
}

/// Why no control group has the wanted owner. `pid` is a process that has: in a hierarchy of cgroup v1, because the control
/// groups of version 2 were looked at. `limit` says why control groups may be unknown.
fn nothing_matches(kind: &str, given: &str, pid: Option<u32>, limit: Option<&String>) -> String {
    match (pid, limit) {
        (Some(pid), _) => format!(
            "{kind} {given} has control groups of cgroup v1 only (process {pid}), which the kernel does not report with \
             packets, so that no drop matches it; `netns pid:{pid}` means the network namespace of that process"
        ),
        (None, Some(limit)) => format!("no {kind} {given} was found, so that no drop matches it: {limit}"),
        (None, None) => {
            format!("no {kind} {given} was found; droptrace does not look for later ones, so that no drop matches it")
        }
    }
}

fn is_owned_by_container(given: &str, owner: &NamedOwner) -> bool {
    let id = owner.owner.container.as_ref().map(|container| container.id.as_str());
    is_container(given, owner.container.as_deref(), id)
}

fn is_owned_by_pod(given: &str, owner: &NamedOwner) -> bool {
    owner.pod.as_ref().is_some_and(|pod| is_pod(given, &format!("{}/{}", pod.namespace, pod.name)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::pods::Pod;

    #[test]
    fn containers_and_pods_match_by_name_and_id() {
        let path = format!("/system.slice/docker-{}.scope", "3f4e8a1b".repeat(8));
        let pod = Arc::new(Pod { namespace: "shop".into(), name: "web-1".into() });
        let owner = NamedOwner {
            owner: crate::identity::container::owner(&path),
            cgroup: path.into(),
            pod: Some(pod),
            container: Some("nginx".into()),
        };
        for (given, expected) in [("nginx", true), ("ngi*", true), ("3f4e", true), ("3f4", false), ("redis", false)] {
            assert_eq!(is_owned_by_container(given, &owner), expected, "{given}");
        }
        for (given, expected) in [("web-1", true), ("shop/web-*", true), ("mail/web-1", false), ("web", false)] {
            assert_eq!(is_owned_by_pod(given, &owner), expected, "{given}");
        }
    }

    #[test]
    fn container_of_cgroup_v1_is_not_said_to_be_missing() {
        let limit = "only cgroup v1 is mounted here".to_owned();
        let text = nothing_matches("container", "9999", Some(812), Some(&limit));
        assert!(text.starts_with("container 9999 has control groups of cgroup v1 only (process 812)"), "{text}");
        assert!(text.contains("`netns pid:812`"), "{text}");
        let text = nothing_matches("pod", "web", None, Some(&limit));
        assert_eq!(text, "no pod web was found, so that no drop matches it: only cgroup v1 is mounted here");
        assert!(nothing_matches("pod", "web", None, None).contains("does not look for later ones"));
    }

    #[test]
    fn check_of_names_warns_of_doubtful_traps() {
        assert!(is_doubtful_trap("socket_rcvbuf"));
        assert!(!is_doubtful_trap("ttl_value_is_too_small") && !is_doubtful_trap("SOCKET_RCVBUF"));
    }

    #[test]
    fn interfaces_match_by_name_or_index() {
        assert!(of_interface("eth0").can_hold());
        assert!(of_interface("17").can_hold());
        assert!(!of_interface("a-name-of-16-byt").can_hold());
        assert!(!of_interface("").can_hold());
    }
}
