//! What is kept of a finding between rounds, and its identity.

use std::collections::BTreeMap;

use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::finding::Finding;

/// The most hosts that are kept.
const HOSTS: usize = 100;

/// A finding, without its evidence.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// `critical`, `warning` or `notice`.
    pub(crate) severity: String,
    /// The kind, as in `droptrace.findings.v1`.
    pub(crate) kind: String,
    /// The finding in one sentence.
    pub(crate) title: String,
    /// The subject of the finding: name and value of each part that it has.
    pub(crate) subject: BTreeMap<String, String>,
    /// The number of hosts.
    pub(crate) hosts: usize,
    /// The names of the foremost hosts.
    pub(crate) named: Vec<String>,
    /// The meaning.
    pub(crate) meaning: String,
    /// The commands to run on the hosts, the next one first.
    pub(crate) next: Vec<String>,
}

impl Known {
    /// A finding with its identity: the same condition has the same identity in each round and in each process, whichever
    /// hosts have it.
    pub(crate) fn of(finding: &Finding) -> (String, Self) {
        let parts = [
            ("reason", &finding.reason),
            ("subsystem", &finding.subsystem),
            ("symbol", &finding.symbol),
            ("owner", &finding.owner),
            ("counter", &finding.counter),
            ("group", &finding.group),
        ];
        let subject = parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        let known = Self {
            severity: word(finding.severity),
            kind: word(finding.kind),
            title: finding.title.clone(),
            subject: subject.collect(),
            hosts: finding.hosts.count,
            named: finding.hosts.named.iter().take(HOSTS).map(|host| host.name.clone()).collect(),
            meaning: finding.meaning.clone(),
            next: commands(finding),
        };
        (known.identity(), known)
    }

    /// A short text that is the same for the same kind and subject.
    fn identity(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        let subject = self.subject.iter().flat_map(|(name, value)| [name, value]);
        for part in [&self.kind].into_iter().chain(subject) {
            // The length keeps parts apart.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let first = context.finish().as_ref().first_chunk().copied().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(first))
    }

    #[cfg(test)]
    pub(super) fn sample(title: &str) -> Self {
        Self {
            severity: "warning".into(),
            kind: "outlier".into(),
            title: title.into(),
            subject: [("reason".into(), "SOCKET_RCVBUFF".into())].into(),
            hosts: 2,
            named: vec!["web-1".into(), "web-2".into()],
            meaning: "The receive buffer is full.".into(),
            next: vec!["ss -uanmp".into(), "droptrace trace --count 20".into()],
        }
    }
}

/// The commands of a finding; one that shows the drops of a host where the finding has none.
fn commands(finding: &Finding) -> Vec<String> {
    if finding.next.is_empty() { vec!["droptrace stat --duration 10s".to_owned()] } else { finding.next.clone() }
}

/// The word for a value in JSON.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_that_of_the_subject() {
        let sample = Known::sample("3 hosts drop");
        let others =
            Known { title: "4 hosts drop".into(), severity: "critical".into(), named: vec![], ..sample.clone() };
        // It is stored by others, so it must not change.
        assert_eq!(sample.identity(), "ff61daa72bf0b3b7");
        assert_eq!(others.identity(), sample.identity());
        let grown = Known { kind: "grown".into(), ..sample.clone() };
        let split = Known { subject: [("reasonS".into(), "OCKET_RCVBUFF".into())].into(), ..sample.clone() };
        assert!(grown.identity() != sample.identity() && split.identity() != sample.identity());
    }
}
