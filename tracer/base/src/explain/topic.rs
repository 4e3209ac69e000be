//! What the explanations have of one drop or one name: a reason with its site, a site alone, or a counter.

use std::borrow::Cow;

use super::combined::{FIRST_OF_CLIENTS, commands, fits, listed_sockets, sentences};
use super::fill::RULE;
use super::{Counter, Counters, Explanation, Explanations, MalformedData, Site, Sites, Usual, Values};

/// The reason of drops to which the kernel gives none (`SKB_DROP_REASON_NOT_SPECIFIED`).
const UNSPECIFIC: &str = "NOT_SPECIFIED";

/// All explanations.
#[derive(Clone, Debug)]
pub struct Library {
    /// Of drop reasons.
    pub reasons: Explanations,
    /// Of drop sites.
    pub sites: Sites,
    /// Of kernel counters.
    pub counters: Counters,
}

/// An explanation with its name.
#[derive(Clone, Copy, Debug)]
pub enum Topic<'l> {
    /// A drop reason, and the drop site if it has an explanation as well.
    Reason(&'l str, &'l Explanation, Option<(&'l str, &'l Site)>),
    /// A drop site: the explanation of drops without a reason.
    Site(&'l str, &'l Site),
    /// A kernel counter.
    Counter(&'l str, &'l Counter),
}

impl Library {
    /// The built-in explanations. An error is a fault of droptrace.
    pub fn built_in() -> Result<Self, MalformedData> {
        let (reasons, sites, counters) = (Explanations::built_in()?, Sites::built_in()?, Counters::built_in()?);
        Ok(Self { reasons, sites, counters })
    }

    /// The explanation of a drop by its reason and its function; absent if neither has one. Where the kernel gives no reason,
    /// the function says more.
    pub fn of_drop(&self, reason: Option<&str>, function: Option<&str>) -> Option<Topic<'_>> {
        let site = function.and_then(|function| self.sites.get(function));
        let reason = reason.and_then(|reason| self.reasons.get(reason));
        match (reason, site) {
            (None | Some((UNSPECIFIC, _)), Some((name, site))) => Some(Topic::Site(name, site)),
            (Some((name, explanation)), site) => Some(Topic::Reason(name, explanation, site)),
            (None, None) => None,
        }
    }

    /// The explanation with this name: of a counter, a reason, or a site.
    pub fn named(&self, asked: &str) -> Option<Topic<'_>> {
        let counter = || self.counters.get(asked).map(|(name, counter)| Topic::Counter(name, counter));
        let reason = || self.reasons.get(asked).map(|(name, reason)| Topic::Reason(name, reason, None));
        let site = || self.sites.get(asked).map(|(name, site)| Topic::Site(name, site));
        counter().or_else(reason).or_else(site)
    }

    /// The names that are most similar to this one, the most similar first; empty if none is similar.
    pub fn nearest(&self, asked: &str) -> Vec<&str> {
        let (reasons, counters) =
            (self.reasons.iter().map(|(name, _)| name), self.counters.iter().map(|(name, _)| name));
        let sites = self.sites.iter().map(|(name, _)| name);
        super::nearest(&super::canonical(asked), reasons.chain(counters).chain(sites))
    }

    /// All topics: reasons, sites, counters.
    pub fn topics(&self) -> impl Iterator<Item = Topic<'_>> {
        let reasons = self.reasons.iter().map(|(name, reason)| Topic::Reason(name, reason, None));
        let sites = self.sites.iter().map(|(name, site)| Topic::Site(name, site));
        let counters = self.counters.iter().map(|(name, counter)| Topic::Counter(name, counter));
        reasons.chain(sites).chain(counters)
    }
}

impl<'l> Topic<'l> {
    /// The name.
    pub const fn name(&self) -> &'l str {
        match self {
            Self::Reason(name, ..) | Self::Site(name, _) | Self::Counter(name, _) => name,
        }
    }

    /// Whether healthy hosts have such drops; absent for counters, and where the reason alone does not tell.
    pub const fn usual(&self) -> Option<Usual> {
        match self {
            Self::Reason(_, explanation, _) => explanation.usual,
            Self::Site(_, site) => Some(site.usual),
            Self::Counter(..) => None,
        }
    }

    /// What happened to the packet, or what the counter counts, without what cannot be at the site.
    pub(super) fn meaning(&self) -> Cow<'l, str> {
        match *self {
            Self::Reason(_, explanation, Some((name, _))) => sentences(&explanation.meaning, name).into(),
            Self::Reason(_, Explanation { meaning, .. }, None)
            | Self::Site(_, Site { meaning, .. })
            | Self::Counter(_, Counter { meaning, .. }) => meaning.into(),
        }
    }

    /// Common causes, without those that cannot be at the site.
    pub fn causes(&self) -> Vec<&'l str> {
        let (causes, name): (&[String], _) = match *self {
            Self::Reason(_, explanation, Some((name, site))) if !site.is_alone => (&explanation.causes, name),
            Self::Reason(_, explanation, None) => (&explanation.causes, ""),
            Self::Reason(_, _, Some((name, site))) | Self::Site(name, site) => (&site.causes, name),
            Self::Counter(_, counter) => (&counter.causes, ""),
        };
        causes.iter().map(String::as_str).filter(|cause| fits(cause, name)).collect()
    }

    /// The commands to run next, in the form of [`super::fill`], each once.
    pub fn next(&self) -> Vec<Cow<'l, str>> {
        match *self {
            Self::Reason(_, explanation, Some((name, site))) => {
                commands(&site.next, if site.is_alone { &[] } else { &explanation.next }, name)
            }
            Self::Reason(_, explanation, None) => commands(&[], &explanation.next, ""),
            Self::Site(_, site) => commands(&site.next, &[], ""),
            Self::Counter(_, counter) => commands(&counter.next, &[], ""),
        }
    }

    /// The commands to run next for a row: where nothing says that a listener is missing, a port of a client needs none.
    pub(crate) fn next_for(&self, values: &Values) -> Vec<Cow<'l, str>> {
        let mut commands = self.next();
        let is_of_client = values.destination_port.is_some_and(|port| port >= FIRST_OF_CLIENTS);
        if is_of_client && matches!(self, Self::Site(..)) {
            commands.retain(|command| !listed_sockets(command));
        }
        commands
    }

    /// The commands that change the system, likewise.
    pub fn changes(&self) -> Vec<Cow<'l, str>> {
        match *self {
            Self::Reason(_, explanation, Some((name, site))) => {
                commands(&site.changes, if site.is_alone { &[] } else { &explanation.changes }, name)
            }
            Self::Reason(_, explanation, None) => commands(&[], &explanation.changes, ""),
            Self::Site(_, site) => commands(&site.changes, &[], ""),
            Self::Counter(..) => vec![],
        }
    }

    /// The command that shows the cause at once, though it changes the system while it runs: `droptrace rule`, unless the drop
    /// site is one of which rules are only one cause.
    pub fn best(&self) -> Option<Cow<'l, str>> {
        let may_be_another = matches!(self, Self::Reason(_, _, Some((_, site))) if site.changes.is_empty());
        self.changes().into_iter().find(|command| !may_be_another && command.starts_with(RULE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_explains_drops_without_a_reason() {
        let library = Library::built_in().unwrap();
        let name = |reason, function| library.of_drop(reason, function).map(|topic| topic.name());
        assert_eq!(name(Some("NOT_SPECIFIED"), Some("ip_error")), Some("ip_error"));
        assert_eq!(name(None, Some("ip_error")), Some("ip_error"));
        assert_eq!(name(Some("NOT_SPECIFIED"), Some("no_such_function")), Some("NOT_SPECIFIED"));
        assert_eq!(name(Some("NETFILTER_DROP"), Some("nft_do_chain")), Some("NETFILTER_DROP"));
        assert_eq!(name(None, None), None);
    }

    #[test]
    fn commands_of_the_site_come_first_and_once() {
        let library = Library::built_in().unwrap();
        let next = library.of_drop(Some("IP_RPFILTER"), Some("ip_rcv_finish_core")).unwrap().next();
        let (_, site) = library.sites.get("ip_rcv_finish_core").unwrap();
        assert_eq!(next[0], site.next[0]);
        let alone = library.of_drop(Some("NETFILTER_DROP"), Some("nft_do_chain")).unwrap();
        assert!(!alone.next().iter().any(|command| command.contains("conntrack")), "{:?}", alone.next());
        assert!(!alone.causes().iter().any(|cause| cause.contains("Connection tracking")), "{:?}", alone.causes());
        assert!(alone.best().unwrap().starts_with("droptrace rule"));
        assert_eq!(library.of_drop(Some("NETFILTER_DROP"), Some("nf_hook_slow")).unwrap().best(), None);
        assert!(next.iter().enumerate().all(|(at, command)| !next[..at].contains(command)), "{next:?}");
    }

    #[test]
    fn client_needs_no_listener() {
        let library = Library::built_in().unwrap();
        let lists = |reason, port| {
            let values = Values { destination_port: Some(port), ..Values::default() };
            let topic = library.of_drop(Some(reason), Some("tcp_v4_rcv")).unwrap();
            topic.next_for(&values).iter().any(|command| listed_sockets(command))
        };
        assert!(lists("NOT_SPECIFIED", 80) && lists("NO_SOCKET", 45_333) && !lists("NOT_SPECIFIED", 45_333));
    }

    #[test]
    fn names_of_all_kinds_are_found() {
        let library = Library::built_in().unwrap();
        for name in ["TcpExtListenDrops", "SOCKET_RCVBUFF", "ip_error"] {
            assert_eq!(library.named(name).map(|topic| topic.name()), Some(name));
        }
        assert!(library.named("xyzzy").is_none());
        assert_eq!(library.nearest("ip_eror")[0], "ip_error");
    }
}
