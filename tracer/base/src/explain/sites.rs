//! The meaning of drop sites: functions of the kernel that free packets, from `data/sites.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{MalformedData, Usual};

/// The explanation of the drops at one function. Sentences are plain text in one line.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Where in the kernel's source the function is.
    pub source: String,
    /// The names of further functions with the same drops; a name may end in `*`, which stands for any characters.
    #[serde(default)]
    pub also: Vec<String>,
    /// The reasons that the function gives where it has a choice of them; empty where the reason alone does not narrow the
    /// cause down.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// What happens to packets that this function frees.
    pub meaning: String,
    /// Whether a healthy host has drops at this function without a reason (`NOT_SPECIFIED`).
    pub usual: Usual,
    /// The cause for which such drops are as usual as they are.
    pub because: String,
    /// The explanation of the reason adds no cause and no command that could be at this function.
    #[serde(default)]
    pub is_alone: bool,
    /// Common causes.
    pub causes: Vec<String>,
    /// Shell commands to run next, in the form of [`super::fill`].
    pub next: Vec<String>,
    /// Shell commands that change the system.
    #[serde(default)]
    pub changes: Vec<String>,
}

/// The sites by function.
#[derive(Clone, Debug)]
pub struct Sites(BTreeMap<String, Site>);

impl Sites {
    /// The built-in sites. An error is a fault of droptrace.
    pub fn built_in() -> Result<Self, MalformedData> {
        toml::from_str(include_str!("../../data/sites.toml")).map(Self)
    }

    /// Finds the site of a function: `ip_rcv_core`, also as tables show it (`nft_do_chain+0x40f [nf_tables]`), and parts that
    /// compilers make of a function (`ip_rcv_core.isra.0`).
    pub fn get(&self, asked: &str) -> Option<(&str, &Site)> {
        let asked = asked.trim().split(['+', ' ', '.']).next().unwrap_or_default();
        let is_one = |name: &str| match name.strip_suffix('*') {
            Some(start) => asked.starts_with(start),
            None => asked == name,
        };
        let found = self.0.get_key_value(asked);
        let found = found.or_else(|| self.0.iter().find(|(_, site)| site.also.iter().any(|name| is_one(name))));
        found.map(|(name, site)| (name.as_str(), site))
    }

    /// All sites, by function.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Site)> {
        self.0.iter().map(|(name, site)| (name.as_str(), site))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::explain::Explanations;

    #[test]
    fn every_site_is_complete() {
        let (sites, reasons) = (Sites::built_in().unwrap(), Explanations::built_in().unwrap());
        for (name, site) in sites.iter() {
            let Site { source, also, meaning, because, causes, next, .. } = site;
            assert!(Path::new(source).extension().is_some_and(|kind| kind == "c" || kind == "h"), "{name}: {source}");
            assert!(!causes.is_empty() && !next.is_empty(), "{name}");
            for sentence in [meaning, because].into_iter().chain(causes) {
                assert!(sentence.ends_with('.') && !sentence.contains("  "), "{name}: {sentence:?}");
            }
            assert!(also.iter().all(|other| !sites.0.contains_key(other)), "{name}: {also:?}");
            for reason in &site.reasons {
                assert!(reasons.get(reason).is_some_and(|(known, _)| known == reason), "{name}: {reason}");
            }
        }
    }

    #[test]
    fn sites_are_found_as_tables_show_them() {
        let sites = Sites::built_in().unwrap();
        for (asked, expected) in [
            ("nft_do_chain+0x40f [nf_tables]", Some("nft_do_chain")),
            ("ip_rcv_finish_core.isra.0", Some("ip_rcv_finish_core")),
            (" ip_error ", Some("ip_error")),
            ("no_such_function", None),
            ("", None),
        ] {
            assert_eq!(sites.get(asked).map(|(name, _)| name), expected, "{asked}");
        }
    }
}
