//! What every back end promises, over each of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use datastore::{Datastore, Directory, Error, Event, Memory, Watch, Write};
use resources::{
    AffinityState, BlockAffinity, BlockAffinitySpec, IpPool, IpPoolSpec, Key, Kind, Namespace, NetworkPolicy,
    ObjectMeta, Resource,
};

/// Runs a promise over memory, a folder, and two handles on one folder.
fn over_every_back_end<F>(promise: impl Fn(Arc<dyn Datastore>, Arc<dyn Datastore>) -> F)
where
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let memory = Memory::new();
        promise(Arc::new(memory.clone()), Arc::new(memory)).await;
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        promise(Arc::new(directory.clone()), Arc::new(directory)).await;
        let folder = tempfile::tempdir().unwrap();
        let one = Directory::open(folder.path()).unwrap();
        promise(Arc::new(one), Arc::new(Directory::open(folder.path()).unwrap())).await;
    });
}

fn affinity(name: &str, state: AffinityState) -> Resource {
    let cidr = "10.0.0.0/26".parse().unwrap();
    let spec =
        BlockAffinitySpec { state, node: name.to_owned(), affinity_type: "host".to_owned(), cidr, deleted: false };
    BlockAffinity { metadata: ObjectMeta::named(name), spec }.into()
}

fn policy(namespace: &str, name: &str) -> Resource {
    NetworkPolicy { metadata: ObjectMeta::namespaced(namespace, name), ..NetworkPolicy::default() }.into()
}

fn done(write: Write) -> Resource {
    match write {
        Write::Done(resource) => resource,
        other => panic!("not done: {other:?}"),
    }
}

fn changed(mut resource: Resource, label: &str) -> Resource {
    resource.metadata_mut().labels.insert("changed".to_owned(), label.to_owned());
    resource
}

async fn next(watch: &mut Watch) -> Event {
    tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("an event within ten seconds")
}

#[test]
fn what_was_created_is_read_by_every_handle() {
    over_every_back_end(async |a, b| {
        let created = done(a.create(affinity("node-1", AffinityState::Pending)).await.unwrap());
        assert!(created.metadata().resource_version.is_some());
        assert!(!created.metadata().uid.is_empty());
        assert_eq!(b.get(&created.key()).await.unwrap(), Some(created.clone()));
        assert_eq!(b.list(Kind::BlockAffinity).await.unwrap(), vec![created]);
        assert_eq!(b.list(Kind::IpPool).await.unwrap(), vec![]);
    });
}

#[test]
fn an_absent_object_is_none() {
    over_every_back_end(async |a, _| {
        assert_eq!(a.get(&Key::cluster(Kind::IpPool, "absent")).await.unwrap(), None);
        assert_eq!(a.delete(&Key::cluster(Kind::IpPool, "absent"), None).await.unwrap(), Write::NotFound);
        let mut object = affinity("absent", AffinityState::Pending);
        object.metadata_mut().resource_version = Some("1".to_owned());
        assert_eq!(a.update(object).await.unwrap(), Write::NotFound);
    });
}

#[test]
fn creating_what_exists_says_so_and_changes_nothing() {
    over_every_back_end(async |a, b| {
        let first = done(a.create(affinity("node-1", AffinityState::Pending)).await.unwrap());
        assert_eq!(b.create(affinity("node-1", AffinityState::Confirmed)).await.unwrap(), Write::Exists);
        assert_eq!(a.get(&first.key()).await.unwrap(), Some(first));
    });
}

#[test]
fn an_update_of_what_changed_meanwhile_conflicts() {
    over_every_back_end(async |a, b| {
        let first = done(a.create(affinity("node-1", AffinityState::Pending)).await.unwrap());
        let second = done(b.update(changed(first.clone(), "b")).await.unwrap());
        assert_eq!(a.update(changed(first.clone(), "a")).await.unwrap(), Write::Conflict);
        assert_eq!(a.get(&first.key()).await.unwrap(), Some(second));
    });
}

#[test]
fn going_back_to_an_earlier_content_is_a_new_version() {
    over_every_back_end(async |a, b| {
        let first = done(a.create(affinity("node-1", AffinityState::Pending)).await.unwrap());
        let second = done(b.update(changed(first.clone(), "b")).await.unwrap());
        let mut back = first.clone();
        back.metadata_mut().resource_version = second.metadata().resource_version.clone();
        done(b.update(back).await.unwrap());
        assert_eq!(a.update(changed(first, "a")).await.unwrap(), Write::Conflict);
    });
}

#[test]
fn an_update_without_a_version_is_an_error() {
    over_every_back_end(async |a, _| {
        let error = a.update(affinity("node-1", AffinityState::Pending)).await.unwrap_err();
        assert!(matches!(error, Error::NoResourceVersion { .. }), "{error}");
    });
}

#[test]
fn an_update_keeps_the_uid_and_another_object_of_the_name_has_another() {
    over_every_back_end(async |a, b| {
        let first = done(a.create(affinity("node-1", AffinityState::Pending)).await.unwrap());
        let mut without = changed(first.clone(), "x");
        without.metadata_mut().uid.clear();
        assert_eq!(done(a.update(without).await.unwrap()).metadata().uid, first.metadata().uid);
        done(b.delete(&first.key(), None).await.unwrap());
        let second = done(a.create(affinity("node-1", AffinityState::Pending)).await.unwrap());
        assert_ne!(second.metadata().uid, first.metadata().uid);
        assert_eq!(b.update(changed(first, "late")).await.unwrap(), Write::Conflict);
    });
}

#[test]
fn a_deletion_compares_versions_where_one_is_given() {
    over_every_back_end(async |a, b| {
        let first = done(a.create(affinity("node-1", AffinityState::Pending)).await.unwrap());
        let second = done(b.update(changed(first.clone(), "b")).await.unwrap());
        let old = first.metadata().resource_version.as_deref();
        assert_eq!(a.delete(&first.key(), old).await.unwrap(), Write::Conflict);
        let new = second.metadata().resource_version.as_deref();
        assert_eq!(a.delete(&first.key(), new).await.unwrap(), Write::Done(second.clone()));
        assert_eq!(b.get(&first.key()).await.unwrap(), None);
    });
}

#[test]
fn an_invalid_object_is_not_written() {
    over_every_back_end(async |a, _| {
        let spec = IpPoolSpec { block_size: 33, ..IpPoolSpec::new("10.0.0.0/16".parse().unwrap()) };
        let pool: Resource = IpPool { metadata: ObjectMeta::named("pool"), spec }.into();
        let error = a.create(pool.clone()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "IPPool pool is not valid: spec.blockSize: \"33\" is not allowed, must be from 20 to 32"
        );
        assert_eq!(a.get(&pool.key()).await.unwrap(), None);
    });
}

#[test]
fn lists_are_ordered_by_namespace_and_name() {
    over_every_back_end(async |a, b| {
        for (namespace, name) in [("b", "x"), ("a", "z"), ("a-c", "y"), ("a", "b")] {
            done(a.create(policy(namespace, name)).await.unwrap());
        }
        let names: Vec<String> =
            b.list(Kind::NetworkPolicy).await.unwrap().iter().map(|r| r.key().to_string()).collect();
        assert_eq!(names, ["NetworkPolicy a/b", "NetworkPolicy a/z", "NetworkPolicy a-c/y", "NetworkPolicy b/x"]);
    });
}

#[test]
fn a_namespaced_object_without_namespace_is_in_default() {
    over_every_back_end(async |a, b| {
        let object: Resource = NetworkPolicy { metadata: ObjectMeta::named("web"), ..NetworkPolicy::default() }.into();
        assert_eq!(done(a.create(object).await.unwrap()).key().to_string(), "NetworkPolicy default/web");
        assert!(b.get(&Key::namespaced(Kind::NetworkPolicy, "default", "web")).await.unwrap().is_some());
    });
}

#[test]
fn names_of_every_length_and_form_stay_apart() {
    over_every_back_end(async |a, b| {
        let long = "x".repeat(250);
        let names = ["a", "a.b", "a-b", "10-0-0-0-26", &long, &format!("{long}y"), &format!("{long}z")];
        for name in names {
            done(a.create(affinity(name, AffinityState::Pending)).await.unwrap());
        }
        assert_eq!(b.list(Kind::BlockAffinity).await.unwrap().len(), names.len());
        let namespace = "n".repeat(63);
        done(a.create(policy(&namespace, &long)).await.unwrap());
        assert_eq!(b.list(Kind::NetworkPolicy).await.unwrap().len(), 1);
    });
}

#[test]
fn a_watch_begins_with_what_is_there() {
    over_every_back_end(async |a, b| {
        let first = done(a.create(policy("a", "first")).await.unwrap());
        let second = done(a.create(policy("b", "second")).await.unwrap());
        done(a.create(Namespace { metadata: ObjectMeta::named("other") }.into()).await.unwrap());
        b.list(Kind::NetworkPolicy).await.unwrap();
        let mut watch = b.watch(&[Kind::NetworkPolicy]);
        assert_eq!(next(&mut watch).await, Event::Init);
        assert_eq!(next(&mut watch).await, Event::InitApply(first));
        assert_eq!(next(&mut watch).await, Event::InitApply(second));
        assert_eq!(next(&mut watch).await, Event::InitDone);
    });
}

#[test]
fn a_watch_tells_every_object_as_it_became() {
    over_every_back_end(async |a, b| {
        let mut watch = b.watch(&[Kind::NetworkPolicy, Kind::BlockAffinity]);
        assert_eq!(next(&mut watch).await, Event::Init);
        assert_eq!(next(&mut watch).await, Event::InitDone);
        let created = done(a.create(policy("a", "p")).await.unwrap());
        assert_eq!(next(&mut watch).await, Event::Apply(created.clone()));
        let updated = done(a.update(changed(created, "1")).await.unwrap());
        assert_eq!(next(&mut watch).await, Event::Apply(updated.clone()));
        done(a.delete(&updated.key(), None).await.unwrap());
        assert_eq!(next(&mut watch).await, Event::Delete(updated.key()));
        let other = done(a.create(affinity("n", AffinityState::Pending)).await.unwrap());
        assert_eq!(next(&mut watch).await, Event::Apply(other));
    });
}

#[test]
fn a_slow_watch_ends_up_with_what_is_there() {
    over_every_back_end(async |a, b| {
        let mut watch = b.watch(&[Kind::BlockAffinity]);
        for round in 0..5 {
            for node in 0..5 {
                let name = format!("node-{node}");
                let write = a.create(affinity(&name, AffinityState::Pending)).await.unwrap();
                if let (Write::Exists, key) = (write, Key::cluster(Kind::BlockAffinity, &name)) {
                    let found = a.get(&key).await.unwrap().unwrap();
                    done(a.update(changed(found, &round.to_string())).await.unwrap());
                }
            }
        }
        done(a.delete(&Key::cluster(Kind::BlockAffinity, "node-3"), None).await.unwrap());
        let desired = b.list(Kind::BlockAffinity).await.unwrap();
        let mut actual = BTreeMap::new();
        while actual.values().cloned().collect::<Vec<_>>() != desired {
            match next(&mut watch).await {
                Event::InitApply(resource) | Event::Apply(resource) => drop(actual.insert(resource.key(), resource)),
                Event::Delete(key) => drop(actual.remove(&key)),
                _ => {}
            }
        }
    });
}

#[test]
fn of_many_writers_of_one_version_one_wins() {
    over_every_back_end(async |a, b| {
        let first = done(a.create(affinity("node-1", AffinityState::Pending)).await.unwrap());
        let writers = (0..16).map(|writer| {
            let (store, object) = (if writer % 2 == 0 { &a } else { &b }, changed(first.clone(), &writer.to_string()));
            let store = Arc::clone(store);
            tokio::spawn(async move { store.update(object).await.unwrap() })
        });
        let mut won = 0;
        for writer in writers.collect::<Vec<_>>() {
            won += usize::from(matches!(writer.await.unwrap(), Write::Done(_)));
        }
        assert_eq!(won, 1);
    });
}

#[test]
fn a_status_is_taken_for_what_is_there_and_changes_neither_it_nor_its_version() {
    over_every_back_end(async |a, b| {
        let object = done(a.create(affinity("a", AffinityState::Pending)).await.unwrap());
        let mut watch = b.watch(&[Kind::BlockAffinity]);
        while next(&mut watch).await != Event::InitDone {}
        let status = serde_json::json!({"seen": true});
        assert!(b.report(&object.key(), status.clone()).await.unwrap());
        assert!(a.report(&object.key(), status.clone()).await.unwrap());
        assert_eq!(a.get(&object.key()).await.unwrap(), Some(object.clone()));
        let absent = Key::cluster(Kind::BlockAffinity, "b");
        assert!(!a.report(&absent, status).await.unwrap());

        // The watch has nothing to tell until the object itself changes.
        let changed = done(a.update(changed(object, "now")).await.unwrap());
        assert_eq!(next(&mut watch).await, Event::Apply(changed));
    });
}

#[test]
fn a_status_is_beside_an_object_that_a_person_wrote_and_goes_when_that_is_gone() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("status.yaml");
        let text = "apiVersion: projectcalico.org/v3\nkind: CalicoNodeStatus\nmetadata: {name: a}\nspec: {node: a}\n";
        std::fs::write(&manifest, text).unwrap();
        let store = Directory::open(folder.path()).unwrap();
        let (key, file) = (Key::cluster(Kind::CalicoNodeStatus, "a"), ".tortie/status/caliconodestatus/a.json");
        assert!(store.report(&key, serde_json::json!({"lastUpdated": "now"})).await.unwrap());
        let written = std::fs::read(folder.path().join(file)).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(written["status"]["lastUpdated"], "now");
        assert_eq!((&written["kind"], &written["metadata"]["name"]), (&"CalicoNodeStatus".into(), &"a".into()));
        assert_eq!(std::fs::read_to_string(&manifest).unwrap(), text, "a person's file is not touched");
        std::fs::remove_file(&manifest).unwrap();
        while store.get(&key).await.unwrap().is_some() {}
        assert!(!store.report(&key, serde_json::Value::Null).await.unwrap());
        assert!(!folder.path().join(file).exists());
    });
}
