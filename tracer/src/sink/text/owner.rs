//! Whose packet it was, in a few words.

use std::fmt;

use crate::domain::event::DropEvent;
use crate::outside::printable;

/// `, receiver nginx[1234] in shop/web-7d9f/nginx`; `unknown` for a process that is not known. Without a socket
/// `, resident shop/web-7d9f` or `, peer shop/web-7d9f`, by where it lives. Nothing where the packet has neither, or where
/// owners were not asked for.
pub(in crate::sink) struct OwnedBy<'e>(pub(in crate::sink) &'e DropEvent<'e>);

impl fmt::Display for OwnedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(DropEvent { key, process, .. }) = self;
        let name = key.owner.name();
        let name = name.as_deref().map(printable);
        let Some(role) = key.socket else {
            return key
                .residence
                .zip(name)
                .map_or(Ok(()), |(residence, name)| write!(f, ", {} {name}", residence.name()));
        };
        write!(f, ", {} ", role.name())?;
        match process {
            Some(process) => f.write_str(&printable(&process.to_string()))?,
            None => f.write_str("unknown")?,
        }
        name.map_or(Ok(()), |name| write!(f, " in {name}"))
    }
}
