//! A datastore that is a map.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use resources::{Key, Kind, Resource};
use serde_json::Value;

use crate::{Answer, Datastore, Error, Watch, Write, store::Store};

/// Resources in memory: for tests, and for a process that has nothing to share. Clones are handles on the same content.
#[derive(Clone, Default)]
pub struct Memory {
    store: Arc<Store>,
    /// The number of writes so far, from which versions and uids are made.
    writes: Arc<Mutex<u64>>,
    lenient: bool,
    statuses: Arc<Mutex<BTreeMap<Key, Value>>>,
}

impl Memory {
    /// An empty datastore.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty datastore that admits invalid objects, as an API server without a schema would.
    pub fn without_admission() -> Self {
        Self { lenient: true, ..Self::default() }
    }

    /// What was last reported of an object.
    pub fn status(&self, key: &Key) -> Option<Value> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn next(&self) -> u64 {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        *writes += 1;
        *writes
    }

    fn admit(&self, resource: &mut Resource) -> Result<(), Error> {
        resource.normalize();
        match resource.validate() {
            Err(invalid) if !self.lenient => Err(Error::Invalid { key: resource.key(), invalid }),
            _ => Ok(()),
        }
    }

    fn create_now(&self, mut resource: Resource) -> Result<Write, Error> {
        self.admit(&mut resource)?;
        let key = resource.key();
        let mut state = self.store.lock();
        if state.get(&key).is_some() {
            return Ok(Write::Exists);
        }
        let number = self.next();
        let metadata = resource.metadata_mut();
        metadata.resource_version = Some(number.to_string());
        if metadata.uid.is_empty() {
            metadata.uid = format!("uid-{number}");
        }
        state.put(key, Arc::new(resource.clone()));
        Ok(Write::Done(resource))
    }

    fn update_now(&self, mut resource: Resource) -> Result<Write, Error> {
        self.admit(&mut resource)?;
        let key = resource.key();
        let Some(version) = resource.metadata().resource_version.clone() else {
            return Err(Error::NoResourceVersion { key });
        };
        let mut state = self.store.lock();
        let Some(current) = state.get(&key) else { return Ok(Write::NotFound) };
        if current.metadata().resource_version.as_ref() != Some(&version) {
            return Ok(Write::Conflict);
        }
        let uid = current.metadata().uid.clone();
        let metadata = resource.metadata_mut();
        metadata.uid = uid;
        metadata.resource_version = Some(self.next().to_string());
        state.put(key, Arc::new(resource.clone()));
        Ok(Write::Done(resource))
    }

    fn delete_now(&self, key: &Key, version: Option<&str>) -> Write {
        let mut state = self.store.lock();
        let Some(current) = state.get(key) else { return Write::NotFound };
        if version.is_some() && current.metadata().resource_version.as_deref() != version {
            return Write::Conflict;
        }
        state.remove(key).map_or(Write::NotFound, |object| Write::Done(Arc::unwrap_or_clone(object)))
    }
}

impl Datastore for Memory {
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Resource>> {
        let found = self.store.lock().get(key).map(|object| Resource::clone(object));
        Box::pin(ready(Ok(found)))
    }

    fn list(&self, kind: Kind) -> Answer<'_, Vec<Resource>> {
        let found = self.store.lock().list(kind).map(|object| Resource::clone(object)).collect();
        Box::pin(ready(Ok(found)))
    }

    fn create(&self, resource: Resource) -> Answer<'_, Write> {
        Box::pin(async move { self.create_now(resource) })
    }

    fn update(&self, resource: Resource) -> Answer<'_, Write> {
        Box::pin(async move { self.update_now(resource) })
    }

    fn delete<'a>(&'a self, key: &'a Key, resource_version: Option<&'a str>) -> Answer<'a, Write> {
        Box::pin(async move { Ok(self.delete_now(key, resource_version)) })
    }

    fn report<'a>(&'a self, key: &'a Key, status: Value) -> Answer<'a, bool> {
        let there = self.store.lock().get(key).is_some();
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        if there {
            statuses.insert(key.clone(), status);
        } else {
            statuses.remove(key);
        }
        Box::pin(ready(Ok(there)))
    }

    fn watch(&self, kinds: &[Kind]) -> Watch {
        self.store.watch(kinds)
    }
}
