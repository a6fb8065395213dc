//! ADD.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::SystemTime,
};

use ipam::{Outcome, Owner, Request, Want};
use ipnetwork::IpNetwork;
use kernel::{
    MacAddress,
    pod::{GATEWAY_V4, GATEWAY_V6, make_pair},
};
use proto::{
    Timestamp,
    cni::{AddRequest, AddResult, Attachment, NetworkConfig, PodRoute},
};
use resources::AllowedUse;
use tokio::task::spawn_blocking;

use super::{CniFailure, Link, Wiring, names};
use crate::{agent::Command, record::Record};

const IPV4_MINIMUM_MTU: u32 = 68;
const IPV6_MINIMUM_MTU: u32 = 1280;
const LARGEST_MTU: u32 = 65535;

impl Wiring {
    /// Wires a container: when this returns, its policy, interface and routes are in the kernel.
    pub(super) async fn add(&self, request: AddRequest) -> Result<AddResult, CniFailure> {
        self.in_sync().await?;
        let attachment = request.attachment.unwrap_or_default();
        let config = request.config.unwrap_or_default();
        let (namespace, pod) = names::pod_of(&attachment);
        let interface = names::interface_of(&namespace, &pod, &attachment.if_name);
        let _held = self.locks.hold(&interface).await?;
        let id =
            calc::EndpointId { container_id: attachment.container_id.clone(), if_name: attachment.if_name.clone() };
        let known = self.attached().get(&id).cloned();
        if let Some(record) = known {
            if record.complete && self.intact(&record, config.allow_ip_forwarding).await {
                return Ok(result(&record));
            }
            self.detach(&record).await?;
        }
        self.supersede(&interface).await?;
        let mut record = self.new_record(&attachment, &config, namespace, pod, interface)?;
        match self.attach(&config, &mut record).await {
            Ok(()) => Ok(result(&record)),
            Err(failure) => {
                if let Err(undo) = self.detach(&record).await {
                    tracing::warn!(%undo, container = record.container_id, "cannot undo a failed ADD; its DEL will");
                }
                Err(failure)
            }
        }
    }

    /// A pod of the same name that got a new container: what its former one left goes.
    async fn supersede(&self, interface: &str) -> Result<(), CniFailure> {
        let former = self.attached().values().find(|r| r.interface == interface).cloned();
        match former {
            Some(record) => self.detach(&record).await,
            None => Ok(()),
        }
    }

    async fn intact(&self, record: &Record, allow_forwarding: bool) -> bool {
        let link = Link::of(record, allow_forwarding);
        let checked = spawn_blocking(move || link.and_then(|link| Ok(link.with(kernel::check_pod)?))).await;
        matches!(checked, Ok(Ok(differences)) if differences.is_empty())
    }

    fn new_record(
        &self,
        attachment: &Attachment,
        config: &NetworkConfig,
        namespace: String,
        pod: String,
        interface: String,
    ) -> Result<Record, CniFailure> {
        let mtu = if config.mtu == 0 { self.mtu } else { config.mtu };
        if !(IPV4_MINIMUM_MTU..=LARGEST_MTU).contains(&mtu) {
            return Err(CniFailure::Invalid { field: "mtu", value: mtu.to_string(), allowed: "68 to 65535 bytes" });
        }
        Ok(Record {
            container_id: attachment.container_id.clone(),
            if_name: attachment.if_name.clone(),
            network: attachment.network.clone(),
            netns: attachment.netns.clone(),
            namespace,
            pod,
            interface,
            labels: config.labels.clone().into_iter().collect(),
            addresses: Vec::new(),
            mtu,
            mac: [0; 6],
            complete: false,
        })
    }

    /// The steps of an ADD. Whatever fails, [`Wiring::detach`] takes back all that was done.
    ///
    /// What takes long goes side by side: the pair is made while addresses are found, and is furnished while the policy
    /// is committed. Nothing passes before the policy is in force: the table drops what comes from or goes to an
    /// interface that it does not know, and the route to the pod is written after the policy.
    async fn attach(&self, config: &NetworkConfig, record: &mut Record) -> Result<(), CniFailure> {
        // Opened first: a namespace that is not there costs nobody an address.
        let link = Link::of(record, config.allow_ip_forwarding)?;
        let request = self.request(config, record)?;
        self.remember(record)?;
        // Both run to their end whatever becomes of the other: only then can they be taken back.
        let pair = spawn_blocking(move || link.with(make_pair).map(|pair| (link, pair)));
        let (outcome, pair) = tokio::join!(self.addresses.assign(request), pair);
        record.addresses = match outcome? {
            Outcome::Assigned(assignments) => assignments.into_iter().map(|a| a.address).collect(),
            Outcome::Refused(refusal) => return Err(CniFailure::Refused(Box::new(refusal))),
        };
        if record.addresses.iter().any(IpAddr::is_ipv6) && record.mtu < IPV6_MINIMUM_MTU {
            return Err(CniFailure::Invalid {
                field: "mtu",
                value: record.mtu.to_string(),
                allowed: "1280 bytes or more with IPv6",
            });
        }
        self.remember(record)?;
        let (mut link, pair) = pair??;
        link.addresses.clone_from(&record.addresses);
        let (endpoint, index) = (record.endpoint(), pair.host_index());
        let wired = spawn_blocking(move || link.with(|pod| pair.finish(pod)));
        let (applied, wired) = tokio::join!(self.in_kernel(|done| Command::Attach(endpoint, index, done)), wired);
        record.mac = wired??.pod_mac.0;
        applied?;
        record.complete = true;
        self.remember(record)
    }

    fn remember(&self, record: &Record) -> Result<(), CniFailure> {
        self.records.put(record)?;
        self.attached().insert(record.id(), record.clone());
        Ok(())
    }

    fn request(&self, config: &NetworkConfig, record: &Record) -> Result<Request, CniFailure> {
        let inventory = Arc::clone(&self.inventory.borrow());
        let mut addresses = Vec::new();
        for text in &config.requested_ips {
            addresses.push(requested(text)?);
        }
        Ok(Request {
            owner: Owner { handle_id: record.handle_id(), attributes: self.attributes(record) },
            purpose: AllowedUse::Workload,
            namespace_labels: inventory.namespace_labels(&record.namespace),
            ipv4: want(config.assign_ipv4),
            ipv6: want(config.assign_ipv6),
            ipv4_pools: config.ipv4_pools.clone(),
            ipv6_pools: config.ipv6_pools.clone(),
            addresses,
        })
    }

    /// What Calico writes about an owner.
    fn attributes(&self, record: &Record) -> BTreeMap<String, String> {
        let now = Timestamp::from(SystemTime::now());
        [
            ("namespace", record.namespace.clone()),
            ("node", self.node_name.clone()),
            ("pod", record.pod.clone()),
            ("timestamp", now.rfc3339().to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

fn want(assign: Option<bool>) -> Want {
    match assign {
        Some(true) => Want::Yes,
        Some(false) => Want::No,
        None => Want::IfPool,
    }
}

/// An address with or without a prefix length, which does not matter: pods have host addresses.
fn requested(text: &str) -> Result<IpAddr, CniFailure> {
    let address = text.parse().ok().or_else(|| text.parse::<IpNetwork>().ok().map(|network| network.ip()));
    address.ok_or_else(|| CniFailure::Invalid { field: "ips", value: text.to_owned(), allowed: "an IP address" })
}

fn result(record: &Record) -> AddResult {
    let v4 = record.addresses.iter().any(IpAddr::is_ipv4);
    let v6 = record.addresses.iter().any(IpAddr::is_ipv6);
    let route = |destination: IpAddr, gateway: IpAddr, wanted: bool| {
        wanted.then(|| PodRoute { destination: format!("{destination}/0"), gateway: gateway.to_string() })
    };
    AddResult {
        host_interface: record.interface.clone(),
        host_mac: MacAddress::HOST_END.to_string(),
        container_mac: MacAddress(record.mac).to_string(),
        addresses: record.addresses.iter().map(|address| IpNetwork::from(*address).to_string()).collect(),
        routes: [
            route(Ipv4Addr::UNSPECIFIED.into(), GATEWAY_V4.into(), v4),
            route(Ipv6Addr::UNSPECIFIED.into(), GATEWAY_V6.into(), v6),
        ]
        .into_iter()
        .flatten()
        .collect(),
        mtu: record.mtu,
    }
}
