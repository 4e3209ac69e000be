//! The names of devlink traps that all drivers share, from `data/traps.txt`. Drivers also have traps of their own.

use std::str::Lines;

/// The names of generic traps, as `devlink trap` shows them (`DEVLINK_TRAP_GENERIC_NAME_…`, `include/net/devlink.h`).
pub fn generic_traps() -> Lines<'static> {
    include_str!("../../data/traps.txt").lines()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_those_of_traps() {
        let names: BTreeSet<_> = generic_traps().collect();
        assert_eq!(names.len(), generic_traps().count());
        let is_name = |name: &str| name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        assert!(names.len() > 90 && names.iter().all(|name| is_name(name) && !name.is_empty()));
        assert!(["ttl_value_is_too_small", "blackhole_route", "locked_port"].iter().all(|name| names.contains(name)));
    }
}
