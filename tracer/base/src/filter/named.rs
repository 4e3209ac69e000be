//! Answers by names: what a recording or a message of the drop monitor has of a drop.

use super::question::{Question, is_cgroup_within, is_container, is_pod, is_process, matches_pattern};
use super::run::Answers;
use crate::domain::event::{NamedKey, reason_name};
use crate::domain::owner::{Owner, Process};
use crate::explain::{Usual, UsualDrops};

/// The names of one drop; each is absent, or 0, where it is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Named<'d> {
    /// For [`Question::Usual`].
    pub usual: &'d UsualDrops,
    /// The drop reason, without its prefix.
    pub reason: Option<&'d str>,
    /// The function of the drop site.
    pub function: Option<&'d str>,
    /// The interface's name.
    pub interface: Option<&'d str>,
    /// The interface's index.
    pub ifindex: u32,
    /// The inode number of the network namespace.
    pub netns: u32,
    /// The name of the network namespace.
    pub netns_name: Option<&'d str>,
    /// The inode number of the network namespace that `netns self` means.
    pub home_netns: u32,
    /// The owner of the packet's socket.
    pub owner: Option<&'d Owner>,
    /// The user who made the packet's socket.
    pub uid: Option<u32>,
    /// A process that has the packet's socket open.
    pub process: Option<&'d Process>,
}

impl<'d> Named<'d> {
    /// The names of a key, which has neither user nor process. `home_netns` is what `netns self` means.
    pub fn of_key(key: &'d NamedKey, usual: &'d UsualDrops, home_netns: u32) -> Self {
        Self {
            usual,
            reason: reason_name(&key.reason),
            function: key.location.symbol.as_ref().map(|symbol| &*symbol.name),
            interface: key.interface.as_deref(),
            ifindex: key.ifindex,
            netns: key.netns,
            netns_name: key.netns_name.as_deref(),
            home_netns,
            owner: Some(&key.owner),
            uid: None,
            process: None,
        }
    }
}

impl Answers for Named<'_> {
    fn answer(&self, question: &Question) -> bool {
        let is = |pattern: &str, name: Option<&str>| name.is_some_and(|name| matches_pattern(pattern, name));
        let owner = |name: fn(&Owner) -> Option<&str>| self.owner.and_then(name);
        match question {
            Question::Reason(pattern) => is(pattern, self.reason),
            Question::Usual => self.usual.of(self.reason, self.function) == Some(Usual::Often),
            Question::Site(pattern) => is(pattern, self.function) || is(pattern, self.function.map(without_part)),
            Question::Netns(target) => self.is_in(target),
            Question::Interface(given) => {
                self.interface == Some(given) || self.ifindex != 0 && given.parse() == Ok(self.ifindex)
            }
            Question::Cgroup(pattern) => {
                owner(|owner| owner.cgroup.as_deref()).is_some_and(|path| is_cgroup_within(pattern, path))
            }
            // The shown name is the start of the id where the container has no name.
            Question::Container(given) => {
                let name = owner(|owner| owner.container.as_deref());
                is_container(given, name, name)
            }
            Question::Process(given) => self.process.is_some_and(|process| is_process(given, process)),
            // Of a name, the number is asked for first.
            Question::User(given) => self.uid.is_some_and(|uid| given.parse() == Ok(uid)),
            Question::Pod(given) => owner(|owner| owner.pod.as_deref()).is_some_and(|pod| is_pod(given, pod)),
        }
    }
}

/// The name of a function without what the compiler appended to it, as in `name.cold` and `name.constprop.0`.
fn without_part(function: &str) -> &str {
    function.split('.').next().unwrap_or(function)
}

impl Named<'_> {
    fn is_in(&self, target: &str) -> bool {
        match target {
            "self" => self.netns != 0 && self.netns == self.home_netns,
            _ => self.netns_name == Some(target) || self.netns != 0 && target.parse() == Ok(self.netns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(question: &Question) -> bool {
        let usual = UsualDrops::built_in().unwrap();
        let owner = Owner {
            cgroup: Some("/kubepods/pod1/0af1".into()),
            container: Some("0af1b2c3d4e5".into()),
            pod: Some("web/nginx-1".into()),
            unit: None,
        };
        let process = Process { pid: 4711, comm: Some("nginx".into()) };
        let named = Named {
            usual,
            reason: Some("NO_SOCKET"),
            function: Some("udp_rcv"),
            interface: Some("eth0"),
            ifindex: 7,
            netns: 4_026,
            netns_name: Some("blue"),
            home_netns: 4_026,
            owner: Some(&owner),
            uid: Some(0),
            process: Some(&process),
        };
        let nothing = Named {
            reason: None,
            function: None,
            interface: None,
            ifindex: 0,
            netns: 0,
            netns_name: None,
            home_netns: 0,
            owner: None,
            uid: None,
            process: None,
            ..named
        };
        assert!(!nothing.answer(question), "unknown is no: {question:?}");
        named.answer(question)
    }

    #[test]
    fn names_answer_questions() {
        let text = Into::into;
        for question in [
            Question::Reason(text("NO_*")),
            Question::Site(text("udp_*")),
            Question::Netns(text("blue")),
            Question::Netns(text("4026")),
            Question::Netns(text("self")),
            Question::Interface(text("eth0")),
            Question::Interface(text("7")),
            Question::Cgroup(text("/kubepods")),
            Question::Container(text("0af1")),
            Question::Container(text("0af1b2c3d4e5f6")),
            Question::Pod(text("web/nginx-*")),
            Question::Pod(text("nginx-1")),
            Question::User(text("0")),
            Question::Process(text("nginx")),
            Question::Process(text("4711")),
        ] {
            assert!(answers(&question), "{question:?}");
        }
        for question in [
            Question::Reason(text("TCP_*")),
            Question::Site(text("tcp_*")),
            Question::Netns(text("0")),
            Question::Interface(text("0")),
            Question::Cgroup(text("/kube")),
            Question::Container(text("0af")),
            Question::Pod(text("db/nginx-1")),
            Question::User(text("1000")),
            Question::User(text("root")),
            Question::Process(text("sshd")),
        ] {
            assert!(!answers(&question), "{question:?}");
        }
    }

    #[test]
    fn usual_is_what_healthy_hosts_often_have() {
        let usual = UsualDrops::built_in().unwrap();
        assert!(answers(&Question::Usual) && usual.of(Some("NO_SOCKET"), Some("tcp_v4_rcv")) == Some(Usual::Often));
    }
}
