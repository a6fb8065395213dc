//! The rules of assignment, one sentence each.

use std::collections::BTreeSet;

use crate::store::{
    Memory, addresses, asking_for, batch, dual, id, is_write, pool, pool_with, request, sentence, view,
};
use ipam::{Assigned, Outcome, Request, View, Want};
use resources::{AffinityState, IpamBlock, Kind};
use serde_json::json;

fn assign(store: &mut Memory, view: &View, requests: Vec<Request>) -> Assigned {
    let assigned = store.run(ipam::assign(batch(view, requests, Vec::new())));
    store.assert_settled();
    assigned
}

fn one(store: &mut Memory, view: &View, request: Request) -> Outcome {
    assign(store, view, vec![request]).outcomes.remove(0)
}

fn small(node: &str) -> View {
    view(node, &[pool("p", "10.65.0.0/28", 30)])
}

#[test]
fn the_first_address_claims_a_block_in_two_phases() {
    let mut store = Memory::default();
    one(&mut store, &view("node-a", &[pool("p", "10.65.0.0/26", 26)]), request("one"));
    assert_eq!(
        store.take_log(),
        [
            "list BlockAffinity",
            "list IPAMBlock",
            "create BlockAffinity node-a-10-65-0-0-26",
            "create IPAMBlock 10-65-0-0-26",
            "update BlockAffinity node-a-10-65-0-0-26",
            "create IPAMHandle k8s-pod-network.one",
            "update IPAMBlock 10-65-0-0-26",
        ]
    );
    assert_eq!(store.affinities()[0].spec.state, AffinityState::Confirmed);
    assert_eq!(store.affinities()[0].spec.node, "node-a");
}

#[test]
fn handle_and_affinity_are_written_as_calico_writes_them() {
    let mut store = Memory::default();
    one(&mut store, &view("node-a", &[pool("p", "10.65.0.0/26", 26)]), request("ONE"));
    let mut handle = serde_json::to_value(&store.handles()[0]).unwrap();
    handle["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(
        handle,
        json!({
            "metadata": {"name": "k8s-pod-network.one", "annotations": {"tortie/node": "node-a"}},
            "spec": {"handleID": "k8s-pod-network.ONE", "block": {"10.65.0.0/26": 1}},
        })
    );
    let mut affinity = serde_json::to_value(&store.affinities()[0]).unwrap();
    affinity["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(
        affinity,
        json!({
            "metadata": {"name": "node-a-10-65-0-0-26"},
            "spec": {
                "state": "confirmed", "node": "node-a", "type": "host", "cidr": "10.65.0.0/26", "deleted": false,
            },
        })
    );
    assert_eq!(
        serde_json::to_value(store.block("10.65.0.0/26").object()).unwrap()["spec"]["attributes"],
        json!([{"handle_id": "k8s-pod-network.ONE",
                "secondary": {"namespace": "default", "node": "node-a", "pod": "ONE"}}])
    );
}

#[test]
fn an_address_from_a_remembered_block_costs_one_handle_and_one_block_write() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    let first = assign(&mut store, &view, vec![request("one")]);
    store.take_log();
    store.run(ipam::assign(batch(&view, vec![request("two")], first.blocks)));
    let log = store.take_log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert_eq!(log[0], "create IPAMHandle k8s-pod-network.two");
    assert!(log[1].starts_with("update IPAMBlock "));
}

#[test]
fn a_dual_stack_address_costs_one_handle_and_two_block_writes() {
    let (mut store, view) =
        (Memory::default(), view("node-a", &[pool("p", "10.65.0.0/26", 26), pool("q", "fd00::/122", 122)]));
    let first = assign(&mut store, &view, vec![dual("one")]);
    assert_eq!(addresses(&first.outcomes[0]).len(), 2);
    store.take_log();
    store.run(ipam::assign(batch(&view, vec![dual("two")], first.blocks)));
    assert_eq!(
        store.take_log(),
        ["create IPAMHandle k8s-pod-network.two", "update IPAMBlock 10-65-0-0-26", "update IPAMBlock fd00---122"]
    );
}

#[test]
fn requests_that_are_made_together_share_one_block_write() {
    let (mut store, view) = (Memory::default(), view("node-a", &[pool("p", "10.65.0.0/26", 26)]));
    let first = assign(&mut store, &view, vec![request("one")]);
    store.take_log();
    let requests = (0..10).map(|index| request(&format!("c{index}"))).collect();
    let assigned = store.run(ipam::assign(batch(&view, requests, first.blocks)));
    let distinct: BTreeSet<_> = assigned.outcomes.iter().flat_map(addresses).collect();
    assert_eq!(distinct.len(), 10);
    let log = store.take_log();
    assert_eq!(log.iter().filter(|line| line.starts_with("update IPAMBlock")).count(), 1);
    assert_eq!(log.len(), 11);
    store.assert_settled();
}

#[test]
fn what_is_remembered_wrongly_costs_reads_and_not_correctness() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    let first = assign(&mut store, &view, vec![request("one")]);
    let second = assign(&mut store, &view, vec![request("two")]);
    let third = store.run(ipam::assign(batch(&view, vec![request("three")], first.blocks.clone())));
    store.assert_settled();
    let distinct: BTreeSet<_> =
        [&first, &second, &third].iter().flat_map(|assigned| addresses(&assigned.outcomes[0])).collect();
    assert_eq!(distinct.len(), 3);
    assert_eq!(store.blocks().len(), 1);
}

#[test]
fn a_full_block_is_followed_by_another_claim() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    for index in 0..5 {
        one(&mut store, &view, request(&format!("c{index}")));
        assert_eq!(store.blocks().len(), 1 + index / 4);
    }
}

#[test]
fn a_batch_larger_than_a_block_claims_as_many_as_it_needs() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    let assigned = assign(&mut store, &view, (0..9).map(|index| request(&format!("c{index}"))).collect());
    let distinct: BTreeSet<_> = assigned.outcomes.iter().flat_map(addresses).collect();
    assert_eq!(distinct.len(), 9);
    assert_eq!(store.blocks().len(), 3);
}

#[test]
fn a_full_pool_says_its_numbers() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    let assigned = assign(&mut store, &view, (0..17).map(|index| request(&format!("c{index}"))).collect());
    assert_eq!(sentence(&assigned.outcomes[16]), "pool p is full (16 of 16 in use)");
    assert!(matches!(&assigned.outcomes[16], Outcome::Refused(refusal) if refusal.is_passing()));
    assert_eq!(store.owners().len(), 16);
}

#[test]
fn a_node_without_a_free_block_borrows_an_address() {
    let mut store = Memory::default();
    let pools = [pool("p", "10.65.0.0/30", 30)];
    one(&mut store, &view("node-a", &pools), request("one"));
    let outcome = one(&mut store, &view("node-b", &pools), request("two"));
    let Outcome::Assigned(assignments) = outcome else { panic!("{outcome:?}") };
    assert!(assignments[0].borrowed);
    assert_eq!(store.block("10.65.0.0/30").node(), Some("node-a"));
}

#[test]
fn strict_affinity_forbids_to_borrow() {
    let mut store = Memory::default();
    let mut strict = view("node-b", &[pool("p", "10.65.0.0/30", 30)]);
    one(&mut store, &view("node-a", &strict.pools), request("one"));
    strict.configuration.strict_affinity = true;
    assert_eq!(
        sentence(&one(&mut store, &strict, request("two"))),
        "pool p has no address for this node (1 of 4 in use), strictAffinity forbids to take one from another node's block"
    );
}

#[test]
fn a_node_at_its_block_limit_borrows_and_says_the_limit_when_it_cannot() {
    let mut store = Memory::default();
    let mut limited = small("node-a");
    limited.configuration.max_blocks_per_host = 1;
    assign(&mut store, &limited, (0..4).map(|index| request(&format!("c{index}"))).collect());
    let refusal = sentence(&one(&mut store, &limited, request("fifth")));
    assert_eq!(refusal, "pool p has no address for this node (4 of 16 in use), node-a has all 1 blocks it may have");
    one(&mut store, &small("node-b"), request("other"));
    let outcome = one(&mut store, &limited, request("sixth"));
    assert!(matches!(&outcome, Outcome::Assigned(assignments) if assignments[0].borrowed), "{outcome:?}");
}

#[test]
fn a_node_that_may_not_claim_uses_the_blocks_there_are() {
    let mut store = Memory::default();
    let mut passive = small("node-a");
    passive.configuration.auto_allocate_blocks = false;
    assert_eq!(
        sentence(&one(&mut store, &passive, request("one"))),
        "pool p has no address for this node (0 of 16 in use), autoAllocateBlocks is false"
    );
    one(&mut store, &small("node-b"), request("other"));
    addresses(&one(&mut store, &passive, request("one")));
}

#[test]
fn blocks_of_single_addresses_work() {
    let (mut store, view) = (Memory::default(), view("node-a", &[pool("p", "10.65.0.0/30", 32)]));
    let assigned = assign(&mut store, &view, (0..4).map(|index| request(&format!("c{index}"))).collect());
    assert_eq!(assigned.outcomes.iter().flat_map(addresses).collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(store.blocks().len(), 4);
}

#[test]
fn reserved_addresses_are_never_assigned_unasked() {
    let mut store = Memory::default();
    let mut view = view("node-a", &[pool("p", "10.65.0.0/29", 30)]);
    let reservation = json!({"metadata": {"name": "r"}, "spec": {"reservedCIDRs": ["10.65.0.0/30", "10.65.0.4/32"]}});
    view.reservations = vec![serde_json::from_value(reservation).unwrap()];
    let assigned = assign(&mut store, &view, (0..4).map(|index| request(&format!("c{index}"))).collect());
    let got: Vec<String> =
        assigned.outcomes[..3].iter().flat_map(addresses).map(|address| address.to_string()).collect();
    assert_eq!(got, ["10.65.0.5", "10.65.0.6", "10.65.0.7"]);
    assert_eq!(sentence(&assigned.outcomes[3]), "pool p is full (3 of 8 in use, 5 reserved)");
    assert_eq!(store.blocks().len(), 1, "a block that is reserved as a whole is not claimed");
    addresses(&one(&mut store, &view, asking_for("asks", &["10.65.0.1"])));
}

#[test]
fn dual_stack_is_all_or_nothing() {
    let mut store = Memory::default();
    let view = view("node-a", &[pool("p", "10.65.0.0/28", 30), pool("q", "fd00::/128", 128)]);
    addresses(&one(&mut store, &view, dual("one")));
    let refusal = sentence(&one(&mut store, &view, dual("two")));
    assert_eq!(refusal, "pool q is full (1 of 1 in use)");
    assert_eq!(store.owners().len(), 2);
    assert_eq!(store.handles().len(), 1);
}

#[test]
fn a_family_that_is_wanted_only_if_there_is_a_pool_is_left_out_when_there_is_none() {
    let mut store = Memory::default();
    let either = |container: &str| Request { ipv4: Want::IfPool, ipv6: Want::IfPool, ..request(container) };
    assert_eq!(addresses(&one(&mut store, &small("node-a"), either("one"))).len(), 1);
    assert_eq!(sentence(&one(&mut store, &view("node-a", &[]), either("two"))), "there is no IPv4 IPPool");
    let neither = Request { ipv4: Want::No, ..request("three") };
    assert!(sentence(&one(&mut store, &small("node-a"), neither)).contains("neither"));
}

#[test]
fn a_pool_that_is_asked_for_is_used() {
    let mut store = Memory::default();
    let view = view("node-a", &[pool("p", "10.65.0.0/28", 30), pool("q", "10.66.0.0/28", 30)]);
    let from_q = Request { ipv4_pools: vec!["q".into()], ..request("one") };
    assert!(addresses(&one(&mut store, &view, from_q))[0].to_string().starts_with("10.66.0."));
    let from_none = Request { ipv4_pools: vec!["r".into()], ..request("two") };
    assert_eq!(sentence(&one(&mut store, &view, from_none)), "there is no IPPool r");
}

#[test]
fn a_full_pool_is_followed_by_the_next() {
    let mut store = Memory::default();
    let view = view("node-a", &[pool("p", "10.65.0.0/30", 30), pool("q", "10.66.0.0/30", 30)]);
    let assigned = assign(&mut store, &view, (0..5).map(|index| request(&format!("c{index}"))).collect());
    assert!(addresses(&assigned.outcomes[3])[0].to_string().starts_with("10.65."));
    assert!(addresses(&assigned.outcomes[4])[0].to_string().starts_with("10.66."));
}

#[test]
fn an_address_that_is_asked_for_is_given_and_its_block_claimed() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    assert_eq!(addresses(&one(&mut store, &view, asking_for("one", &["10.65.0.6"])))[0].to_string(), "10.65.0.6");
    assert_eq!(store.block("10.65.0.4/30").node(), Some("node-a"));
}

#[test]
fn an_address_that_is_taken_says_by_whom() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    one(&mut store, &view, asking_for("one", &["10.65.0.6"]));
    let outcome = one(&mut store, &view, asking_for("two", &["10.65.0.6"]));
    assert_eq!(sentence(&outcome), "10.65.0.6 is taken by pod default/one");
    assert_eq!(store.handles().len(), 1);
}

#[test]
fn an_address_that_its_owner_asks_for_again_is_given_again_and_counted_once() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    let first = one(&mut store, &view, asking_for("one", &["10.65.0.6"]));
    assert_eq!(one(&mut store, &view, asking_for("one", &["10.65.0.6"])), first);
    assert_eq!(store.handles()[0].spec.block["10.65.0.4/30"], 1);
}

#[test]
fn two_requests_of_one_batch_for_one_address_give_it_once() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    let requests = vec![asking_for("one", &["10.65.0.6"]), asking_for("two", &["10.65.0.6"])];
    let assigned = assign(&mut store, &view, requests);
    addresses(&assigned.outcomes[0]);
    assert_eq!(sentence(&assigned.outcomes[1]), "10.65.0.6 is taken by pod default/one");
}

#[test]
fn an_address_outside_every_pool_or_in_a_closed_one_is_refused() {
    let mut store = Memory::default();
    let view = view("node-a", &[pool_with("off", "10.65.0.0/28", 30, json!({"disabled": true}))]);
    let outside = one(&mut store, &view, asking_for("one", &["192.0.2.1"]));
    assert_eq!(sentence(&outside), "192.0.2.1 is in no IPPool");
    let closed = one(&mut store, &view, asking_for("one", &["10.65.0.1"]));
    assert_eq!(sentence(&closed), "10.65.0.1 is in IPPool off, which is disabled");
    let two = one(&mut store, &view, asking_for("one", &["10.65.0.1", "10.65.0.2"]));
    assert_eq!(sentence(&two), "more than one IPv4 address is asked for");
}

#[test]
fn an_address_of_another_nodes_block_is_given_unless_affinity_is_strict() {
    let mut store = Memory::default();
    one(&mut store, &small("node-a"), asking_for("one", &["10.65.0.1"]));
    addresses(&one(&mut store, &small("node-b"), asking_for("two", &["10.65.0.2"])));
    let mut strict = small("node-b");
    strict.configuration.strict_affinity = true;
    assert_eq!(
        sentence(&one(&mut store, &strict, asking_for("three", &["10.65.0.3"]))),
        "10.65.0.3 is in a block of node-a, and strictAffinity forbids to take it from there"
    );
}

#[test]
fn a_request_that_fails_leaves_the_others_of_its_batch_alone() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    let requests = vec![request("one"), asking_for("two", &["192.0.2.1"]), request("three")];
    let assigned = assign(&mut store, &view, requests);
    addresses(&assigned.outcomes[0]);
    sentence(&assigned.outcomes[1]);
    addresses(&assigned.outcomes[2]);
    let handles: Vec<String> = store.handles().into_iter().map(|handle| handle.spec.handle_id).collect();
    assert_eq!(handles, [id("one"), id("three")]);
}

#[test]
fn a_block_that_contradicts_itself_is_passed_over_and_reported() {
    let mut store = Memory::default();
    let view = view("node-a", &[pool("p", "10.65.0.0/29", 30)]);
    one(&mut store, &view, request("one"));
    let mut broken: IpamBlock = store.blocks()[0].object().clone();
    broken.spec.unallocated.push(2);
    broken.spec.unallocated.push(2);
    store.put(broken);
    let assigned = store.run(ipam::assign(batch(&view, vec![request("two")], Vec::new())));
    addresses(&assigned.outcomes[0]);
    assert_eq!(assigned.unsound.len(), 1);
}

#[test]
fn a_block_that_is_marked_deleted_is_finished_off_and_claimed_anew() {
    let mut store = Memory::default();
    let view = view("node-a", &[pool("p", "10.65.0.0/30", 30)]);
    store.put_json(
        Kind::IpamBlock,
        json!({"metadata": {"name": "10-65-0-0-30"}, "spec": {
            "cidr": "10.65.0.0/30", "affinity": "host:node-b", "allocations": [null, null, null, null],
            "unallocated": [0, 1, 2, 3], "attributes": [], "deleted": true, "strictAffinity": false}}),
    );
    addresses(&one(&mut store, &view, request("one")));
    assert_eq!(store.block("10.65.0.0/30").node(), Some("node-a"));
}

#[test]
fn a_block_of_a_virtual_owner_is_not_borrowed_from() {
    let mut store = Memory::default();
    let view = view("node-a", &[pool("p", "10.65.0.0/30", 30)]);
    store.put_json(
        Kind::IpamBlock,
        json!({"metadata": {"name": "10-65-0-0-30"}, "spec": {
            "cidr": "10.65.0.0/30", "affinity": "virtual:load-balancer", "allocations": [null, null, null, null],
            "unallocated": [0, 1, 2, 3], "attributes": [], "strictAffinity": false}}),
    );
    sentence(&one(&mut store, &view, request("one")));
    assert!(store.owners().is_empty());
}

#[test]
fn an_endless_rival_is_given_up_after_a_bounded_number_of_tries() {
    let (mut store, view) = (Memory::default(), small("node-a"));
    one(&mut store, &view, request("one"));
    let mut step = ipam::assign(batch(&view, vec![request("two")], Vec::new()));
    let assigned = loop {
        match step {
            ipam::Step::Done(assigned) => break assigned,
            ipam::Step::Do(operation, waiting) => {
                let answer = match &operation {
                    ipam::Operation::Update(resource) if resource.kind() == Kind::IpamBlock => {
                        ipam::Answer::Write(ipam::Write::Conflict)
                    }
                    _ => store.execute(operation),
                };
                step = waiting.answer(answer);
            }
        }
    };
    assert_eq!(sentence(&assigned.outcomes[0]), "other nodes changed the same IPAM objects each of 32 times");
    store.assert_settled();
    assert!(store.log.iter().filter(|line| is_write(line)).count() < 20);
}
