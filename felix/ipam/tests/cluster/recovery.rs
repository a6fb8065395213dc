//! Release, races, and crashes between any two operations.

use std::collections::BTreeSet;

use crate::store::{Memory, addresses, batch, dual, id, is_write, pool, request, view};
use ipam::{ReleasedAddress, Step, View, release_address, release_by_handle};
use resources::{AffinityState, Kind};
use serde_json::json;

fn dual_view(node: &str) -> View {
    view(node, &[pool("p", "10.65.0.0/28", 30), pool("q", "fd00::/124", 126)])
}

fn live(containers: &[&str]) -> BTreeSet<String> {
    containers.iter().map(|container| id(container)).collect()
}

fn affinity(node: &str, cidr: &str, state: &str) -> serde_json::Value {
    let name = ipam::affinity_name(node, &cidr.parse().unwrap());
    json!({"metadata": {"name": name}, "spec": {"node": node, "cidr": cidr, "state": state}})
}

#[test]
fn a_release_frees_every_address_of_the_handle_and_removes_it() {
    let (mut store, view) = (Memory::default(), dual_view("node-a"));
    let assigned = store.run(ipam::assign(batch(&view, vec![dual("one")], Vec::new())));
    store.take_log();
    let released = store.run(release_by_handle(id("one"), assigned.blocks));
    assert_eq!(released.addresses, addresses(&assigned.outcomes[0]));
    let writes: Vec<String> = store.take_log();
    assert_eq!(writes.len(), 4, "one read, two blocks, one handle: {writes:?}");
    assert!(store.owners().is_empty() && store.handles().is_empty());
    store.assert_settled();
}

#[test]
fn a_release_of_what_was_never_there_or_is_gone_does_nothing() {
    let mut store = Memory::default();
    let released = store.run(release_by_handle(id("one"), Vec::new()));
    assert!(released.addresses.is_empty() && released.left.is_empty());
    assert!(!store.log.iter().any(|line| is_write(line)));
}

#[test]
fn a_release_with_blocks_remembered_wrongly_is_complete() {
    let (mut store, view) = (Memory::default(), dual_view("node-a"));
    let before = store.run(ipam::assign(batch(&view, vec![request("zero")], Vec::new())));
    let after = store.run(ipam::assign(batch(&view, vec![request("one")], before.blocks.clone())));
    let released = store.run(release_by_handle(id("one"), before.blocks));
    assert_eq!(released.addresses, addresses(&after.outcomes[0]));
    store.assert_settled();
}

#[test]
fn an_address_without_a_handle_is_released_from_a_remembered_block() {
    let (mut store, view) = (Memory::default(), dual_view("node-a"));
    let assigned = store.run(ipam::assign(batch(&view, vec![request("one")], Vec::new())));
    store.objects.retain(|key, _| key.kind != Kind::IpamHandle);
    let released = store.run(release_by_handle(id("one"), assigned.blocks));
    assert_eq!(released.addresses.len(), 1);
}

#[test]
fn the_last_address_of_a_block_that_belongs_to_nobody_takes_the_block_along() {
    let (mut store, view) = (Memory::default(), dual_view("node-a"));
    store.run(ipam::assign(batch(&view, vec![request("one")], Vec::new())));
    let mut block = store.blocks()[0].object().clone();
    block.spec.affinity = None;
    store.put(block);
    store.objects.retain(|key, _| key.kind != Kind::BlockAffinity);
    store.run(release_by_handle(id("one"), Vec::new()));
    assert!(store.objects.is_empty());
}

#[test]
fn an_address_is_not_released_for_an_owner_or_an_assignment_that_is_past() {
    let (mut store, view) = (Memory::default(), view("node-a", &[pool("p", "10.65.0.0/32", 32)]));
    let first = store.run(ipam::assign(batch(&view, vec![request("one")], Vec::new())));
    let ipam::Outcome::Assigned(assignments) = &first.outcomes[0] else { panic!("{first:?}") };
    let (address, stale) = (assignments[0].address, assignments[0].sequence);
    store.run(release_by_handle(id("one"), Vec::new()));
    assert_eq!(store.run(release_address(address, None, None)), ReleasedAddress::WasFree);
    store.run(ipam::assign(batch(&view, vec![request("one")], Vec::new())));
    let anew = store.run(release_address(address, Some(id("one")), Some(stale)));
    assert!(matches!(anew, ReleasedAddress::Reassigned { sequence, .. } if sequence > stale), "{anew:?}");
    let other = store.run(release_address(address, Some(id("two")), None));
    assert!(matches!(other, ReleasedAddress::Reassigned { .. }), "{other:?}");
    let released = store.run(release_address(address, Some(id("one")), None));
    assert_eq!(released, ReleasedAddress::Released { handle_id: Some(id("one")) });
    store.assert_settled();
}

#[test]
fn of_two_nodes_that_race_for_a_block_one_wins_and_the_other_backs_out() {
    let mut store = Memory::default();
    let pools = [pool("p", "10.65.0.0/29", 30)];
    let mut steps = ["node-a", "node-b"]
        .map(|node| Some(ipam::assign(batch(&view(node, &pools), vec![request(node)], Vec::new()))));
    let mut done = Vec::new();
    while done.len() < 2 {
        for step in &mut steps {
            *step = match step.take() {
                Some(Step::Do(operation, waiting)) => Some(waiting.answer(store.execute(operation))),
                Some(Step::Done(assigned)) => {
                    done.push(addresses(&assigned.outcomes[0]));
                    None
                }
                None => None,
            };
        }
    }
    assert_ne!(done[0], done[1]);
    store.assert_settled();
    assert_eq!(store.blocks().len(), 2);
}

#[test]
fn a_crash_after_any_operation_of_an_assignment_leaves_nothing_after_reconcile() {
    for operations in 0.. {
        let (mut store, view) = (Memory::default(), dual_view("node-a"));
        store.run(ipam::assign(batch(&view, vec![dual("stays")], Vec::new())));
        let owners = store.owners();
        let requests = (0..4).map(|index| dual(&format!("c{index}"))).collect();
        let finished = store.run_for(ipam::assign(batch(&view, requests, Vec::new())), operations).is_some();
        store.assert_sound();
        store.run(ipam::reconcile("node-a".into(), live(&["stays"])));
        store.assert_settled();
        assert_eq!(store.owners(), owners, "after {operations} operations");
        if finished {
            assert!(operations > 10);
            break;
        }
    }
}

#[test]
fn a_crash_after_any_operation_of_an_assignment_leaves_nothing_after_a_release_of_the_handle() {
    for operations in 0.. {
        let (mut store, view) = (Memory::default(), dual_view("node-a"));
        let finished = store.run_for(ipam::assign(batch(&view, vec![dual("one")], Vec::new())), operations).is_some();
        store.run(release_by_handle(id("one"), Vec::new()));
        assert!(store.owners().is_empty() && store.handles().is_empty(), "after {operations} operations");
        if finished {
            break;
        }
    }
}

#[test]
fn a_crash_after_any_operation_of_a_release_leaves_nothing_after_another_release() {
    for operations in 0.. {
        let (mut store, view) = (Memory::default(), dual_view("node-a"));
        store.run(ipam::assign(batch(&view, vec![dual("one")], Vec::new())));
        let finished = store.run_for(release_by_handle(id("one"), Vec::new()), operations).is_some();
        store.assert_sound();
        store.run(release_by_handle(id("one"), Vec::new()));
        store.assert_settled();
        assert!(store.owners().is_empty() && store.handles().is_empty(), "after {operations} operations");
        if finished {
            break;
        }
    }
}

#[test]
fn reconcile_finds_nothing_to_do_the_second_time() {
    let (mut store, view) = (Memory::default(), dual_view("node-a"));
    store.run_for(ipam::assign(batch(&view, vec![dual("one"), dual("two")], Vec::new())), 9);
    store.run(ipam::reconcile("node-a".into(), live(&["two"])));
    store.take_log();
    let repaired = store.run(ipam::reconcile("node-a".into(), live(&["two"])));
    assert!(!store.log.iter().any(|line| is_write(line)), "{:?}", store.log);
    assert_eq!(repaired.blocks.len(), store.blocks().len());
}

#[test]
fn reconcile_leaves_the_addresses_of_other_nodes_alone() {
    let mut store = Memory::default();
    let pools = [pool("p", "10.65.0.0/30", 30)];
    store.run(ipam::assign(batch(&view("node-a", &pools), vec![request("one")], Vec::new())));
    store.run(ipam::assign(batch(&view("node-b", &pools), vec![request("borrower")], Vec::new())));
    let repaired = store.run(ipam::reconcile("node-a".into(), BTreeSet::new()));
    assert_eq!(repaired.released.len(), 1);
    assert_eq!(store.owners().into_values().collect::<Vec<_>>(), [id("borrower")]);
    store.assert_settled();
}

#[test]
fn reconcile_makes_the_handle_of_a_live_container_right() {
    let (mut store, view) = (Memory::default(), dual_view("node-a"));
    store.run(ipam::assign(batch(&view, vec![request("one"), request("two")], Vec::new())));
    let mut handles = store.handles();
    let mut wrong = handles.remove(0);
    *wrong.spec.block.values_mut().next().unwrap() = 7;
    wrong.spec.block.insert("10.65.9.0/30".into(), 1);
    store.put(wrong);
    store.objects.retain(|key, _| key.name != "k8s-pod-network.two");
    let repaired = store.run(ipam::reconcile("node-a".into(), live(&["one", "two"])));
    assert_eq!(repaired.corrected, [id("one"), id("two")]);
    assert!(repaired.released.is_empty());
    store.assert_settled();
}

#[test]
fn reconcile_undoes_a_claim_without_a_block_and_finishes_one_with() {
    let (mut store, view) = (Memory::default(), dual_view("node-a"));
    store.run(ipam::assign(batch(&view, vec![request("one")], Vec::new())));
    let mut own = store.affinities().remove(0);
    own.spec.state = AffinityState::Pending;
    let cidr = own.spec.cidr.network();
    store.put(own);
    store.put_json(Kind::BlockAffinity, affinity("node-a", "10.65.9.0/30", "pending"));
    store.put_json(Kind::BlockAffinity, affinity("node-a", "10.65.9.4/30", "confirmed"));
    store.put_json(Kind::BlockAffinity, affinity("node-b", "10.65.9.8/30", "pending"));
    let repaired = store.run(ipam::reconcile("node-a".into(), live(&["one"])));
    assert_eq!(repaired.claimed, [cidr]);
    assert_eq!(repaired.unclaimed.len(), 2);
    let nodes: Vec<String> = store.affinities().into_iter().map(|affinity| affinity.spec.node).collect();
    assert_eq!(nodes, ["node-a", "node-b"], "another node's claim is its own to finish");
}

#[test]
fn reconcile_finishes_giving_a_block_back() {
    for (containers, blocks) in [(&[][..], 0), (&["one"][..], 1)] {
        let (mut store, view) = (Memory::default(), dual_view("node-a"));
        store.run(ipam::assign(batch(&view, vec![request("one")], Vec::new())));
        let mut going = store.affinities().remove(0);
        going.spec.state = AffinityState::PendingDeletion;
        store.put(going);
        store.run(ipam::reconcile("node-a".into(), live(containers)));
        assert!(store.affinities().is_empty());
        assert_eq!(store.blocks().len(), blocks);
        assert!(store.blocks().iter().all(|block| block.node().is_none()));
        store.assert_settled();
    }
}

#[test]
fn reconcile_records_the_affinity_of_a_block_that_has_none() {
    let (mut store, view) = (Memory::default(), dual_view("node-a"));
    store.run(ipam::assign(batch(&view, vec![request("one")], Vec::new())));
    store.objects.retain(|key, _| key.kind != Kind::BlockAffinity);
    store.run(ipam::reconcile("node-a".into(), live(&["one"])));
    store.assert_settled();
}

#[test]
fn a_claim_that_an_earlier_agent_left_half_done_is_finished_by_the_next_assignment() {
    let mut store = Memory::default();
    let view = view("node-a", &[pool("p", "10.65.0.0/29", 30)]);
    store.put_json(Kind::BlockAffinity, affinity("node-a", "10.65.0.4/30", "pending"));
    store.run(ipam::assign(batch(&view, vec![request("one")], Vec::new())));
    assert_eq!(store.block("10.65.0.4/30").node(), Some("node-a"));
    store.assert_settled();
}
