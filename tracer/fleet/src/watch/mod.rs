//! Findings over time: their identity (`known`), their lives over rounds (`lives`), a file that keeps them (`state`), the
//! lines that report them (`line`), and Alertmanager.

mod alertmanager;
mod known;
mod line;
mod lives;
mod state;

pub(crate) use alertmanager::Alertmanager;
pub(crate) use known::Known;
pub(crate) use line::Line;
pub(crate) use lives::{Life, Lives, Phase, Round};
pub(crate) use state::State;
