//! NetworkPolicy and the guards around pods, judged with packets.

mod changes;
mod exchange;
mod guards;
mod moments;
mod table;
mod world;

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use fabric::{Lab, Need, Node, Pod, PodSpec, probe::connect};
use tests::{
    cluster::{Cluster, Worker},
    test,
};

/// A pool per family; what leaves the cluster keeps its address.
const POOLS: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: default-v4}
spec: {cidr: 10.65.0.0/16, blockSize: 26}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: default-v6}
spec: {cidr: 'fd65::/48', blockSize: 122}
";
/// Nothing that is allowed takes this long.
const ALLOWED_WITHIN: Duration = Duration::from_secs(5);
/// What is denied is waited for as long: an answer comes within a millisecond.
const DENIED_FOR: Duration = Duration::from_millis(200);

fn main() {
    let needs = [Need::TORTIE];
    tests::main(vec![
        test("every_policy_of_the_table_lets_through_what_it_says_and_nothing_else", &needs, table::judge),
        test("sctp_is_matched_by_its_own_rules_only", &needs, table::sctp),
        test("a_pod_is_policed_from_its_first_packet_on", &needs, moments::first_packet),
        test("labels_of_the_attachment_count_where_there_is_no_manifest", &needs, moments::labels),
        test("an_address_given_again_inherits_no_connection", &needs, moments::address_again),
        test("an_open_connection_is_cut_when_its_permission_goes_and_others_live_on", &needs, changes::cut),
        test("a_label_change_is_a_policy_change", &needs, changes::relabelled),
        test("what_changes_while_felix_is_dead_holds_when_it_is_back", &needs, changes::felix_dead),
        test("what_is_denied_before_and_after_a_change_is_denied_during_it", &needs, exchange::denied_all_the_time)
            .once(),
        test("an_interface_that_nobody_knows_is_dropped", &needs, guards::unknown_interface),
        test("a_source_that_is_not_the_pods_is_dropped", &needs, guards::spoofed),
        test("nat_outgoing_hides_pods_from_outside_only", &needs, guards::nat_outgoing),
        test("a_table_that_somebody_took_is_back_within_a_second", &needs, guards::restored),
    ])
}

/// A NetworkPolicy of the namespace `default`. `spec` is in YAML's flow style.
fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {spec}\n---\n"
    )
}

/// A Pod manifest.
fn manifest(pod: &str, labels: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, namespace: default, labels: {labels}}}\n---\n")
}

/// One node, and pods on it with a label `app` that is their name.
fn one_node<'lab>(lab: &'lab Lab, pods: &[&str]) -> Result<(Cluster<'lab>, Worker, Vec<Pod>)> {
    let cluster = Cluster::new(lab, POOLS)?;
    let worker = cluster.worker("a", 1)?;
    let pods = pods.iter().map(|name| worker.pod(lab, &PodSpec::new(name, &[("app", name)]))).collect::<Result<_>>()?;
    Ok((cluster, worker, pods))
}

/// Whether a TCP connection comes about; `expected` only says how long it is waited for.
fn connects(from: &Node, to: SocketAddr, expected: bool) -> Result<bool> {
    let patience = if expected { ALLOWED_WITHIN } else { DENIED_FOR };
    Ok(connect(from.namespace(), to, patience)?.is_ok())
}
