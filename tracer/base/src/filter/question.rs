//! Questions about a drop that the packet's bytes do not answer.

use crate::domain::owner::Process;

/// A question, as the user wrote it. Names are not resolved: each backend answers by what it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `reason NAME`: the drop reason, without the prefix `SKB_DROP_REASON_`; `*` stands for any characters.
    Reason(Box<str>),
    /// `site FUNCTION`: the function in which the packet was dropped; `*` stands for any characters.
    Site(Box<str>),
    /// `netns TARGET`: the network namespace, as `--netns` takes it.
    Netns(Box<str>),
    /// `iface NAME|INDEX`: the interface, by its name or index.
    Interface(Box<str>),
    /// `cgroup PATH`: the control group of the socket, or one below it; `*` stands for any characters.
    Cgroup(Box<str>),
    /// `container NAME|ID`: the container of the socket; an id may be shortened.
    Container(Box<str>),
    /// `pod [NAMESPACE/]NAME`: the pod of the socket.
    Pod(Box<str>),
    /// `uid NUMBER|NAME`: the user who made the socket.
    User(Box<str>),
    /// `process NAME|PID`: a process that has the socket open; `*` stands for any characters.
    Process(Box<str>),
    /// `usual`: drops that healthy hosts often have ([`crate::explain::UsualDrops`]).
    Usual,
}

/// Whether a name is what a pattern says: `*` stands for any characters, also for none.
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let (between, end) = rest.rsplit_once('*').map_or(("", rest), |(between, end)| (between, end));
    for part in between.split('*').filter(|part| !part.is_empty()) {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}

/// Whether the path of a control group is one that a pattern says, or below one. A slash at either end of the pattern does
/// not matter.
pub fn is_cgroup_within(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.trim_matches('/'), path.trim_matches('/'));
    if pattern.is_empty() {
        return true;
    }
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.into_iter().any(|end| matches_pattern(pattern, &path[..end]))
}

/// Whether a container has this name, or an id that starts so. Either side may have only the start of the id.
pub fn is_container(given: &str, name: Option<&str>, id: Option<&str>) -> bool {
    /// The least number of digits of an id.
    const SHORTEST: usize = 4;
    let is_id = given.len() >= SHORTEST && given.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.is_some_and(|name| matches_pattern(given, name))
        || is_id && id.is_some_and(|id| id.starts_with(given) || given.starts_with(id))
}

/// Whether a pod, shown as `NAMESPACE/NAME` or by its UID, is the given one: its name in any namespace, or in the given one.
pub fn is_pod(given: &str, pod: &str) -> bool {
    let name = pod.split_once('/').map_or(pod, |(_, name)| name);
    matches_pattern(given, if given.contains('/') { pod } else { name })
}

/// Whether a process has this id, or a name as the pattern says. The kernel keeps the first 15 bytes of a name.
pub fn is_process(given: &str, process: &Process) -> bool {
    /// `TASK_COMM_LEN - 1` (`include/linux/sched.h`).
    const MOST: usize = 15;
    let is_named = |name: &str| {
        matches_pattern(given, name) || given.len() > MOST && given.as_bytes().get(..MOST) == Some(name.as_bytes())
    };
    given.parse() == Ok(process.pid) || process.comm.as_deref().is_some_and(is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name) in [
            ("a", "a"),
            ("*", ""),
            ("tcp_*", "tcp_rcv"),
            ("*rcv", "tcp_rcv"),
            ("t*_*v", "tcp_rcv"),
            ("**", "x"),
            ("a*a", "aa"),
        ] {
            assert!(matches_pattern(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("a", "b"), ("", "a"), ("tcp_*", "udp_rcv"), ("a*a", "a"), ("*b*b", "b"), ("a*b*c", "acb")]
        {
            assert!(!matches_pattern(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn processes_match_by_id_and_by_name() {
        let process = |pid, comm: &str| Process { pid, comm: Some(comm.to_owned()) };
        let nginx = process(4711, "nginx");
        assert!(["nginx", "ngi*", "4711"].iter().all(|given| is_process(given, &nginx)));
        assert!(!["471", "47110", "nginx2", ""].iter().any(|given| is_process(given, &nginx)));
        let long = process(1, "systemd-resolve");
        assert!(
            is_process("systemd-resolved", &long) && !is_process("systemd-resolver", &process(1, "systemd-resolv"))
        );
        assert!(!is_process("a", &Process { pid: 2, comm: None }));
    }

    #[test]
    fn cgroups_within_the_wanted_one_match() {
        for pattern in
            ["/", "/system.slice", "system.slice/", "/system.slice/ssh.service", "/*/ssh.service", "/system.slice/*"]
        {
            assert!(is_cgroup_within(pattern, "/system.slice/ssh.service"), "{pattern}");
        }
        for pattern in ["/system", "/ssh.service", "/user.slice", "/system.slice/ssh.service/a"] {
            assert!(!is_cgroup_within(pattern, "/system.slice/ssh.service"), "{pattern}");
        }
    }
}
