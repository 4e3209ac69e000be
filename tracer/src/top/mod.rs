//! The screen of `droptrace top`: readings of the totals ([`history`]) become rows ([`sheet`]), which the [`view`] draws in
//! the state that the [`model`] has from the [`keys`]. [`terminal`] takes over the terminal, and gives it back.

pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod knowledge;
pub(crate) mod model;
#[cfg(test)]
mod samples;
pub(crate) mod sheet;
pub(crate) mod terminal;
#[cfg(test)]
mod tests;
pub(crate) mod view;
