//! A store in memory with compare-and-swap, and what tests ask of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use ipam::{Answer, Batch, Block, Operation, Outcome, Owner, Request, Step, View, Want, Write};
use ipnetwork::IpNetwork;
use resources::{AffinityState, AllowedUse, BlockAffinity, IpPool, IpamBlock, IpamHandle, Key, Kind, Object, Resource};
use serde_json::{Value, json};

/// The store.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) objects: BTreeMap<Key, Resource>,
    version: u64,
    /// Every operation: `update IPAMBlock 10-65-0-0-26`.
    pub(crate) log: Vec<String>,
}

impl Memory {
    /// Does an operation as an API server would, admission included.
    pub(crate) fn execute(&mut self, operation: Operation) -> Answer {
        self.log.push(describe(&operation));
        match operation {
            Operation::Get(key) => Answer::Resource(self.objects.get(&key).cloned()),
            Operation::List(kind) => {
                Answer::List(self.objects.values().filter(|object| object.kind() == kind).cloned().collect())
            }
            Operation::Create(resource) if self.objects.contains_key(&resource.key()) => Answer::Write(Write::Exists),
            Operation::Create(resource) => self.store(resource),
            Operation::Update(resource) => match self.check(&resource.key(), &resource.metadata().resource_version) {
                Some(refusal) => Answer::Write(refusal),
                None => self.store(resource),
            },
            Operation::Delete { key, resource_version } => match self.check(&key, &resource_version) {
                Some(refusal) => Answer::Write(refusal),
                None => Answer::Write(Write::Done(Box::new(self.objects.remove(&key).unwrap()))),
            },
        }
    }

    fn check(&self, key: &Key, version: &Option<String>) -> Option<Write> {
        match self.objects.get(key) {
            None => Some(Write::NotFound),
            Some(stored) if stored.metadata().resource_version != *version => Some(Write::Conflict),
            Some(_) => None,
        }
    }

    fn store(&mut self, mut resource: Resource) -> Answer {
        resource.validate().unwrap();
        self.version += 1;
        resource.metadata_mut().resource_version = Some(self.version.to_string());
        self.objects.insert(resource.key(), resource.clone());
        Answer::Write(Write::Done(Box::new(resource)))
    }

    /// Puts an object without asking.
    pub(crate) fn put(&mut self, resource: impl Into<Resource>) {
        self.store(resource.into());
    }

    /// Puts an object given as JSON.
    pub(crate) fn put_json(&mut self, kind: Kind, value: Value) {
        self.put(Resource::deserialize(kind, value).unwrap());
    }

    /// Runs a procedure to its end.
    pub(crate) fn run<T>(&mut self, step: Step<T>) -> T {
        self.run_for(step, usize::MAX).unwrap()
    }

    /// Runs a procedure for so many operations; none when it was not finished by then, as if the agent had crashed.
    pub(crate) fn run_for<T>(&mut self, mut step: Step<T>, operations: usize) -> Option<T> {
        for _ in 0..operations {
            match step {
                Step::Done(outcome) => return Some(outcome),
                Step::Do(operation, waiting) => {
                    let answer = self.execute(operation);
                    step = waiting.answer(answer);
                }
            }
        }
        match step {
            Step::Done(outcome) => Some(outcome),
            Step::Do(..) => None,
        }
    }

    /// The operations since the last call.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn all<T: Object>(&self) -> impl Iterator<Item = T> {
        self.objects.values().cloned().filter_map(T::from_resource)
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        self.all::<IpamBlock>().map(|block| Block::read(block).unwrap()).collect()
    }

    pub(crate) fn block(&self, cidr: &str) -> Block {
        let cidr: IpNetwork = cidr.parse().unwrap();
        self.blocks().into_iter().find(|block| block.cidr() == cidr).unwrap()
    }

    pub(crate) fn handles(&self) -> Vec<IpamHandle> {
        self.all().collect()
    }

    pub(crate) fn affinities(&self) -> Vec<BlockAffinity> {
        self.all().collect()
    }

    /// Address → handle, over all blocks.
    pub(crate) fn owners(&self) -> BTreeMap<IpAddr, String> {
        let blocks = self.blocks();
        let allocations = blocks.iter().flat_map(Block::allocations);
        allocations.map(|allocation| (allocation.address, allocation.handle_id.unwrap().to_owned())).collect()
    }

    /// What holds at every moment, whatever crashed: no two blocks share an address, a handle never counts too few, and a
    /// confirmed affinity belongs to a block of its node.
    pub(crate) fn assert_sound(&self) {
        let blocks = self.blocks();
        for (index, block) in blocks.iter().enumerate() {
            for other in &blocks[index + 1..] {
                assert!(!block.cidr().contains(other.cidr().ip()) && !other.cidr().contains(block.cidr().ip()));
            }
        }
        let counted = self.counted();
        for (key, count) in self.assigned() {
            assert!(counted.get(&key).is_some_and(|counted| *counted >= count), "{key:?}: {count}");
        }
        for affinity in self.affinities().iter().filter(|affinity| affinity.spec.state == AffinityState::Confirmed) {
            let block = blocks.iter().find(|block| block.cidr() == affinity.spec.cidr.network());
            assert_eq!(block.and_then(Block::node), Some(affinity.spec.node.as_str()), "{affinity:?}");
        }
    }

    /// What holds after repair: counts are right, every affinity is confirmed and every block of a node has one.
    pub(crate) fn assert_settled(&self) {
        self.assert_sound();
        assert_eq!(self.counted(), self.assigned());
        assert!(self.affinities().iter().all(|affinity| affinity.spec.state == AffinityState::Confirmed));
        let claimed: BTreeSet<IpNetwork> =
            self.affinities().iter().map(|affinity| affinity.spec.cidr.network()).collect();
        let owned: BTreeSet<IpNetwork> =
            self.blocks().iter().filter(|block| block.node().is_some()).map(Block::cidr).collect();
        assert_eq!(claimed, owned);
    }

    /// (handle, block) → addresses, as the handles say.
    fn counted(&self) -> BTreeMap<(String, String), u64> {
        let entries = |handle: IpamHandle| {
            let id = handle.spec.handle_id;
            assert!(!handle.spec.block.is_empty(), "handle {id} counts nothing");
            handle.spec.block.into_iter().map(move |(cidr, count)| ((id.clone(), cidr), count))
        };
        self.handles().into_iter().flat_map(entries).collect()
    }

    /// (handle, block) → addresses, as the blocks say.
    fn assigned(&self) -> BTreeMap<(String, String), u64> {
        let mut counts = BTreeMap::new();
        for block in self.blocks() {
            for allocation in block.allocations() {
                let key = (allocation.handle_id.unwrap().to_owned(), block.cidr().to_string());
                *counts.entry(key).or_default() += 1;
            }
        }
        counts
    }
}

fn describe(operation: &Operation) -> String {
    match operation {
        Operation::Get(key) => format!("get {key}"),
        Operation::List(kind) => format!("list {kind}"),
        Operation::Create(resource) => format!("create {}", resource.key()),
        Operation::Update(resource) => format!("update {}", resource.key()),
        Operation::Delete { key, .. } => format!("delete {key}"),
    }
}

/// Whether a log line is a write.
pub(crate) fn is_write(line: &str) -> bool {
    !line.starts_with("get ") && !line.starts_with("list ")
}

pub(crate) fn pool(name: &str, cidr: &str, block_size: u8) -> IpPool {
    pool_with(name, cidr, block_size, json!({}))
}

pub(crate) fn pool_with(name: &str, cidr: &str, block_size: u8, extra: Value) -> IpPool {
    let mut spec = json!({"cidr": cidr, "blockSize": block_size});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

pub(crate) fn view(node: &str, pools: &[IpPool]) -> View {
    View {
        node: node.into(),
        node_labels: BTreeMap::new(),
        pools: pools.to_vec(),
        reservations: Vec::new(),
        configuration: Default::default(),
    }
}

/// Handle of a container.
pub(crate) fn id(container: &str) -> String {
    ipam::handle_id("k8s-pod-network", container)
}

/// A request for an IPv4 address.
pub(crate) fn request(container: &str) -> Request {
    let attributes =
        BTreeMap::from([("namespace".to_owned(), "default".to_owned()), ("pod".to_owned(), container.to_owned())]);
    Request {
        owner: Owner { handle_id: id(container), attributes },
        purpose: AllowedUse::Workload,
        namespace_labels: BTreeMap::new(),
        ipv4: Want::Yes,
        ipv6: Want::No,
        ipv4_pools: Vec::new(),
        ipv6_pools: Vec::new(),
        addresses: Vec::new(),
    }
}

pub(crate) fn dual(container: &str) -> Request {
    Request { ipv6: Want::Yes, ..request(container) }
}

pub(crate) fn asking_for(container: &str, addresses: &[&str]) -> Request {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Request { ipv4: Want::No, addresses, ..request(container) }
}

pub(crate) fn batch(view: &View, requests: Vec<Request>, blocks: Vec<IpamBlock>) -> Batch {
    Batch { view: Arc::new(view.clone()), requests, blocks, now: Duration::from_secs(1_700_000_000) }
}

/// Addresses of an outcome that must have some.
pub(crate) fn addresses(outcome: &Outcome) -> Vec<IpAddr> {
    match outcome {
        Outcome::Assigned(assignments) => assignments.iter().map(|assignment| assignment.address).collect(),
        Outcome::Refused(refusal) => panic!("refused: {refusal}"),
    }
}

/// The sentence of an outcome that must be a refusal.
pub(crate) fn sentence(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Assigned(assignments) => panic!("assigned: {assignments:?}"),
        Outcome::Refused(refusal) => refusal.to_string(),
    }
}
