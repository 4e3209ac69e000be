//! The operator's side: what many hosts dropped, what of it is new, who stands out, and what to do. It needs no rights
//! and no kernel. [`model`] is what is known of a fleet, whoever told it; [`finding`] what is concluded from it.

pub mod analyse;
pub mod finding;
pub mod model;
mod names;
