//! The groups of local endpoints, their chains, and the maps that lead to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nft::{Datatype, Element, Name, Set, Verdict};
use resources::Key;

use crate::model::{Direction, Policy};
use crate::render::{self, Group};
use crate::selection::Selection;
use crate::{EndpointId, names};

/// One group of one direction: who is in it and what it renders to.
#[derive(Debug)]
struct Shared {
    direction: Direction,
    policies: Vec<Key>,
    users: usize,
    rendered: Group,
}

/// The group of an endpoint in each direction; `None`: no policy governs it there.
type Assignment = [Option<Name>; 2];

/// All groups in use.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: BTreeMap<Name, Shared>,
    assigned: BTreeMap<EndpointId, Assignment>,
    by_policy: BTreeMap<Key, BTreeSet<Name>>,
}

impl Groups {
    /// Puts an endpoint into the groups of the policies that apply to it; `present`: whether there is such an endpoint.
    pub(crate) fn assign(&mut self, id: &EndpointId, selection: &Selection, present: bool) {
        let wanted = present.then(|| {
            Direction::BOTH.map(|direction| {
                let policies: Vec<_> = governing(selection, id, direction).cloned().collect();
                (!policies.is_empty()).then(|| self.join(direction, policies))
            })
        });
        let before = match wanted {
            Some(wanted) => self.assigned.insert(id.clone(), wanted),
            None => self.assigned.remove(id),
        };
        before.into_iter().flatten().flatten().for_each(|name| self.leave(&name));
    }

    fn join(&mut self, direction: Direction, policies: Vec<Arc<Policy>>) -> Name {
        let keys: Vec<_> = policies.iter().map(|policy| policy.place.key.clone()).collect();
        let name = names::group(keys.iter(), direction);
        if let Some(group) = self.groups.get_mut(&name) {
            group.users += 1;
            return name;
        }
        for key in &keys {
            self.by_policy.entry(key.clone()).or_default().insert(name.clone());
        }
        let rendered = render::group(direction, &policies);
        self.groups.insert(name.clone(), Shared { direction, policies: keys, users: 1, rendered });
        name
    }

    fn leave(&mut self, name: &Name) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.users = group.users.saturating_sub(1);
        if group.users > 0 {
            return;
        }
        for key in self.groups.remove(name).into_iter().flat_map(|group| group.policies) {
            if let Some(names) = self.by_policy.get_mut(&key) {
                names.remove(name);
                if names.is_empty() {
                    self.by_policy.remove(&key);
                }
            }
        }
    }

    /// Renders the groups of a policy anew. Their endpoints must have been assigned before.
    pub(crate) fn refresh(&mut self, key: &Key, selection: &Selection) {
        for name in self.by_policy.get(key).into_iter().flatten() {
            let Some(group) = self.groups.get_mut(name) else { continue };
            let policies: Vec<_> =
                group.policies.iter().filter_map(|key| selection.policy(key)).map(Arc::clone).collect();
            group.rendered = render::group(group.direction, &policies);
        }
    }

    /// What all groups render to, by name.
    pub(crate) fn rendered(&self) -> impl Iterator<Item = (&Name, &Group)> {
        self.groups.iter().map(|(name, group)| (name, &group.rendered))
    }

    /// Whether any endpoint's outgoing connections are governed.
    pub(crate) fn has_egress(&self) -> bool {
        self.groups.values().any(|group| group.direction == Direction::Egress)
    }

    /// The map from interface to chain of one direction.
    pub(crate) fn dispatch<'e>(
        &self,
        direction: Direction,
        interfaces: impl Iterator<Item = (&'e EndpointId, &'e str)>,
    ) -> Set {
        let entries = interfaces.map(|(id, interface)| {
            let [ingress, egress] = self.assigned.get(id).cloned().unwrap_or_default();
            let group = match direction {
                Direction::Ingress => ingress,
                Direction::Egress => egress,
            };
            let verdict = group.map_or_else(|| render::allow(direction), Verdict::Goto);
            (Element::ifname(interface), verdict)
        });
        Set::verdict_map([Datatype::Ifname]).with_entries(entries)
    }
}

/// The policies that govern a direction of an endpoint, in evaluation order.
pub(crate) fn governing<'s>(
    selection: &'s Selection,
    id: &EndpointId,
    direction: Direction,
) -> impl Iterator<Item = &'s Arc<Policy>> {
    selection.applied(id).filter(move |policy| policy.rules(direction).is_some())
}
