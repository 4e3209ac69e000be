//! The labels that series of drops have.

use std::sync::Arc;

use crate::dimension::{Dimensions, Elsewhere};
use crate::explain::{Usual, usual_of};

/// The optional label: it multiplies the series, and changes with each build of the kernel.
pub(crate) const OFFSET: &str = "offset";

/// The label that says what is known of the owner, where labels have owners.
pub(crate) const OWNER: &str = "owner";

/// The label that says whether healthy hosts have such drops. Reason and function determine it: it makes no series of its own.
const USUAL: &str = "usual";

/// Values of the labels of a set, in the order of their names; empty where they are unknown.
pub(crate) type Labels = Box<[Arc<str>]>;

/// The names of the labels.
#[derive(Clone, Debug)]
pub(crate) struct LabelSet {
    dimensions: Dimensions,
    has_offsets: bool,
}

impl LabelSet {
    /// The labels of the usual dimensions, with or without [`OFFSET`], and those of owners.
    pub(crate) fn new(has_offsets: bool, owners: Option<&Dimensions>) -> Self {
        let usual = Dimensions::usual();
        let dimensions = owners.map_or_else(|| usual.clone(), |owners| usual.and(owners));
        Self { dimensions, has_offsets }
    }

    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let names = self.dimensions.iter().flat_map(|dimension| dimension.labels().iter().copied());
        names.filter(|name| self.has(name)).chain([USUAL]).chain(self.dimensions.has_attribution().then_some(OWNER))
    }

    /// The values for a key. `owner` says what is known of its owner; empty if the capture backend knows no owners.
    pub(crate) fn values(&self, key: &Elsewhere<'_>, owner: &str) -> Labels {
        let mut labels: Vec<Arc<str>> = Vec::new();
        for dimension in self.dimensions.iter() {
            let mut values = Vec::new();
            dimension.label_values(key, &mut values);
            let named = dimension.labels().iter().zip(values);
            labels.extend(named.filter(|(name, _)| self.has(name)).map(|(_, value)| Arc::from(value)));
        }
        labels.push(usual_of(key.key).map_or("", Usual::name).into());
        labels.extend(self.dimensions.has_attribution().then(|| owner.into()));
        labels.into()
    }

    /// The value of a label; empty if the set does not have the label.
    pub(crate) fn value<'l>(&self, labels: &'l Labels, name: &str) -> &'l str {
        self.names().zip(labels).find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    fn has(&self, name: &str) -> bool {
        name != OFFSET || self.has_offsets
    }
}
