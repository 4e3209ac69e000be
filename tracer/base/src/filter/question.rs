//! Questions about a drop that the packet's bytes do not answer.

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
    /// `usual`: drops that happen on healthy hosts, too: `explain` calls the reason usual.
    Usual,
}
