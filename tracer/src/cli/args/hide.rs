//! The options that leave rows out of the results, and count them in one line.

use clap::Args;

use crate::command::heading::OUTPUT;
use crate::filter::Filter;

/// Which counted drops have no row.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct HideArgs {
    /// Hide what healthy hosts often have
    ///
    /// Shows only drops that they have sometimes or never, or for which this is unknown. One line counts the hidden drops
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) unusual: bool,

    /// Hide drops that match, such as 'netns lab'
    ///
    /// The expression is about rows: 'netns lab or iface eth0'. One line counts the hidden drops
    #[arg(long, value_name = "EXPRESSION", value_parser = rows_filter, help_heading = OUTPUT)]
    pub(crate) hide: Option<Filter>,
}

impl HideArgs {
    /// The option that hides something.
    pub(crate) const fn used(&self) -> Option<&'static str> {
        match self {
            Self { unusual: true, .. } => Some("--unusual"),
            Self { hide: Some(_), .. } => Some("--hide"),
            _ => None,
        }
    }
}

/// Reads a filter whose questions the names of a row answer.
pub(super) fn rows_filter(text: &str) -> Result<Filter, String> {
    let filter = Filter::parse(text).map_err(|error| error.to_string())?;
    let lacks = match &filter {
        _ if filter.asks_packet() => "packets",
        _ if filter.asks_user() => "users",
        _ if filter.asks_process() => "processes",
        _ if filter.asks_holder() => "namespaces by process or file",
        _ => return Ok(filter),
    };
    Err(format!("rows have no {lacks}; ask by reason, site, iface, netns, cgroup, container, pod or usual"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_answer_only_questions_by_their_names() {
        for text in ["usual", "reason TCP_* and not netns blue", "site nf_* or iface eth0", "pod web/*"] {
            assert!(rows_filter(text).is_ok(), "{text}");
        }
        for (text, lacks) in [
            ("tcp port 443", "packets"),
            ("len > 100", "packets"),
            ("uid 0", "users"),
            ("process sshd", "processes"),
            ("netns pid:1", "namespaces by process"),
        ] {
            assert!(rows_filter(text).unwrap_err().contains(lacks), "{text}");
        }
    }
}
