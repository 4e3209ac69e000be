//! Groups totals by some of the dimensions of their keys (`--by`).

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::dimension::Dimensions;
use crate::domain::event::NamedKey;
use crate::domain::identity::Identity;
use crate::domain::total::{DropTotal, group};

/// A key without its values in other dimensions. Keys with equal numbers are equal, whatever names they have.
#[derive(Clone)]
struct Reduced {
    key: Arc<NamedKey>,
    identity: Identity,
}

impl PartialEq for Reduced {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Reduced {}

impl Hash for Reduced {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

/// Sums totals by these dimensions and by the kind of what was freed. The sum of all packets stays the same.
pub fn group_by(totals: &[DropTotal], by: &Dimensions) -> Vec<DropTotal> {
    let reduced = |key: &Arc<NamedKey>| {
        let key = by.reduce(key);
        Reduced { identity: Identity::from(&key), key: Arc::new(key) }
    };
    group(totals, reduced).iter().map(|total| total.with_key(Arc::clone(&total.key.key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Residence;
    use crate::domain::owner::Owner;
    use crate::sink::samples::totals_of_two_namespaces;

    #[test]
    fn groups_differ_in_their_dimensions_only_and_keep_the_sum() {
        let totals = totals_of_two_namespaces();
        let sum = |totals: &[DropTotal]| totals.iter().map(|total| total.packets).sum::<u64>();
        for (by, rows) in [("netns", 2), ("reason", 6), ("protocol,netns", 5), ("site,reason", 6)] {
            let groups = group_by(&totals, &by.parse().unwrap());
            assert_eq!((groups.len(), sum(&groups)), (rows, sum(&totals)), "{by}");
        }
        let all = group_by(&totals, &Dimensions::all());
        assert_eq!(all, totals, "all dimensions change nothing");
    }

    #[test]
    fn containers_at_the_ends_of_links_are_groups() {
        let total = totals_of_two_namespaces().remove(0);
        let at = |ifindex, container: &str| {
            let owner = Owner { container: Some(container.into()), ..Owner::default() }.into();
            let key = NamedKey { ifindex, owner, residence: Some(Residence::Peer), ..(*total.key).clone() };
            total.with_key(Arc::new(key))
        };
        let totals = [at(5, "db"), at(6, "web"), at(7, "web")];
        assert_eq!(group_by(&totals, &"netns,container".parse().unwrap()).len(), 2);
        assert_eq!(group_by(&totals, &"netns,interface,container".parse().unwrap()).len(), 3);
        assert_eq!(group_by(&totals, &"netns".parse().unwrap()).len(), 1);
    }

    #[test]
    fn a_new_name_is_not_a_new_group() {
        let total = totals_of_two_namespaces().remove(0);
        let renamed =
            NamedKey { interface: Some("wan".into()), netns_name: Some("red".into()), ..(*total.key).clone() };
        let totals = [total.clone(), total.with_key(Arc::new(renamed))];
        assert_eq!(group_by(&totals, &"interface,netns".parse().unwrap()).len(), 1);
    }
}
