//! What is known of drops beside their counts: explanations, and the answers to filters.

use anyhow::{Context as _, Result};

use crate::domain::event::{NamedKey, reason_name};
use crate::explain::{Explanation, Explanations, Usual};
use crate::filter::{Filter, Named, UsualReasons, View};

/// The explanations of drop reasons, and the network namespace that `netns self` means.
#[derive(Debug)]
pub(crate) struct Knowledge {
    explanations: Explanations,
    usual: UsualReasons,
    home_netns: u32,
}

impl Knowledge {
    /// Reads the built-in explanations. `home_netns` is the inode number of droptrace's own network namespace, 0 if it is
    /// unknown.
    pub(crate) fn built_in(home_netns: u32) -> Result<Self> {
        let context = "cannot read the explanations of drop reasons";
        let (explanations, usual) =
            (Explanations::built_in().context(context)?, UsualReasons::built_in().context(context)?);
        Ok(Self { explanations, usual, home_netns })
    }

    /// The explanation of a drop's reason, with its name.
    pub(crate) fn explanation(&self, key: &NamedKey) -> Option<(&str, &Explanation)> {
        self.explanations.get(reason_name(&key.reason)?)
    }

    /// Whether healthy hosts have drops of this reason; absent where it is not explained.
    pub(crate) fn usual(&self, key: &NamedKey) -> Option<Usual> {
        self.explanation(key).map(|(_, explanation)| explanation.usual)
    }

    /// Whether healthy hosts often have drops of this reason, as the word `usual` of filters means it.
    pub(crate) fn is_usual(&self, key: &NamedKey) -> bool {
        reason_name(&key.reason).is_some_and(|name| self.usual.contains(name))
    }

    /// Whether a drop matches a filter without conditions on packets, users and processes.
    pub(crate) fn matches(&self, filter: &Filter, key: &NamedKey) -> bool {
        filter.matches(&View::default(), &Named::of_key(key, &self.usual, self.home_netns))
    }
}
