//! Any interleaving of several nodes, with crashes at any operation.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipam::{Assigned, Outcome, Released, Repaired, Step, View, Want};
use proptest::prelude::*;
use resources::IpamBlock;

use crate::store::{Memory, addresses, batch, id, is_write, pool, request, view};

/// What happens next on a node.
#[derive(Debug, Clone)]
enum Event {
    /// Containers start together: whether each wants IPv6 too, and which address it must have.
    Add(Vec<(bool, Option<u8>)>),
    /// One of its containers stops.
    Del(usize),
    /// What is under way does so many operations.
    Advance(usize),
    /// The agent dies, before or after the store did the operation it asked for, and starts anew.
    Crash { done: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let container = (any::<bool>(), prop::option::weighted(0.2, 0u8..16));
    prop_oneof![
        3 => prop::collection::vec(container, 1..4).prop_map(Event::Add),
        2 => (0usize..8).prop_map(Event::Del),
        12 => (1usize..12).prop_map(Event::Advance),
        1 => any::<bool>().prop_map(|done| Event::Crash { done }),
    ]
}

/// What an agent is doing.
enum Task {
    Add(Vec<String>, Step<Assigned>),
    Del(Step<Released>),
    Repair(Step<Repaired>),
}

struct Agent {
    view: View,
    live: BTreeMap<String, Vec<IpAddr>>,
    remembered: Vec<IpamBlock>,
    task: Option<Task>,
    started: usize,
}

impl Agent {
    fn new(node: &str, strict: bool) -> Self {
        let mut view = view(node, &[pool("p", "10.65.0.0/28", 30), pool("q", "fd00::/125", 127)]);
        view.configuration.strict_affinity = strict;
        view.configuration.max_blocks_per_host = 2;
        Self { view, live: BTreeMap::new(), remembered: Vec::new(), task: None, started: 0 }
    }

    fn handle(&mut self, store: &mut Memory, event: Event) {
        match event {
            Event::Add(containers) if self.task.is_none() => self.add(containers),
            Event::Del(which) if self.task.is_none() => self.del(which),
            Event::Add(_) | Event::Del(_) => {}
            Event::Advance(operations) => (0..operations).for_each(|_| self.advance(store)),
            Event::Crash { done } => self.crash(store, done),
        }
    }

    fn add(&mut self, containers: Vec<(bool, Option<u8>)>) {
        let mut handles = Vec::new();
        let mut requests = Vec::new();
        for (ipv6, wanted) in containers {
            self.started += 1;
            let container = format!("{}-{}", self.view.node, self.started);
            let mut one = request(&container);
            one.ipv6 = if ipv6 { Want::Yes } else { Want::No };
            one.addresses.extend(wanted.map(|last| IpAddr::from([10, 65, 0, last])));
            requests.push(one);
            handles.push(id(&container));
        }
        let step = ipam::assign(batch(&self.view, requests, self.remembered.clone()));
        self.task = Some(Task::Add(handles, step));
    }

    fn del(&mut self, which: usize) {
        let Some(handle) = self.live.keys().nth(which).cloned() else { return };
        // From here on the container is gone, whether or not the release comes to its end.
        self.live.remove(&handle);
        self.task = Some(Task::Del(ipam::release_by_handle(handle, self.remembered.clone())));
    }

    fn advance(&mut self, store: &mut Memory) {
        self.task = match self.task.take() {
            None => None,
            Some(Task::Add(handles, Step::Do(operation, waiting))) => {
                Some(Task::Add(handles, waiting.answer(store.execute(operation))))
            }
            Some(Task::Del(Step::Do(operation, waiting))) => Some(Task::Del(waiting.answer(store.execute(operation)))),
            Some(Task::Repair(Step::Do(operation, waiting))) => {
                Some(Task::Repair(waiting.answer(store.execute(operation))))
            }
            Some(Task::Add(handles, Step::Done(assigned))) => {
                self.added(handles, assigned);
                None
            }
            Some(Task::Del(Step::Done(_))) => None,
            Some(Task::Repair(Step::Done(repaired))) => {
                self.remembered = repaired.blocks;
                None
            }
        };
    }

    fn added(&mut self, handles: Vec<String>, assigned: Assigned) {
        for (handle, outcome) in handles.into_iter().zip(assigned.outcomes) {
            if let Outcome::Assigned(_) = outcome {
                self.live.insert(handle, addresses(&outcome));
            }
        }
        self.remembered = assigned.blocks;
    }

    fn crash(&mut self, store: &mut Memory, done: bool) {
        let operation = match self.task.take() {
            Some(Task::Add(_, Step::Do(operation, _))) => Some(operation),
            Some(Task::Del(Step::Do(operation, _))) => Some(operation),
            Some(Task::Repair(Step::Do(operation, _))) => Some(operation),
            _ => None,
        };
        if let Some(operation) = operation.filter(|_| done) {
            store.execute(operation);
        }
        self.remembered.clear();
        self.task = Some(Task::Repair(self.repair()));
    }

    fn repair(&self) -> Step<Repaired> {
        ipam::reconcile(self.view.node.clone(), self.live.keys().cloned().collect())
    }

    fn finish(&mut self, store: &mut Memory) {
        while self.task.is_some() {
            self.advance(store);
        }
    }
}

/// Every address that some agent gave away is that owner's in the store, and no two agents gave away the same.
fn assert_given_once(store: &Memory, agents: &[Agent]) {
    let owners = store.owners();
    let mut given = BTreeSet::new();
    for (handle, addresses) in agents.iter().flat_map(|agent| &agent.live) {
        for address in addresses {
            assert!(given.insert(*address), "{address} was given away twice");
            assert_eq!(owners.get(address), Some(handle));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_given_twice_and_none_leaks(
        strict: bool,
        events in prop::collection::vec((0usize..3, event()), 0..120),
    ) {
        let mut store = Memory::default();
        let mut agents = ["node-a", "node-b", "node-c"].map(|node| Agent::new(node, strict));
        for (which, event) in events {
            agents[which].handle(&mut store, event);
            store.assert_sound();
            assert_given_once(&store, &agents);
        }
        for agent in &mut agents {
            agent.finish(&mut store);
        }
        for agent in &agents {
            store.run(agent.repair());
        }
        assert_given_once(&store, &agents);
        store.assert_settled();
        let given: usize = agents.iter().flat_map(|agent| agent.live.values()).map(Vec::len).sum();
        assert_eq!(store.owners().len(), given, "an address leaked");
        store.take_log();
        for agent in &agents {
            store.run(agent.repair());
        }
        assert!(!store.log.iter().any(|line| is_write(line)), "a second repair found something: {:?}", store.log);
    }
}
