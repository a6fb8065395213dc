//! `Felix`: status for people and programs.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::SystemTime};

use calc::{Desired, EndpointId, PolicyView};
use datastore::Datastore;
use ipam::Block as IpamBlockView;
use proto::{
    Timestamp,
    felix::{
        Allocation, Block, Condition, Endpoint, GetIpamReply, GetIpamRequest, GetStatusReply, GetStatusRequest,
        ListEndpointsReply, ListEndpointsRequest, ListPoliciesReply, ListPoliciesRequest, Policy, Pool,
        felix_server::Felix,
    },
};
use resources::{Kind, Resource};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::{inventory::Inventory, published::Published};

/// Answers from what the agent last published.
pub(crate) struct StatusService {
    pub(crate) node_name: String,
    /// As in `directory /etc/tortie`.
    pub(crate) datastore: String,
    pub(crate) started: SystemTime,
    pub(crate) store: Arc<dyn Datastore>,
    pub(crate) published: watch::Receiver<Published>,
    pub(crate) inventory: watch::Receiver<Arc<Inventory>>,
}

#[tonic::async_trait]
impl Felix for StatusService {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusReply>, Status> {
        let published = self.published.borrow().clone();
        Ok(Response::new(self.status(&published)))
    }

    async fn list_endpoints(&self, _: Request<ListEndpointsRequest>) -> Result<Response<ListEndpointsReply>, Status> {
        let published = self.published.borrow().clone();
        let Some(desired) = &published.desired else { return Ok(Response::new(Default::default())) };
        let applied = published.kernel_revision >= desired.revision;
        let mut endpoints: Vec<Endpoint> = desired.endpoints.iter().map(|(id, e)| endpoint(id, e, applied)).collect();
        endpoints.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Ok(Response::new(ListEndpointsReply { endpoints }))
    }

    async fn list_policies(
        &self,
        request: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesReply>, Status> {
        let wanted = request.into_inner().endpoint;
        let published = self.published.borrow().clone();
        let Some(desired) = &published.desired else { return Ok(Response::new(Default::default())) };
        let only = if wanted.is_empty() { None } else { Some(find(desired, &wanted)?) };
        let policies = desired.policies.iter().filter(|p| only.as_ref().is_none_or(|id| p.endpoints.contains(id)));
        Ok(Response::new(ListPoliciesReply { policies: policies.map(|p| policy(desired, p)).collect() }))
    }

    async fn get_ipam(&self, _: Request<GetIpamRequest>) -> Result<Response<GetIpamReply>, Status> {
        let failed = |error: datastore::Error| Status::unavailable(error.to_string());
        let objects = self.store.list(Kind::IpamBlock).await.map_err(failed)?;
        let blocks: Vec<IpamBlockView> = objects.into_iter().filter_map(read_block).collect();
        let inventory = Arc::clone(&self.inventory.borrow());
        let pools = inventory.pools().map(|pool| {
            let network = pool.spec.cidr.network();
            let inside = || blocks.iter().filter(|b| network.contains(b.cidr().ip()));
            Pool {
                name: pool.metadata.name.clone(),
                cidr: network.to_string(),
                total: size(network),
                used: inside().map(|b| u64::try_from(b.used()).unwrap_or(u64::MAX)).sum(),
                blocks: count(inside().count()),
                disabled: pool.spec.disabled,
            }
        });
        Ok(Response::new(GetIpamReply {
            pools: pools.collect(),
            blocks: blocks.iter().map(|b| block(b, &self.node_name)).collect(),
        }))
    }
}

impl StatusService {
    fn status(&self, published: &Published) -> GetStatusReply {
        let conditions = conditions(published);
        let desired = published.desired.as_deref();
        let sets = |d: &Desired| count(d.ruleset.sets.len());
        let members = |d: &Desired| count(d.ruleset.sets.values().map(|set| set.elements.len()).sum());
        let active = |d: &Desired| count(d.policies.iter().filter(|p| !p.endpoints.is_empty()).count());
        GetStatusReply {
            node: self.node_name.clone(),
            state: if published.in_sync && published.unapplied.is_empty() { "Ready" } else { "NotReady" }.to_owned(),
            in_sync: published.in_sync,
            desired_revision: desired.map_or(0, |d| d.revision),
            kernel_revision: published.kernel_revision,
            datastore: self.datastore.clone(),
            objects: count(published.objects),
            endpoints: desired.map_or(0, |d| count(d.endpoints.len())),
            active_policies: desired.map_or(0, active),
            policies: desired.map_or(0, |d| count(d.policies.len())),
            sets: desired.map_or(0, sets),
            set_members: desired.map_or(0, members),
            routes: count(published.routes),
            last_apply_seconds: published.last_apply.as_secs_f64(),
            conditions,
            started: Some(Timestamp::from(self.started)),
        }
    }
}

fn conditions(published: &Published) -> Vec<Condition> {
    let refused = published.refusals.iter().map(|refusal| Condition {
        part: "resources".to_owned(),
        state: "warning".to_owned(),
        detail: refusal.clone(),
        next: String::new(),
    });
    let unapplied = published.unapplied.iter().map(|failure| Condition {
        part: failure.part.to_owned(),
        state: "failed".to_owned(),
        detail: failure.detail.clone(),
        next: String::new(),
    });
    let computed = published.desired.iter().flat_map(|desired| &desired.conditions).map(|condition| Condition {
        part: "resources".to_owned(),
        state: condition.severity.to_string(),
        detail: condition.detail.clone(),
        next: condition.next.clone(),
    });
    unapplied.chain(refused).chain(computed).collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn endpoint(id: &EndpointId, endpoint: &calc::EndpointPolicies, applied: bool) -> Endpoint {
    let names = |keys: &[resources::Key]| keys.iter().map(name).collect();
    Endpoint {
        namespace: endpoint.namespace.clone(),
        name: endpoint.pod.clone(),
        interface: endpoint.interface.clone(),
        addresses: endpoint.addresses.iter().map(ToString::to_string).collect(),
        container_id: id.container_id.clone(),
        labels: endpoint.labels.clone().into_iter().collect(),
        ingress_policies: names(&endpoint.ingress),
        egress_policies: names(&endpoint.egress),
        applied,
    }
}

fn name(key: &resources::Key) -> String {
    key.namespace.as_ref().map_or_else(|| key.name.clone(), |namespace| format!("{namespace}/{}", key.name))
}

/// The endpoint that a person means: namespace/pod, an address or an interface.
fn find(desired: &Desired, wanted: &str) -> Result<EndpointId, Status> {
    let address = wanted.parse::<IpAddr>().ok();
    let found = desired.endpoints.iter().find(|(_, e)| {
        format!("{}/{}", e.namespace, e.pod) == wanted
            || e.interface == wanted
            || address.is_some_and(|address| e.addresses.contains(&address))
    });
    let missing = || Status::not_found(format!("no endpoint {wanted} on this node; `felix show endpoints` lists them"));
    found.map(|(id, _)| id.clone()).ok_or_else(missing)
}

fn policy(desired: &Desired, view: &PolicyView) -> Policy {
    let endpoints = view.endpoints.iter().filter_map(|id| desired.endpoints.get(id));
    let rules = |rules: &Option<Arc<[String]>>| rules.as_ref().map(|r| r.to_vec()).unwrap_or_default();
    Policy {
        kind: view.key.kind.to_string(),
        namespace: view.key.namespace.clone().unwrap_or_default(),
        name: view.key.name.clone(),
        tier: view.tier.clone(),
        endpoints: endpoints.map(|e| format!("{}/{}", e.namespace, e.pod)).collect(),
        ingress: rules(&view.ingress),
        egress: rules(&view.egress),
        isolates_ingress: view.ingress.is_some(),
        isolates_egress: view.egress.is_some(),
    }
}

fn read_block(object: Resource) -> Option<IpamBlockView> {
    let Resource::IpamBlock(object) = object else { return None };
    match IpamBlockView::read(*object) {
        Ok(block) => Some(block),
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}

fn block(view: &IpamBlockView, node: &str) -> Block {
    let own = view.node() == Some(node);
    let owner = |attributes: &BTreeMap<String, String>| match (attributes.get("namespace"), attributes.get("pod")) {
        (Some(namespace), Some(pod)) => format!("{namespace}/{pod}"),
        _ => String::new(),
    };
    let allocations = view.allocations().filter(|_| own).map(|a| Allocation {
        address: a.address.to_string(),
        handle: a.handle_id.unwrap_or_default().to_owned(),
        owner: owner(a.attributes),
    });
    Block {
        cidr: view.cidr().to_string(),
        node: view.node().unwrap_or_default().to_owned(),
        used: count(view.used()),
        total: u32::try_from(size(view.cidr())).unwrap_or(u32::MAX),
        allocations: allocations.collect(),
    }
}

/// Addresses of a prefix; `u64::MAX` beyond.
fn size(network: ipnetwork::IpNetwork) -> u64 {
    let bits = if network.is_ipv4() { 32 } else { 128 };
    1_u64.checked_shl(u32::from(bits - network.prefix())).unwrap_or(u64::MAX)
}
