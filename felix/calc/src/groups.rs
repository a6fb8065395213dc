//! The groups of local endpoints, their chains, and the maps that lead to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nft::{Datatype, Element, Set};
use resources::Key;

use crate::EndpointId;
use crate::model::{Direction, Policy};
use crate::render::{self, Group};
use crate::selection::Selection;

/// One group: how many are in it and what it renders to.
#[derive(Debug)]
struct Shared {
    users: usize,
    rendered: Group,
}

/// What makes a group: the policies in evaluation order.
type GroupKey = (Direction, Vec<Key>);

/// The group of an endpoint in each direction; `None`: no policy governs it there.
type Assignment = [Option<GroupKey>; 2];

/// All groups in use.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: BTreeMap<GroupKey, Shared>,
    assigned: BTreeMap<EndpointId, Assignment>,
    by_policy: BTreeMap<Key, BTreeSet<GroupKey>>,
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
        before.into_iter().flatten().flatten().for_each(|group| self.leave(&group));
    }

    fn join(&mut self, direction: Direction, policies: Vec<Arc<Policy>>) -> GroupKey {
        let group = (direction, policies.iter().map(|policy| policy.place.key.clone()).collect::<Vec<_>>());
        if let Some(shared) = self.groups.get_mut(&group) {
            shared.users += 1;
            return group;
        }
        for policy in &group.1 {
            self.by_policy.entry(policy.clone()).or_default().insert(group.clone());
        }
        self.groups.insert(group.clone(), Shared { users: 1, rendered: render::group(direction, &policies) });
        group
    }

    fn leave(&mut self, group: &GroupKey) {
        let Some(shared) = self.groups.get_mut(group) else { return };
        shared.users = shared.users.saturating_sub(1);
        if shared.users > 0 {
            return;
        }
        self.groups.remove(group);
        for policy in &group.1 {
            if let Some(groups) = self.by_policy.get_mut(policy) {
                groups.remove(group);
                if groups.is_empty() {
                    self.by_policy.remove(policy);
                }
            }
        }
    }

    /// Renders the groups of a policy anew. Their endpoints must have been assigned before.
    pub(crate) fn refresh(&mut self, key: &Key, selection: &Selection) {
        for group in self.by_policy.get(key).into_iter().flatten() {
            let Some(shared) = self.groups.get_mut(group) else { continue };
            let (direction, policies) = group;
            let policies: Vec<_> = policies.iter().filter_map(|key| selection.policy(key)).map(Arc::clone).collect();
            shared.rendered = render::group(*direction, &policies);
        }
    }

    /// What all groups render to.
    pub(crate) fn rendered(&self) -> impl Iterator<Item = &Group> {
        self.groups.values().map(|shared| &shared.rendered)
    }

    /// Whether any endpoint's outgoing connections are governed.
    pub(crate) fn has_egress(&self) -> bool {
        self.groups.keys().any(|(direction, _)| *direction == Direction::Egress)
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
            let shared = group.and_then(|group| self.groups.get(&group));
            let verdict = shared.map_or_else(|| render::allow(direction), |shared| shared.rendered.goto());
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
