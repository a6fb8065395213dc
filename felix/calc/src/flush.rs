//! From what changed to what this node should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nft::{Datatype, Element, Family, Name, Ruleset, Set, Value};
use resources::Key;

use crate::graph::Dirty;
use crate::groups::governing;
use crate::membership::SetKey;
use crate::model::Direction;
use crate::render::{self, FAMILIES, FROM_POD, Marking, TO_POD};
use crate::selection::{Changed, Selected};
use crate::{
    CalcGraph, Condition, Desired, EndpointId, EndpointPolicies, LocalEndpoint, OpenConnections, PolicyView,
    conditions, names, next_generation, permission, words,
};

impl CalcGraph {
    /// Computes what follows from the news; `None` when nothing does, or before [`crate::Update::InSync`].
    pub fn flush(&mut self) -> Option<Arc<Desired>> {
        let rises = self.bump_due && !self.hold;
        if !self.in_sync || !(self.dirty.anything || rises) {
            return None;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let endpoints = self.refresh_endpoints(dirty);
        let changed = self.selection.take_changed();
        self.refresh_groups(&changed);
        self.refresh_selectors(&changed);
        self.refresh_views(&endpoints, &changed);
        let ruleset = self.ruleset();
        let desired = self.desired(ruleset);
        if self.current.as_ref().is_some_and(|current| same(current, &desired)) {
            return None;
        }
        let desired = Arc::new(desired);
        self.current = Some(Arc::clone(&desired));
        Some(desired)
    }

    /// Brings pods and endpoints up to date; returns the endpoints that may be otherwise.
    fn refresh_endpoints(&mut self, dirty: Dirty) -> BTreeSet<EndpointId> {
        let mut endpoints = dirty.endpoints;
        for namespace in &dirty.namespaces {
            self.memberships.refresh_namespace(&self.namespaces, namespace);
            let inside = self.workloads.endpoints().values().filter(|endpoint| endpoint.namespace == *namespace);
            endpoints.extend(inside.map(|endpoint| endpoint.id.clone()));
        }
        for pod in &dirty.pods {
            let workloads = self.workloads.of_pod(pod, &self.config.node_name);
            self.memberships.set_pod(&self.namespaces, pod, workloads);
            endpoints.extend(self.workloads.endpoints_of(pod).cloned());
        }
        for id in &endpoints {
            let selected = self.workloads.endpoints().get(id).map(|endpoint| Selected {
                namespace: endpoint.namespace.clone(),
                labels: self.workloads.labels_of(endpoint).clone(),
            });
            self.selection.set_endpoint(&self.namespaces, id, selected);
        }
        endpoints
    }

    fn refresh_groups(&mut self, changed: &Changed) {
        for id in &changed.endpoints {
            let is_present = self.workloads.endpoints().contains_key(id);
            self.groups.assign(id, &self.selection, is_present);
        }
        for key in changed.policies.keys() {
            self.groups.refresh(key, &self.selection);
        }
    }

    /// Keeps exactly those sets that policies that apply to somebody look into.
    fn refresh_selectors(&mut self, changed: &Changed) {
        for key in changed.policies.keys().chain(&changed.subjects) {
            let applies = self.selection.subjects(key).next().is_some();
            let policy = self.selection.policy(key).filter(|_| applies);
            let wanted = policy.map(|policy| render::set_keys(policy)).unwrap_or_default();
            let before = self.needed.remove(key).unwrap_or_default();
            wanted.difference(&before).for_each(|set| self.memberships.acquire(&self.namespaces, set));
            before.difference(&wanted).for_each(|set| self.memberships.release(set));
            if !wanted.is_empty() {
                self.needed.insert(key.clone(), wanted);
            }
        }
        for key in self.memberships.take_changed() {
            self.refresh_set(&key);
        }
    }

    fn refresh_set(&mut self, key: &SetKey) {
        match self.memberships.members(key) {
            Some(members) => self.rendered.selectors.extend(render::members(key, members)),
            None => {
                for family in FAMILIES {
                    self.rendered.selectors.remove(&names::members(key, family));
                }
            }
        }
    }

    fn refresh_views(&mut self, endpoints: &BTreeSet<EndpointId>, changed: &Changed) {
        let touched: BTreeSet<_> = endpoints.union(&changed.endpoints).collect();
        for id in &touched {
            match self.workloads.endpoints().get(*id) {
                Some(endpoint) => {
                    let view = self.endpoint_view(endpoint);
                    let kept = self.rendered.endpoints.get(*id).is_some_and(|before| **before == view);
                    if !kept {
                        self.rendered.endpoints.insert((*id).clone(), Arc::new(view));
                    }
                }
                None => {
                    self.rendered.endpoints.remove(*id);
                }
            }
        }
        if !(touched.is_empty() && changed.policies.is_empty()) || self.rendered.interfaces.is_empty() {
            self.rendered.interfaces = self.interface_sets();
        }
        for place in changed.policies.values().flatten() {
            self.rendered.policies.remove(place);
        }
        for key in changed.policies.keys().chain(&changed.subjects) {
            let Some(policy) = self.selection.policy(key) else { continue };
            let [ingress, egress] = match self.rendered.policies.get(&policy.place) {
                Some(before) => [before.ingress.clone(), before.egress.clone()],
                None => Direction::BOTH.map(|direction| words::rules(policy, direction)),
            };
            let view = PolicyView {
                key: key.clone(),
                tier: policy.place.tier.name.to_owned(),
                endpoints: self.selection.subjects(key).cloned().collect(),
                ingress,
                egress,
            };
            self.rendered.policies.insert(policy.place.clone(), Arc::new(view));
        }
    }

    fn endpoint_view(&self, endpoint: &LocalEndpoint) -> EndpointPolicies {
        let keys = |direction| -> Vec<Key> {
            governing(&self.selection, &endpoint.id, direction).map(|policy| policy.place.key.clone()).collect()
        };
        let mut addresses = endpoint.addresses.clone();
        addresses.sort_unstable();
        EndpointPolicies {
            namespace: endpoint.namespace.clone(),
            pod: endpoint.pod.clone(),
            interface: endpoint.interface.clone(),
            addresses,
            labels: self.workloads.labels_of(endpoint).clone(),
            ingress: keys(Direction::Ingress),
            egress: keys(Direction::Egress),
        }
    }

    /// The maps from interface to chain, and which address is whose.
    fn interface_sets(&self) -> BTreeMap<Name, Arc<Set>> {
        let endpoints = || self.workloads.endpoints().values();
        let interfaces = || endpoints().map(|endpoint| (&endpoint.id, endpoint.interface.as_str()));
        let mut sets = BTreeMap::from([
            (Name::from(FROM_POD), Arc::new(self.groups.dispatch(Direction::Egress, interfaces()))),
            (Name::from(TO_POD), Arc::new(self.groups.dispatch(Direction::Ingress, interfaces()))),
        ]);
        for family in FAMILIES {
            let datatype = match family {
                Family::Ipv4 => Datatype::Ipv4Addr,
                Family::Ipv6 => Datatype::Ipv6Addr,
            };
            let pairs = endpoints().flat_map(|endpoint| {
                let of_family = endpoint.addresses.iter().filter(move |address| Family::of(address) == family);
                of_family.map(|address| Element::from(Value::ifname(&endpoint.interface).dot(*address)))
            });
            let set = Set::of([Datatype::Ifname, datatype]).with_members(pairs);
            sets.insert(render::of_family("spoof", family), Arc::new(set));
        }
        sets
    }

    /// The table, with the generation raised if it must be. What is as before is the same allocation as before.
    fn ruleset(&mut self) -> Ruleset {
        let mut ruleset = self.rendered.fixed.clone();
        ruleset.sets.extend(self.rendered.interfaces.clone());
        ruleset.sets.extend(self.rendered.selectors.clone());
        for group in self.groups.rendered() {
            ruleset.add_chain(&group.name, Arc::clone(&group.chain));
            ruleset.sets.extend(group.networks.clone());
        }
        let masquerade = self.addressing.masquerade_sets();
        if !masquerade.is_empty() {
            ruleset.sets.extend(masquerade);
            ruleset.add_chain("postrouting_nat", render::postrouting());
        }
        share(&self.rendered.ruleset.sets, &mut ruleset.sets);
        if self.config.open_connections == OpenConnections::Cut {
            self.bump_due |= permission::takes_away(&self.rendered.ruleset, &ruleset);
        }
        if self.bump_due && !self.hold {
            self.bump_due = false;
            self.generation = next_generation(self.generation);
        }
        self.add_marking_chains(&mut ruleset);
        share(&self.rendered.ruleset.chains, &mut ruleset.chains);
        self.rendered.ruleset = ruleset.clone();
        ruleset
    }

    fn add_marking_chains(&self, ruleset: &mut Ruleset) {
        let marking =
            Marking { open_connections: self.config.open_connections, generation: self.generation, due: self.bump_due };
        ruleset.add_chain("forward", render::forward(&self.config, marking));
        if self.groups.has_egress() {
            ruleset.add_chain("input", render::input(&self.config, marking));
        }
    }

    fn desired(&self, ruleset: Ruleset) -> Desired {
        let addresses = self.addressing.addresses(&self.config.node_name, self.workloads.endpoints().values());
        let mut origins = self.services.origins(&self.config.node_name);
        origins.extend(addresses.origins);
        let mut conditions: Vec<Condition> = self.conditions.all().cloned().collect();
        conditions.extend(conditions::missing_ports(&self.needed, &self.memberships));
        conditions.extend(addresses.conditions);
        conditions.sort_unstable();
        conditions.dedup();
        Desired {
            revision: self.current.as_ref().map_or(0, |current| current.revision) + 1,
            generation: self.generation,
            ruleset,
            routes: addresses.routes,
            origins,
            endpoints: self.rendered.endpoints.clone(),
            policies: self.rendered.policies.values().cloned().collect(),
            conditions,
        }
    }
}

/// Whether two differ in nothing but their revision.
fn same(current: &Desired, next: &Desired) -> bool {
    current.generation == next.generation
        && current.ruleset == next.ruleset
        && current.routes == next.routes
        && current.origins == next.origins
        && current.endpoints == next.endpoints
        && current.policies == next.policies
        && current.conditions == next.conditions
}

/// Keeps the allocations of what is the same as before.
fn share<T: Eq>(before: &BTreeMap<Name, Arc<T>>, now: &mut BTreeMap<Name, Arc<T>>) {
    for (name, value) in now {
        if let Some(before) = before.get(name).filter(|before| *before == value) {
            *value = Arc::clone(before);
        }
    }
}
