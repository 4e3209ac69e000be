//! Families that do not exist.

use anyhow::{Result, ensure};
use tests::netns::Netns;
use tests::trials::Unable;

use crate::{json, list, refused, run};

pub(crate) fn families_that_are_not_there() -> Result<()> {
    refused(&run(&["netlink", "family", "no-such"])?, &["no-such: not registered", "module:", "namespace:"])?;
    // Longer than a name can be.
    refused(&run(&["netlink", "family", &"x".repeat(400)])?, &["refused"])
}

/// Quota's family answers in the first namespace only, and is built in where it is.
pub(crate) fn a_family_of_the_first_namespace_only() -> Result<()> {
    const FAMILY: &str = "VFS_DQUOT";
    let families = json(&["families"])?;
    let is_here = list(&families, "families")?.iter().any(|family| family["name"] == FAMILY);
    ensure!(is_here, Unable(format!("no {FAMILY} here")));
    let other = Netns::new()?;
    let finished = other.run(|| run(&["netlink", "family", FAMILY]))?;
    refused(&finished, &["not the first network namespace"])
}
