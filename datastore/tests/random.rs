//! Random operations: a folder behaves as memory does, and its watch ends where its list does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use datastore::{
    Datastore, Directory, Memory, Write,
    syncer::{Syncer, Update},
};
use proptest::prelude::*;
use resources::{Key, Kind, Namespace, NetworkPolicy, ObjectMeta, Resource};

#[derive(Clone, Debug)]
enum Operation {
    Create {
        name: u8,
        label: u8,
    },
    /// Of the version read `age` writes ago, if there are so many.
    Update {
        name: u8,
        label: u8,
        age: usize,
    },
    Delete {
        name: u8,
        age: Option<usize>,
    },
}

fn operations() -> impl Strategy<Value = Vec<(bool, Operation)>> {
    let name = 0..4_u8;
    let operation = prop_oneof![
        (name.clone(), 0..3_u8).prop_map(|(name, label)| Operation::Create { name, label }),
        (name.clone(), 0..3_u8, 0..3_usize).prop_map(|(name, label, age)| Operation::Update { name, label, age }),
        (name, prop::option::of(0..2_usize)).prop_map(|(name, age)| Operation::Delete { name, age }),
    ];
    prop::collection::vec((any::<bool>(), operation), 1..40)
}

fn object(name: u8, label: u8) -> Resource {
    let mut metadata = match name {
        0 | 1 => ObjectMeta::named(format!("name-{name}")),
        _ => ObjectMeta::namespaced(format!("space-{name}"), "policy"),
    };
    metadata.labels.insert("label".to_owned(), label.to_string());
    match name {
        0 | 1 => Namespace { metadata }.into(),
        _ => NetworkPolicy { metadata, ..NetworkPolicy::default() }.into(),
    }
}

/// A datastore and every version it ever gave, per object, the newest last.
struct Subject {
    handles: [Arc<dyn Datastore>; 2],
    versions: BTreeMap<Key, Vec<String>>,
}

impl Subject {
    fn new(first: impl Datastore, second: impl Datastore) -> Self {
        Self { handles: [Arc::new(first), Arc::new(second)], versions: BTreeMap::new() }
    }

    fn version(&self, key: &Key, age: usize) -> Option<String> {
        let versions = self.versions.get(key)?;
        versions.get(versions.len().checked_sub(age + 1)?).cloned()
    }

    /// What became of the operation, versions and uids aside.
    async fn run(&mut self, second: bool, operation: &Operation) -> String {
        let store = &self.handles[usize::from(second)];
        let write = match operation {
            Operation::Create { name, label } => store.create(object(*name, *label)).await,
            Operation::Update { name, label, age } => {
                let mut object = object(*name, *label);
                object.metadata_mut().resource_version = self.version(&object.key(), *age);
                store.update(object).await
            }
            Operation::Delete { name, age } => {
                let key = object(*name, 0).key();
                let version = age.and_then(|age| self.version(&key, age));
                store.delete(&key, version.as_deref()).await
            }
        };
        if let (Ok(Write::Done(resource)), false) = (&write, matches!(operation, Operation::Delete { .. })) {
            let version = resource.metadata().resource_version.clone().unwrap();
            self.versions.entry(resource.key()).or_default().push(version);
        }
        match write {
            Ok(Write::Done(resource)) => format!("done {:?}", bare(resource)),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        }
    }

    async fn content(&self, second: bool) -> Vec<Resource> {
        let mut found = Vec::new();
        for kind in [Kind::Namespace, Kind::NetworkPolicy] {
            found.extend(self.handles[usize::from(second)].list(kind).await.unwrap().into_iter().map(bare));
        }
        found
    }
}

fn bare(mut resource: Resource) -> Resource {
    let metadata = resource.metadata_mut();
    metadata.resource_version = None;
    metadata.uid.clear();
    resource
}

/// What a consumer knows when there is nothing more to tell.
async fn told(updates: &mut tokio::sync::mpsc::Receiver<Update>, wanted: &[Resource]) -> bool {
    let mut known = BTreeMap::new();
    let told = async {
        while known.values().cloned().collect::<Vec<Resource>>() != wanted {
            match updates.recv().await.unwrap() {
                Update::Apply(resource) => drop(known.insert(resource.key(), bare(resource))),
                Update::Delete(key) => drop(known.remove(&key)),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.is_ok()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_handles_on_a_folder_are_as_memory(operations in operations()) {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let memory = Memory::new();
            let mut desired = Subject::new(memory.clone(), memory);
            let open = || Directory::open(folder.path()).unwrap();
            let mut actual = Subject::new(open(), open());
            let mut updates = Syncer::start(Arc::new(open()), &[Kind::Namespace, Kind::NetworkPolicy], 2);
            for (second, operation) in &operations {
                let (wanted, found) = (desired.run(*second, operation).await, actual.run(*second, operation).await);
                prop_assert_eq!(wanted, found, "{:?}", operation);
                prop_assert_eq!(desired.content(false).await, actual.content(!second).await);
            }
            let wanted = desired.content(false).await;
            prop_assert_eq!(&wanted, &Subject::new(open(), open()).content(false).await, "opened anew");
            prop_assert!(told(&mut updates, &wanted).await, "the watch ends where the list does");
            Ok(())
        })?;
    }

    /// Whatever people do to files, what is in force when they are done depends on what the files say alone, if every one
    /// of them is well formed.
    #[test]
    fn edits_in_any_order_end_where_a_fresh_look_ends(
        edits in prop::collection::vec((0..3_u8, prop::option::of(prop::collection::vec((0..4_u8, 0..3_u8), 1..4))), 1..20)
    ) {
        run(async {
            let folder = tempfile::tempdir().unwrap();
            let directory = Directory::open(folder.path()).unwrap();
            for (file, content) in edits {
                let path = folder.path().join(format!("file-{file}.json"));
                match content {
                    Some(objects) => {
                        let text = objects.iter().map(|(name, label)| object(*name, *label).to_json().unwrap().to_string());
                        fs::write(path, text.collect::<Vec<_>>().join("\n")).unwrap();
                    }
                    None => drop(fs::remove_file(path)),
                }
                if file == 0 {
                    directory.list(Kind::Namespace).await.unwrap();
                }
            }
            let fresh = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(folder.path()).unwrap().flatten().filter(|e| e.path().is_file()) {
                fs::copy(entry.path(), fresh.path().join(entry.file_name())).unwrap();
            }
            let fresh = Directory::open(fresh.path()).unwrap();
            for kind in [Kind::Namespace, Kind::NetworkPolicy] {
                prop_assert_eq!(directory.list(kind).await.unwrap(), fresh.list(kind).await.unwrap());
            }
            let refused = |directory: &Directory| directory.refusals().iter().map(ToString::to_string).collect::<Vec<_>>();
            // A duplicate within a file keeps the first; what was in force before in its place plays no part.
            let bare = |texts: Vec<String>| texts.into_iter().map(|t| t.replace(" (the version before stays in force)", "")).collect::<Vec<_>>();
            prop_assert_eq!(bare(refused(&directory)), bare(refused(&fresh)));
            Ok(())
        })?;
    }
}
