//! The names that systemd gives to cgroups.

use std::borrow::Cow;

use super::text;

/// The service, scope or other unit with processes that a cgroup with this name is. A slice has no processes itself.
pub(super) fn unit(component: &str) -> Option<String> {
    let (name, kind) = component.rsplit_once('.')?;
    let is_unit = !name.is_empty() && matches!(kind, "service" | "scope" | "socket" | "mount" | "swap");
    if is_unit { text::name(&unescape(component)) } else { None }
}

/// The user id in `user-UID.slice` or `user@UID.service` (`user@.service(5)`).
pub(super) fn user(component: &str) -> Option<u32> {
    let slice = component.strip_prefix("user-").and_then(|rest| rest.strip_suffix(".slice"));
    let manager = || component.strip_prefix("user@")?.strip_suffix(".service");
    slice.or_else(manager)?.parse().ok()
}

/// Undoes the escapes in names of units: `\x2d` is a hyphen (`unit_name_escape`, `src/basic/unit-name.c` of systemd).
pub(super) fn unescape(name: &str) -> Cow<'_, str> {
    if !name.contains("\\x") {
        return name.into();
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, more @ ..] = rest {
        let digits = rest.strip_prefix(b"\\x").and_then(|digits| digits.first_chunk::<2>());
        let code = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = code.map_or(more, |_| &rest[4..]);
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}
