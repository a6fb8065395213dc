//! The one stream that consumers read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use datastore::{
    Datastore, Memory, Origin, Write,
    syncer::{Syncer, Update},
};
use resources::{IpPool, IpPoolSpec, Key, Kind, Namespace, ObjectMeta, Resource};
use tokio::sync::mpsc::Receiver;

fn namespace(name: &str) -> Resource {
    Namespace { metadata: ObjectMeta::named(name) }.into()
}

fn pool(block_size: u8) -> Resource {
    let spec = IpPoolSpec { block_size, ..IpPoolSpec::new("10.0.0.0/16".parse().unwrap()) };
    IpPool { metadata: ObjectMeta::named("pool"), spec }.into()
}

async fn next(updates: &mut Receiver<Update>) -> Update {
    tokio::time::timeout(Duration::from_secs(10), updates.recv())
        .await
        .expect("an update in time")
        .expect("more updates")
}

fn done(write: Write) -> Resource {
    match write {
        Write::Done(resource) => resource,
        other => panic!("not done: {other:?}"),
    }
}

#[tokio::test]
async fn in_sync_is_said_once_after_everything_that_was_there() {
    let memory = Memory::new();
    let first = done(memory.create(namespace("a")).await.unwrap());
    let second = done(memory.create(pool(26)).await.unwrap());
    let mut updates = Syncer::start(Arc::new(memory.clone()), &[Kind::Namespace, Kind::IpPool], 10);
    assert_eq!(next(&mut updates).await, Update::Apply(first));
    assert_eq!(next(&mut updates).await, Update::Apply(second));
    assert_eq!(next(&mut updates).await, Update::InSync);
    let third = done(memory.create(namespace("b")).await.unwrap());
    assert_eq!(next(&mut updates).await, Update::Apply(third));
}

#[tokio::test]
async fn in_sync_is_said_when_there_is_nothing() {
    let mut updates = Syncer::start(Arc::new(Memory::new()), &[Kind::Namespace], 1);
    assert_eq!(next(&mut updates).await, Update::InSync);
}

#[tokio::test]
async fn an_object_that_becomes_invalid_is_deleted_and_refused_and_comes_back_when_it_is_valid() {
    let memory = Memory::without_admission();
    let valid = done(memory.create(pool(26)).await.unwrap());
    let mut updates = Syncer::start(Arc::new(memory.clone()), &[Kind::IpPool], 10);
    assert_eq!(next(&mut updates).await, Update::Apply(valid.clone()));
    assert_eq!(next(&mut updates).await, Update::InSync);
    let mut invalid = pool(40);
    invalid.metadata_mut().resource_version = valid.metadata().resource_version.clone();
    let invalid = done(memory.update(invalid).await.unwrap());
    assert_eq!(next(&mut updates).await, Update::Delete(valid.key()));
    let Update::Refused(refusal) = next(&mut updates).await else { panic!() };
    assert_eq!(refusal.to_string(), "IPPool pool: spec.blockSize: \"40\" is not allowed, must be from 20 to 32");
    let mut valid = pool(27);
    valid.metadata_mut().resource_version = invalid.metadata().resource_version.clone();
    let valid = done(memory.update(valid).await.unwrap());
    assert_eq!(next(&mut updates).await, Update::Admitted(Origin::Object(valid.key())));
    assert_eq!(next(&mut updates).await, Update::Apply(valid));
}

#[tokio::test]
async fn an_object_that_was_never_valid_is_absent() {
    let memory = Memory::without_admission();
    done(memory.create(pool(40)).await.unwrap());
    let mut updates = Syncer::start(Arc::new(memory.clone()), &[Kind::IpPool], 10);
    assert!(matches!(next(&mut updates).await, Update::Refused(_)));
    assert_eq!(next(&mut updates).await, Update::InSync);
    let key = Key::cluster(Kind::IpPool, "pool");
    memory.delete(&key, None).await.unwrap();
    assert_eq!(next(&mut updates).await, Update::Admitted(Origin::Object(key)));
}

#[tokio::test]
async fn a_consumer_that_does_not_read_costs_no_memory_and_misses_nothing() {
    let memory = Memory::new();
    let mut updates = Syncer::start(Arc::new(memory.clone()), &[Kind::Namespace], 1);
    let mut last = done(memory.create(namespace("a")).await.unwrap());
    for _ in 0..1000 {
        last = done(memory.update(last).await.unwrap());
    }
    let mut seen = 0;
    loop {
        seen += 1;
        if next(&mut updates).await == Update::Apply(last.clone()) {
            break;
        }
    }
    assert!(seen < 10, "{seen} updates");
}

#[tokio::test]
async fn the_task_ends_with_its_receiver() {
    let datastore: Arc<dyn Datastore> = Arc::new(Memory::new());
    let updates = Syncer::start(Arc::clone(&datastore), &[Kind::Namespace], 1);
    drop(updates);
    let ended = async {
        while Arc::strong_count(&datastore) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the task ends");
}
