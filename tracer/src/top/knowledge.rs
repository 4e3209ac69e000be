//! What is known of drops beside their counts: explanations, and the answers to filters.

use anyhow::{Context as _, Result};

use crate::domain::event::{NamedKey, reason_name};
use crate::explain::{Library, Topic, Usual, UsualDrops};
use crate::filter::{Filter, Named, View};

/// The explanations, and the network namespace that `netns self` means.
#[derive(Debug)]
pub(crate) struct Knowledge {
    library: Library,
    usual: &'static UsualDrops,
    home_netns: u32,
}

impl Knowledge {
    /// Reads the built-in explanations. `home_netns` is the inode number of droptrace's own network namespace, 0 if it is
    /// unknown.
    pub(crate) fn built_in(home_netns: u32) -> Result<Self> {
        let context = "cannot read the explanations of drop reasons";
        let (library, usual) = (Library::built_in().context(context)?, UsualDrops::built_in().context(context)?);
        Ok(Self { library, usual, home_netns })
    }

    /// Another network namespace is the own one.
    pub(crate) const fn set_home(&mut self, home_netns: u32) {
        self.home_netns = home_netns;
    }

    /// The explanation of a drop.
    pub(crate) fn topic(&self, key: &NamedKey) -> Option<Topic<'_>> {
        self.library.of_drop(reason_name(&key.reason), key.location.function())
    }

    /// Whether healthy hosts have such drops; absent where that is unknown.
    pub(crate) fn usual(&self, key: &NamedKey) -> Option<Usual> {
        self.usual.of_key(key)
    }

    /// Whether healthy hosts often have such drops, as the word `usual` of filters means it.
    pub(crate) fn is_usual(&self, key: &NamedKey) -> bool {
        self.usual(key) == Some(Usual::Often)
    }

    /// Whether a drop matches a filter without conditions on packets, users and processes.
    pub(crate) fn matches(&self, filter: &Filter, key: &NamedKey) -> bool {
        filter.matches(&View::default(), &Named::of_key(key, self.usual, self.home_netns))
    }
}
