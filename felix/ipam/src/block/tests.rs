use serde_json::json;

use super::*;
use crate::pools::View;

const NOW: Duration = Duration::from_nanos(1_700_000_000_000_000_007);

fn owner(id: &str) -> Owner {
    let attributes = BTreeMap::from([("node".to_owned(), "node-a".to_owned()), ("pod".to_owned(), id.to_owned())]);
    Owner { handle_id: format!("k8s-pod-network.{id}"), attributes }
}

fn block() -> Block {
    Block::new("10.65.0.0/30".parse().unwrap(), "node-a", NOW)
}

fn none() -> Reservations {
    Reservations::default()
}

fn reserved(cidr: &str) -> Reservations {
    let json = json!({"metadata": {"name": "r"}, "spec": {"reservedCIDRs": [cidr]}});
    let view = View {
        node: String::new(),
        node_labels: BTreeMap::new(),
        pools: Vec::new(),
        reservations: vec![serde_json::from_value(json).unwrap()],
        configuration: Default::default(),
    };
    Reservations::of(&view)
}

fn next(block: &mut Block, id: &str) -> String {
    block.assign_next(&owner(id), &none()).unwrap().0.to_string()
}

#[test]
fn a_new_block_is_written_as_calico_writes_it() {
    let stored = serde_json::to_value(block().object()).unwrap();
    assert_eq!(
        stored,
        json!({
            "metadata": {"name": "10-65-0-0-30"},
            "spec": {
                "cidr": "10.65.0.0/30",
                "affinity": "host:node-a",
                "affinityClaimTime": "2023-11-14T22:13:20Z",
                "allocations": [null, null, null, null],
                "unallocated": [0, 1, 2, 3],
                "attributes": [],
                "sequenceNumber": 1_700_000_000_000_000_007_u64,
                "strictAffinity": false,
            },
        })
    );
}

#[test]
fn an_assigned_address_is_written_as_calico_writes_it() {
    let mut block = block();
    next(&mut block, "one");
    next(&mut block, "two");
    assert_eq!(
        serde_json::to_value(block.to_write()).unwrap()["spec"],
        json!({
            "cidr": "10.65.0.0/30",
            "affinity": "host:node-a",
            "affinityClaimTime": "2023-11-14T22:13:20Z",
            "allocations": [0, 1, null, null],
            "unallocated": [2, 3],
            "attributes": [
                {"handle_id": "k8s-pod-network.one", "secondary": {"node": "node-a", "pod": "one"}},
                {"handle_id": "k8s-pod-network.two", "secondary": {"node": "node-a", "pod": "two"}},
            ],
            "sequenceNumber": 1_700_000_000_000_000_008_u64,
            "sequenceNumberForAllocation": {"0": 1_700_000_000_000_000_007_u64, "1": 1_700_000_000_000_000_007_u64},
            "strictAffinity": false,
        })
    );
}

#[test]
fn a_block_that_calico_wrote_is_read_and_stays_valid_after_an_assignment() {
    let calico = json!({
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "IPAMBlock",
        "metadata": {"name": "192-168-7-0-30", "resourceVersion": "9", "annotations": {"projectcalico.org/metadata": "{}"}},
        "spec": {
            "affinity": "host:kind-worker",
            "allocations": [0, null, 1, null],
            "attributes": [
                {"handle_id": "ipip-tunnel-addr-kind-worker",
                 "secondary": {"node": "kind-worker", "type": "ipipTunnelAddress"}},
                {"releasedAt": "2026-01-01T00:00:00Z"},
            ],
            "cidr": "192.168.7.0/30",
            "deleted": false,
            "sequenceNumber": 5,
            "sequenceNumberForAllocation": {"0": 1, "2": 4},
            "strictAffinity": false,
            "unallocated": [3, 1],
        },
    });
    let mut block = Block::read(serde_json::from_value(calico).unwrap()).unwrap();
    assert_eq!(next(&mut block, "one"), "192.168.7.3");
    let written = Block::read(block.to_write()).unwrap();
    assert_eq!(written.object().metadata.resource_version.as_deref(), Some("9"));
    let spec = serde_json::to_value(written.object()).unwrap()["spec"].clone();
    assert_eq!(spec["allocations"], json!([0, null, 1, 2]));
    assert_eq!(spec["attributes"][1], json!({"releasedAt": "2026-01-01T00:00:00Z"}));
    assert_eq!(spec["sequenceNumberForAllocation"], json!({"0": 1, "2": 4, "3": 5}));
    assert_eq!(spec["sequenceNumber"], 6);
}

#[test]
fn the_address_that_has_been_free_longest_goes_out_first() {
    let mut block = block();
    assert_eq!(next(&mut block, "one"), "10.65.0.0");
    block.release(|allocation| allocation.handle_id == Some("k8s-pod-network.one"));
    assert_eq!(next(&mut block, "two"), "10.65.0.1");
    assert_eq!(next(&mut block, "three"), "10.65.0.2");
    assert_eq!(next(&mut block, "four"), "10.65.0.3");
    assert_eq!(next(&mut block, "five"), "10.65.0.0");
    assert!(block.assign_next(&owner("six"), &none()).is_none());
}

#[test]
fn two_addresses_of_one_owner_share_one_attribute() {
    let mut block = block();
    next(&mut block, "one");
    next(&mut block, "one");
    assert_eq!(block.object().spec.attributes.len(), 1);
    assert_eq!(block.object().spec.allocations, [Some(0), Some(0), None, None]);
}

#[test]
fn the_attribute_of_a_released_address_goes_and_the_others_move_up() {
    let mut block = block();
    for id in ["one", "two", "three"] {
        next(&mut block, id);
    }
    let released = block.release(|allocation| allocation.handle_id == Some("k8s-pod-network.two"));
    assert_eq!(released, ["10.65.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(block.object().spec.allocations, [Some(0), None, Some(1), None]);
    assert_eq!(
        block.object().spec.attributes[1],
        AllocationAttribute {
            handle_id: Some("k8s-pod-network.three".into()),
            secondary: owner("three").attributes,
            ..AllocationAttribute::default()
        }
    );
    assert!(!block.object().spec.sequence_number_for_allocation.contains_key("1"));
}

#[test]
fn a_reserved_address_is_passed_over_and_keeps_its_place() {
    let mut block = block();
    let reserved = reserved("10.65.0.0/31");
    assert_eq!(block.free(&reserved), 2);
    assert_eq!(block.assign_next(&owner("one"), &reserved).unwrap().0.to_string(), "10.65.0.2");
    assert_eq!(block.object().spec.unallocated, [0, 1, 3]);
}

#[test]
fn a_reserved_address_goes_to_who_asks_for_it() {
    let mut block = block();
    assert!(block.assign_address("10.65.0.1".parse().unwrap(), &owner("one")).is_some());
    assert!(block.assign_address("10.65.0.1".parse().unwrap(), &owner("two")).is_none());
    assert!(block.assign_address("10.65.1.1".parse().unwrap(), &owner("two")).is_none());
}

#[test]
fn an_address_that_is_assigned_anew_has_another_sequence_number() {
    let mut block = block();
    let (address, first) = block.assign_address("10.65.0.1".parse().unwrap(), &owner("one")).unwrap();
    let mut block = Block::read(block.to_write()).unwrap();
    block.release(|_| true);
    let mut block = Block::read(block.to_write()).unwrap();
    let (_, second) = block.assign_address(address, &owner("one")).unwrap();
    assert!(second > first);
}

#[test]
fn a_block_that_contradicts_itself_is_refused() {
    let broken = |change: &dyn Fn(&mut IpamBlockSpec)| {
        let mut object = block().into_object();
        change(&mut object.spec);
        Block::read(object).unwrap_err().to_string()
    };
    assert!(broken(&|spec| spec.allocations.truncate(3)).contains("has 3 entries, the block has 4 addresses"));
    assert!(broken(&|spec| spec.allocations[0] = Some(0)).contains("names attribute 0, there are 0"));
    assert!(broken(&|spec| spec.unallocated.push(1)).contains("lists 1"));
    assert!(broken(&|spec| spec.unallocated[0] = 4).contains("lists 4"));
}

#[test]
fn a_block_of_a_virtual_owner_is_no_nodes() {
    let mut object = block().into_object();
    object.spec.affinity = Some("virtual:load-balancer".into());
    let block = Block::read(object).unwrap();
    assert!(block.is_virtual());
    assert_eq!(block.node(), None);
}
