//! Whose packet it was, in a few words.

use std::fmt;

use crate::domain::event::DropEvent;
use crate::outside::printable;

/// `, receiver nginx[1234] in shop/web-7d9f/nginx`; `unknown` for a process that is not known. Nothing where the packet has
/// no socket, or where owners were not asked for.
pub(super) struct OwnedBy<'e>(pub(super) &'e DropEvent<'e>);

impl fmt::Display for OwnedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(DropEvent { key, process, .. }) = self;
        let Some(role) = key.socket else { return Ok(()) };
        write!(f, ", {} ", role.name())?;
        match process {
            Some(process) => f.write_str(&printable(&process.to_string()))?,
            None => f.write_str("unknown")?,
        }
        key.owner.name().map_or(Ok(()), |name| write!(f, " in {}", printable(&name)))
    }
}
