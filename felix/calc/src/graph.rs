//! The graph: everything known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nft::{Name, Ruleset, Set};
use resources::{BgpConfiguration, EndpointSlice, Key, Kind, Object as _, Resource, Service};

use crate::addressing::Addressing;
use crate::conditions::Conditions;
use crate::generation::{generation_of, is_due, usable};
use crate::groups::Groups;
use crate::membership::{Memberships, SetKey};
use crate::model::Place;
use crate::namespace::NamespaceLabels;
use crate::selection::Selection;
use crate::services::Services;
use crate::workload::{PodKey, Workloads};
use crate::{Config, Desired, EndpointId, EndpointPolicies, PolicyView, Update, network_policy, render};

/// What is to be looked at again by the next flush.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    /// Anything at all.
    pub(crate) anything: bool,
    pub(crate) namespaces: BTreeSet<String>,
    pub(crate) pods: BTreeSet<PodKey>,
    pub(crate) endpoints: BTreeSet<EndpointId>,
}

/// Computes what this node should be. Synchronous, one owner.
///
/// Updates say what is ([`CalcGraph::on_update`]) and cost little; [`CalcGraph::flush`] computes what follows from all
/// of them at once, and only that which they touch.
#[derive(Debug)]
pub struct CalcGraph {
    pub(crate) config: Config,
    pub(crate) in_sync: bool,
    pub(crate) dirty: Dirty,
    pub(crate) namespaces: NamespaceLabels,
    pub(crate) workloads: Workloads,
    pub(crate) memberships: Memberships,
    pub(crate) selection: Selection,
    pub(crate) groups: Groups,
    pub(crate) addressing: Addressing,
    pub(crate) services: Services,
    pub(crate) conditions: Conditions,
    /// The sets that each policy that applies to somebody looks into.
    pub(crate) needed: BTreeMap<Key, BTreeSet<SetKey>>,
    pub(crate) generation: u16,
    /// A permission was taken away and the generation has not risen since.
    pub(crate) bump_due: bool,
    pub(crate) hold: bool,
    pub(crate) rendered: Rendered,
    pub(crate) current: Option<Arc<Desired>>,
}

/// What was computed last, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    /// What does not depend on anything but the configuration.
    pub(crate) fixed: Ruleset,
    /// The sets of selectors.
    pub(crate) selectors: BTreeMap<Name, Arc<Set>>,
    /// The maps from interface to chain, and the addresses of every interface.
    pub(crate) interfaces: BTreeMap<Name, Arc<Set>>,
    /// The whole table; before the first flush, what the kernel has.
    pub(crate) ruleset: Ruleset,
    pub(crate) endpoints: BTreeMap<EndpointId, Arc<EndpointPolicies>>,
    pub(crate) policies: BTreeMap<Place, Arc<PolicyView>>,
}

impl CalcGraph {
    /// A graph that knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let rendered = Rendered { fixed: render::fixed(&config), ..Rendered::default() };
        Self {
            generation: usable(config.generation),
            config,
            in_sync: false,
            dirty: Dirty::default(),
            namespaces: NamespaceLabels::default(),
            workloads: Workloads::default(),
            memberships: Memberships::default(),
            selection: Selection::default(),
            groups: Groups::default(),
            addressing: Addressing::default(),
            services: Services::default(),
            conditions: Conditions::default(),
            needed: BTreeMap::new(),
            bump_due: false,
            hold: false,
            rendered,
            current: None,
        }
    }

    /// Goes on from what the kernel has, before the first flush: its generation counts on, and the first flush raises
    /// it only if it takes a permission away that this ruleset gave.
    pub fn resume(&mut self, actual: &Ruleset) {
        if let Some(generation) = generation_of(actual) {
            self.generation = usable(generation);
            self.bump_due = is_due(actual);
        }
        self.rendered.ruleset = actual.clone();
    }

    /// While held, changes that take permissions away are for new connections only; the generation rises with the
    /// first flush after. Whoever has a clock holds the generation back so that it rises at most once a second.
    pub fn hold_generation(&mut self, hold: bool) {
        self.hold = hold;
    }

    /// Whether the generation waits to rise; see [`CalcGraph::hold_generation`].
    #[must_use]
    pub fn is_generation_due(&self) -> bool {
        self.bump_due
    }

    /// What the last flush that changed anything said.
    #[must_use]
    pub fn current(&self) -> Option<&Arc<Desired>> {
        self.current.as_ref()
    }

    /// Takes a piece of news.
    pub fn on_update(&mut self, update: Update) {
        self.dirty.anything = true;
        match update {
            Update::Resource(resource) => self.resource(&resource.key(), Some(&resource)),
            Update::Deleted(key) => self.resource(&key, None),
            Update::Endpoint(endpoint) => {
                self.dirty.endpoints.insert(endpoint.id.clone());
                self.dirty.pods.extend(self.workloads.set_endpoint(endpoint));
            }
            Update::EndpointGone(id) => {
                self.dirty.pods.extend(self.workloads.remove_endpoint(&id));
                self.dirty.endpoints.insert(id);
            }
            Update::InSync => self.in_sync = true,
        }
    }

    fn resource(&mut self, key: &Key, resource: Option<&Resource>) {
        self.conditions.set(&self.config.node_name, key, resource);
        let name = key.name.as_str();
        match (key.kind, resource) {
            (Kind::Namespace, resource) => {
                self.namespaces.set(name, resource.map(|resource| &resource.metadata().labels));
                self.dirty.namespaces.insert(key.name.clone());
            }
            (Kind::Pod, resource) => {
                let pod = (namespace_of(key).to_owned(), key.name.clone());
                match resource {
                    Some(Resource::Pod(manifest)) => self.workloads.set_pod(pod.clone(), manifest),
                    _ => self.workloads.remove_pod(&pod),
                }
                self.dirty.pods.insert(pod);
            }
            (Kind::NetworkPolicy, Some(Resource::NetworkPolicy(policy))) => {
                let policy = network_policy::translate(policy);
                self.selection.set_policy(&self.namespaces, &policy.place.key.clone(), Some(policy));
            }
            (Kind::NetworkPolicy, _) => {
                let key = Key::namespaced(key.kind, namespace_of(key), name);
                self.selection.set_policy(&self.namespaces, &key, None);
            }
            (Kind::IpPool, Some(Resource::IpPool(pool))) => self.addressing.set_pool(name, Some(pool)),
            (Kind::IpPool, _) => self.addressing.set_pool(name, None),
            (Kind::IpamBlock, Some(Resource::IpamBlock(block))) => self.addressing.set_block(name, Some(block)),
            (Kind::IpamBlock, _) => self.addressing.set_block(name, None),
            (Kind::BlockAffinity, Some(Resource::BlockAffinity(affinity))) => {
                self.addressing.set_affinity(&self.config.node_name, name, Some(affinity));
            }
            (Kind::BlockAffinity, _) => self.addressing.set_affinity(&self.config.node_name, name, None),
            _ => self.announced(key, resource),
        }
    }

    /// What decides which addresses of services are announced.
    fn announced(&mut self, key: &Key, resource: Option<&Resource>) {
        let name = || (namespace_of(key).to_owned(), key.name.clone());
        match (key.kind, resource) {
            (Kind::BgpConfiguration, resource) if key.name == "default" => {
                let object = resource.and_then(BgpConfiguration::of);
                self.services.configure(object.map(|object| &object.spec));
            }
            (Kind::Node, resource) if key.name == self.config.node_name => {
                self.services.set_labels(resource.map(|resource| &resource.metadata().labels));
            }
            (Kind::Service, resource) => self.services.set_service(name(), resource.and_then(Service::of)),
            (Kind::EndpointSlice, resource) => self.services.set_slice(name(), resource.and_then(EndpointSlice::of)),
            _ => {}
        }
    }
}

/// The namespace of a namespaced object; `default` where none is named, as for the API server's clients.
fn namespace_of(key: &Key) -> &str {
    key.namespace.as_deref().unwrap_or("default")
}
