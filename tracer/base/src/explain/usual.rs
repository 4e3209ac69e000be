//! Which drops healthy hosts have as well: by the drop reason, from the explanations, and where the reason alone does not
//! tell, by the function of the drop site, from `data/usual.toml`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use serde::Deserialize;

use super::{Explanations, MalformedData, Usual, canonical, without_detail};
use crate::domain::event::{KFREE_SKB, NamedKey, reason_name};

/// The reason of drops whose reason the kernel does not report.
const UNSPECIFIED: &str = "NOT_SPECIFIED";

/// What is known of drops by reason and drop site.
#[derive(Clone, Debug)]
pub struct UsualDrops {
    reasons: HashMap<String, Usual, RandomState>,
    /// Reasons for which a drop site may tell something else.
    with_sites: HashSet<String, RandomState>,
    sites: Vec<SiteEntry>,
}

/// `data/usual.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    site: Vec<SiteEntry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteEntry {
    reason: String,
    function: String,
    /// Absent where it is unknown there.
    usual: Option<Usual>,
}

impl UsualDrops {
    /// The built-in knowledge, which is read once.
    ///
    /// # Errors
    /// An error is a fault of droptrace.
    pub fn built_in() -> Result<&'static Self, MalformedData> {
        static READ: LazyLock<Result<UsualDrops, MalformedData>> = LazyLock::new(UsualDrops::read);
        READ.as_ref().map_err(Clone::clone)
    }

    fn read() -> Result<Self, MalformedData> {
        let Data { site } = toml::from_str(include_str!("../../data/usual.toml"))?;
        let explained = Explanations::built_in()?;
        let reasons = explained.iter().filter_map(|(name, known)| Some((name.to_owned(), known.usual?))).collect();
        let with_sites = site.iter().map(|entry| entry.reason.clone()).collect();
        Ok(Self { reasons, with_sites, sites: site })
    }

    /// Whether healthy hosts have drops of this reason in this function; absent where that is unknown. A reason that the
    /// kernel does not report counts as unspecified. Without the function, a reason that usual sites share with others is
    /// unknown.
    pub fn of(&self, reason: Option<&str>, function: Option<&str>) -> Option<Usual> {
        let reason = reason.unwrap_or(UNSPECIFIED);
        if self.with_sites.contains(reason) {
            let function = function.filter(|name| *name != KFREE_SKB)?.split('.').next();
            let of_site = self.sites.iter().find(|it| it.reason == reason && Some(&*it.function) == function);
            if let Some(entry) = of_site {
                return entry.usual;
            }
        }
        self.of_reason(reason)
    }

    /// As [`of`](Self::of), for a key. Buffers that are not packets of a network are unknown.
    pub fn of_key(&self, key: &NamedKey) -> Option<Usual> {
        self.of(reason_name(&key.reason), key.location.function()).filter(|_| key.kind.is_packet())
    }

    /// Whether all drops of this reason are usual, at any drop site.
    pub fn is_often_anywhere(&self, reason: &str) -> bool {
        !self.with_sites.contains(reason) && self.of_reason(reason) == Some(Usual::Often)
    }

    /// The reasons and functions whose drops are usual, although those of other functions are not.
    pub fn often_sites(&self) -> impl Iterator<Item = (&str, &str)> {
        let often = self.sites.iter().filter(|entry| entry.usual == Some(Usual::Often));
        often.map(|entry| (&*entry.reason, &*entry.function))
    }

    /// The reasons whose drops are usual but for those of some functions, and these functions.
    pub fn often_elsewhere(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let often = self.with_sites.iter().filter(|reason| self.of_reason(reason) == Some(Usual::Often));
        often.map(|reason| {
            let exceptions = self.sites.iter().filter(|it| it.reason == *reason && it.usual != Some(Usual::Often));
            (&**reason, exceptions.map(|it| &*it.function).collect())
        })
    }

    fn of_reason(&self, reason: &str) -> Option<Usual> {
        let known = |name: &str| self.reasons.get(name).copied();
        known(reason).or_else(|| {
            // Only the names of XDP have small letters and details.
            let has_small = reason.bytes().any(|byte| byte.is_ascii_lowercase());
            has_small.then(|| canonical(reason)).and_then(|name| known(without_detail(&name)))
        })
    }
}

/// Whether healthy hosts have such drops, by the built-in knowledge; absent where that is unknown. Buffers that are not
/// packets of a network are unknown.
pub fn usual_of(key: &NamedKey) -> Option<Usual> {
    UsualDrops::built_in().ok()?.of_key(key)
}

/// As [`usual_of`], for drops of which only the reason is known.
pub fn usual_of_reason(reason: Option<&str>) -> Option<Usual> {
    UsualDrops::built_in().ok()?.of(reason, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reason: &str, function: &str) -> Option<Usual> {
        let function = Some(function).filter(|name| !name.is_empty());
        UsualDrops::built_in().unwrap().of(Some(reason).filter(|name| !name.is_empty()), function)
    }

    #[test]
    fn function_that_frees_packets_is_no_drop_site() {
        let usual = UsualDrops::built_in().unwrap();
        assert_eq!(usual.of(None, Some(KFREE_SKB)), None, "as without the function");
        assert_eq!(usual.of(Some("NO_SOCKET"), Some(KFREE_SKB)), usual.of(Some("NO_SOCKET"), None));
    }

    #[test]
    fn site_tells_where_the_reason_does_not() {
        assert_eq!(of("NOT_SPECIFIED", "ip6_mc_input"), Some(Usual::Often));
        assert_eq!(of("NOT_SPECIFIED", "igmp_rcv.part.0"), Some(Usual::Often));
        assert_eq!(of("", "ip6_mc_input"), Some(Usual::Often), "kernels without reasons");
        assert_eq!([of("NOT_SPECIFIED", "tcp_v4_rcv"), of("NOT_SPECIFIED", ""), of("", "")], [None; 3]);
        assert_eq!(of("NO_SOCKET", "tcp_v4_rcv"), Some(Usual::Often));
        assert_eq!([of("NO_SOCKET", "cookie_v4_check"), of("NO_SOCKET", "")], [None; 2]);
        assert_eq!([of("NETFILTER_DROP", "nf_hook_slow"), of("NETFILTER_DROP", "")], [None; 2]);
        assert_eq!(of("NETFILTER_DROP", "nft_do_chain"), Some(Usual::Often));
    }

    #[test]
    fn reasons_are_as_explained() {
        assert_eq!(of("NOMEM", ""), Some(Usual::Never));
        assert_eq!(of("TCP_RESET", ""), Some(Usual::Sometimes));
        assert_eq!(of("redirect failed: ENETDOWN (target is down)", ""), of("REDIRECT FAILED", ""));
        assert!(of("redirect failed", "").is_some());
        assert_eq!([of("NEXT_YEARS_REASON", ""), of("blackhole_route", "")], [None; 2]);
    }

    #[test]
    fn buffers_that_are_no_packets_are_unknown() {
        let known = UsualDrops::built_in().unwrap();
        let key = crate::domain::event::NamedKey {
            reason: std::sync::Arc::new(crate::domain::event::Reason {
                value: Some(3),
                subsystem: "core".into(),
                name: "UNHANDLED_PROTO".into(),
            }),
            ..NamedKey::default()
        };
        assert_eq!(known.of_key(&key), Some(Usual::Often));
        let unix = NamedKey { kind: crate::domain::event::Kind::Unix, ..key };
        assert_eq!(known.of_key(&unix), None);
    }

    #[test]
    fn sites_say_something_else_than_their_reasons() {
        let known = UsualDrops::built_in().unwrap();
        for entry in &known.sites {
            assert_ne!(known.of_reason(&entry.reason), entry.usual, "{entry:?}");
            assert!(Explanations::built_in().unwrap().get(&entry.reason).is_some(), "{entry:?}");
        }
        assert!(known.often_sites().any(|site| site == ("NOT_SPECIFIED", "ip6_mc_input")));
        let is_often = ["UNHANDLED_PROTO", "NO_SOCKET", "NOT_SPECIFIED"].map(|name| known.is_often_anywhere(name));
        assert_eq!(is_often, [true, false, false]);
        let elsewhere: HashMap<_, _> = known.often_elsewhere().collect();
        assert_eq!((elsewhere.len(), &elsewhere["NETFILTER_DROP"][..]), (2, &["nf_hook_slow"][..]));
    }
}
