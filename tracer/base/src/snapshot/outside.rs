//! Losses outside `kfree_skb`, which the kernel's counters show.

use serde::{Deserialize, Serialize};

use super::{NAME, SOME, list, text};

/// What the kernel's counters show beside the drops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// The number of network namespaces whose counters were read twice or more.
    pub namespaces: u32,
    /// The number of things that were not read or could not be compared, such as namespaces that may not be entered.
    pub gaps: u32,
    /// The counters that rose, the greatest part outside first.
    #[serde(deserialize_with = "list::bounded::<SOME, _, _>")]
    pub counters: Vec<OutsideCounter>,
}

/// The rise of one counter. A field that is `None` is unknown, or the counter has no such property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideCounter {
    /// The counter's name, as `droptrace explain` knows it.
    #[serde(deserialize_with = "text::bounded::<NAME, _>")]
    pub counter: String,
    /// Name of the interface.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub interface: Option<String>,
    /// Kind of the interface, as in [`super::Row`].
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub class: Option<String>,
    /// Name of the network namespace.
    #[serde(default, deserialize_with = "text::option::<NAME, _>")]
    pub netns_name: Option<String>,
    /// Whether the counter is of the network namespace that droptrace ran in; `None` also for a counter of the whole host.
    pub own_netns: Option<bool>,
    /// The rise.
    pub rise: u64,
    /// The part that certainly is outside `kfree_skb`; `None` if the counter cannot be compared with drops.
    pub outside: Option<u64>,
    /// The greatest part that may be outside; `None` as above.
    pub at_most_outside: Option<u64>,
}
