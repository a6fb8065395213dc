//! `felix status` and `felix show`.

use std::fmt::Write as _;

use clap::Subcommand;
use daemon::{
    exit::Exit,
    output::{self, Format},
};
use proto::felix::{
    GetIpamReply, GetIpamRequest, GetStatusReply, GetStatusRequest, ListEndpointsReply, ListEndpointsRequest,
    ListPoliciesReply, ListPoliciesRequest, felix_client::FelixClient,
};
use tonic::{Status, transport::Channel};

/// What to show.
#[derive(Subcommand, Debug)]
pub(crate) enum Show {
    /// Pods on this node: interface, addresses, the policies that isolate them.
    #[command(visible_alias = "endpoint")]
    Endpoints,
    /// Policies in words; with an endpoint (namespace/pod, address or interface) only what applies to it.
    #[command(visible_alias = "policies")]
    Policy {
        /// namespace/pod, address or interface.
        endpoint: Option<String>,
    },
    /// Pools, blocks and addresses.
    Ipam,
}

fn printed(result: Result<(), serde_json::Error>) -> Result<(), Status> {
    result.map_err(|error| Status::internal(error.to_string()))
}

pub(super) async fn status(channel: Channel, format: Format) -> Result<Exit, Status> {
    let reply = FelixClient::new(channel).get_status(GetStatusRequest {}).await?.into_inner();
    printed(output::print(format, &reply, status_text))?;
    Ok(if reply.state == "Ready" && reply.conditions.is_empty() { Exit::Good } else { Exit::Bad })
}

pub(super) async fn show(channel: Channel, what: Show, format: Format) -> Result<Exit, Status> {
    let mut client = FelixClient::new(channel);
    match what {
        Show::Endpoints => {
            let reply = client.list_endpoints(ListEndpointsRequest {}).await?.into_inner();
            printed(output::print(format, &reply, endpoints_text))?;
        }
        Show::Policy { endpoint } => {
            let request = ListPoliciesRequest { endpoint: endpoint.unwrap_or_default() };
            let reply = client.list_policies(request).await?.into_inner();
            printed(output::print(format, &reply, policies_text))?;
        }
        Show::Ipam => {
            let reply = client.get_ipam(GetIpamRequest {}).await?.into_inner();
            printed(output::print(format, &reply, ipam_text))?;
        }
    }
    Ok(Exit::Good)
}

fn status_text(reply: &GetStatusReply) -> String {
    let mut text = String::new();
    let sync = if reply.in_sync { "in sync" } else { "not in sync" };
    let _ = writeln!(
        text,
        "{}  {}  {sync}  revision {} (kernel {})  datastore {}, {} objects",
        reply.node, reply.state, reply.desired_revision, reply.kernel_revision, reply.datastore, reply.objects
    );
    let _ = writeln!(
        text,
        "endpoints {}  policies {} active / {}  sets {} ({} members)  routes {}  last apply {:.1} ms",
        reply.endpoints,
        reply.active_policies,
        reply.policies,
        reply.sets,
        reply.set_members,
        reply.routes,
        reply.last_apply_seconds * 1000.0
    );
    if !reply.conditions.is_empty() {
        let rows: Vec<_> = reply
            .conditions
            .iter()
            .map(|c| {
                let next = if c.next.is_empty() { String::new() } else { format!("next: {}", c.next) };
                vec![c.part.clone(), c.state.clone(), c.detail.clone(), next]
            })
            .collect();
        text.push_str(&output::columns(&["PART", "STATE", "DETAIL", ""], &rows));
    }
    text
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn endpoints_text(reply: &ListEndpointsReply) -> String {
    let rows: Vec<_> = reply
        .endpoints
        .iter()
        .map(|e| {
            vec![
                format!("{}/{}", e.namespace, e.name),
                e.interface.clone(),
                dash(&e.addresses.join(",")),
                dash(&e.ingress_policies.join(",")),
                dash(&e.egress_policies.join(",")),
                if e.applied { "yes" } else { "no" }.to_owned(),
            ]
        })
        .collect();
    output::columns(&["ENDPOINT", "INTERFACE", "ADDRESSES", "INGRESS POLICIES", "EGRESS POLICIES", "IN KERNEL"], &rows)
}

fn policies_text(reply: &ListPoliciesReply) -> String {
    let mut text = String::new();
    for policy in &reply.policies {
        let name = if policy.namespace.is_empty() {
            policy.name.clone()
        } else {
            format!("{}/{}", policy.namespace, policy.name)
        };
        let _ = writeln!(
            text,
            "{} {name}  tier {}  selects {}",
            policy.kind,
            policy.tier,
            dash(&policy.endpoints.join(" "))
        );
        let sides =
            [("ingress", policy.isolates_ingress, &policy.ingress), ("egress", policy.isolates_egress, &policy.egress)];
        for (direction, isolates, rules) in sides {
            if !isolates {
                continue;
            }
            for rule in rules {
                let _ = writeln!(text, "  {direction:<8} allow {rule}");
            }
            let _ = writeln!(text, "  {direction:<8} nothing else");
        }
    }
    text
}

fn ipam_text(reply: &GetIpamReply) -> String {
    let pools: Vec<_> = reply
        .pools
        .iter()
        .map(|p| {
            let note = if p.disabled { "disabled" } else { "" };
            vec![
                p.name.clone(),
                p.cidr.clone(),
                p.used.to_string(),
                p.total.to_string(),
                p.blocks.to_string(),
                note.to_owned(),
            ]
        })
        .collect();
    let mut text = output::columns(&["POOL", "CIDR", "USED", "TOTAL", "BLOCKS", "NOTE"], &pools);
    let blocks: Vec<_> = reply
        .blocks
        .iter()
        .map(|b| vec![b.cidr.clone(), dash(&b.node), b.used.to_string(), b.total.to_string()])
        .collect();
    let _ = writeln!(text);
    text.push_str(&output::columns(&["BLOCK", "NODE", "USED", "TOTAL"], &blocks));
    let addresses: Vec<_> = reply
        .blocks
        .iter()
        .flat_map(|b| &b.allocations)
        .map(|a| vec![a.address.clone(), dash(&a.owner), a.handle.clone()])
        .collect();
    if !addresses.is_empty() {
        let _ = writeln!(text);
        text.push_str(&output::columns(&["ADDRESS", "OWNER", "HANDLE"], &addresses));
    }
    text
}
