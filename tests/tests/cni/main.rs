//! The CNI plugin against a real felix, as a container runtime uses it.

mod addresses;
mod containers;
mod failures;
mod results;

use anyhow::{Context, Result, anyhow};
use fabric::{
    Need, Node,
    cni::{Attachment, CniError},
};
use tests::{cluster::Cluster, test};

/// A pool per family that is never full.
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

fn main() {
    let needs = [Need::TORTIE];
    tests::main(vec![
        test("each_version_of_the_specification_gets_its_own_result", &needs, results::versions),
        test("a_pod_has_both_families_a_gateway_and_the_mtu_asked_for", &needs, results::inside),
        test("check_names_what_is_not_as_add_left_it", &needs, results::check),
        test("the_same_add_again_gives_the_same_answer", &needs, containers::again),
        test("a_new_container_of_a_pod_supersedes_the_old_one", &needs, containers::superseded),
        test("del_succeeds_twice_and_without_a_namespace", &needs, containers::deleted),
        test("a_failed_add_leaves_nothing", &needs, failures::nothing_left),
        test("without_felix_add_says_try_again_and_status_not_available", &needs, failures::felix_away),
        test("an_address_asked_for_is_given_if_it_is_free", &needs, addresses::asked_for),
        test("a_full_pool_is_named", &needs, addresses::full),
        test("two_nodes_race_for_one_pool_and_no_address_is_given_twice", &needs, addresses::race),
        test("fifty_adds_at_once_all_succeed", &needs, addresses::parallel),
        test("a_block_that_calico_wrote_is_used_and_kept_as_calico_wants_it", &needs, addresses::of_calico),
    ])
}

/// A container with an id of its own, that is to be a pod's.
fn container(cluster: &Cluster<'_>, id: &str, pod: &str) -> Result<(Node, Attachment)> {
    let inside = cluster.lab().host(id)?;
    let mut attachment = fabric::PodSpec::new(pod, &[]).attachment(inside.namespace().path());
    id.clone_into(&mut attachment.container_id);
    Ok((inside, attachment))
}

/// The plugin's refusal.
fn refusal<T>(result: Result<T>) -> Result<CniError> {
    match result {
        Ok(_) => Err(anyhow!("it was not refused")),
        Err(error) => error.downcast::<CniError>().context("no refusal of the plugin's"),
    }
}
