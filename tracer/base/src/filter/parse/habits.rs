//! Words that people know from other tools and from tables, and what to write for them.

use super::super::names;

const PROCESS: &str = "write `process NAME` or `process PID`";
const USER: &str = "write `uid NAME` or `uid NUMBER`";
const UNIT: &str = "write `cgroup */NAME.service`";
const INTERFACE: &str = "write `iface NAME`";
const SITE: &str = "write `site FUNCTION`";

const HABITS: [(&str, &str); 18] = [
    ("comm", PROCESS),
    ("daddr", "write `dst host ADDRESS`"),
    ("dev", INTERFACE),
    ("device", INTERFACE),
    ("dport", "write `dst port N`"),
    ("function", SITE),
    ("interface", INTERFACE),
    ("ipv4", "write `ip`"),
    ("ipv6", "write `ip6`"),
    ("location", SITE),
    ("namespace", "write `netns NAME`"),
    ("pid", PROCESS),
    ("protocol", "write the protocol alone, such as `udp`, or `ip proto N`"),
    ("saddr", "write `src host ADDRESS`"),
    ("service", UNIT),
    ("sport", "write `src port N`"),
    ("unit", UNIT),
    ("user", USER),
];

/// What to write for a word that is none of the language.
pub(super) fn instead(word: &str) -> Option<&'static str> {
    HABITS.iter().find(|(habit, _)| *habit == word).map(|(_, remedy)| *remedy)
}

/// The same for a word in capitals too.
pub(super) fn remedy(word: &str) -> Option<String> {
    if let Some(remedy) = instead(word) {
        return Some(remedy.to_owned());
    }
    let small = word.to_ascii_lowercase();
    if small != word && names::nearest(&small) == Some(small.as_str()) {
        return Some(format!("write `{small}`: the words of the language have small letters"));
    }
    let is_reason =
        word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase() || b"_0123456789".contains(&byte));
    is_reason.then(|| format!("write `reason {word}` for a drop reason"))
}
