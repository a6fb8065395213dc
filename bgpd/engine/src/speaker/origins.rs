//! Prefixes of our own, by the source that asked for them.

use std::collections::BTreeMap;

use super::Speaker;
use crate::config::OriginAttributes;
use crate::filter::local_pref_of;
use crate::instant::Instant;
use crate::prefix::{Ipv4Prefix, Ipv6Prefix, NetPrefix, Prefix};
use crate::reason::Why;
use crate::rib::{Attributes, Path, PeerId, Staleness};
use crate::wire::PathAttributes;

/// LOCAL_PREF of our own routes where Calico's rule is off.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// A source of prefixes.
#[derive(Debug, Default)]
pub(super) struct OriginSource {
    pub(super) connected: bool,
    /// It has said everything, since it last connected.
    pub(super) in_sync: bool,
    /// It was in sync once: what it had is known, even if it is away now.
    pub(super) known: bool,
    pub(super) prefixes: BTreeMap<Prefix, Held>,
    /// When what is held from it goes.
    stale_until: Option<Instant>,
}

/// A prefix held from a source.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) attributes: OriginAttributes,
    /// Said since the source last connected.
    fresh: bool,
}

/// All sources.
#[derive(Debug)]
pub(super) struct Origins {
    pub(super) sources: BTreeMap<String, OriginSource>,
}

impl Origins {
    pub(super) fn new(expected: &[String]) -> Self {
        Self { sources: expected.iter().map(|name| (name.clone(), OriginSource::default())).collect() }
    }

    /// True if every source has said everything once.
    pub(super) fn are_known(&self) -> bool {
        self.sources.values().all(|source| source.known)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sources.values().filter_map(|source| source.stale_until).min()
    }

    /// What is announced for a prefix: of several sources, the first by name.
    fn attributes(&self, prefix: Prefix) -> Option<&OriginAttributes> {
        self.sources.values().find_map(|source| source.prefixes.get(&prefix)).map(|held| &held.attributes)
    }

    /// Source names and causes of a prefix.
    pub(super) fn causes(&self, prefix: Prefix) -> Vec<(String, String)> {
        let holds = self.sources.iter().filter_map(|(name, source)| Some((name, source.prefixes.get(&prefix)?)));
        holds.map(|(name, held)| (name.clone(), held.attributes.cause.clone())).collect()
    }

    fn source(&mut self, name: &str) -> &mut OriginSource {
        if !self.sources.contains_key(name) {
            // Nothing was expected of it, so nothing waits for it.
            self.sources.insert(name.to_owned(), OriginSource { known: true, ..OriginSource::default() });
        }
        self.sources.entry(name.to_owned()).or_default()
    }
}

impl Speaker {
    /// Announces a prefix for a source, or changes its attributes. A source that speaks is connected.
    pub fn originate(&mut self, now: Instant, source: &str, prefix: Prefix, attributes: OriginAttributes) {
        self.at(now);
        let held = self.origins.source(source);
        held.connected = true;
        held.stale_until = None;
        held.prefixes.insert(prefix, Held { attributes, fresh: true });
        self.update_origin(prefix);
    }

    /// Changes what goes with a prefix of a source, without a word of the source itself. Nothing happens if the source does
    /// not hold it.
    pub fn set_origin_attributes(&mut self, now: Instant, source: &str, prefix: Prefix, attributes: OriginAttributes) {
        self.at(now);
        let held = self.origins.sources.get_mut(source).and_then(|source| source.prefixes.get_mut(&prefix));
        let Some(held) = held.filter(|held| held.attributes != attributes) else { return };
        held.attributes = attributes;
        self.update_origin(prefix);
    }

    /// Takes back a prefix of a source.
    pub fn withdraw(&mut self, now: Instant, source: &str, prefix: Prefix) {
        self.at(now);
        self.origins.source(source).prefixes.remove(&prefix);
        self.update_origin(prefix);
    }

    /// A source connected (again): what it announces until [`Speaker::origin_in_sync`] replaces what is held from it.
    pub fn origin_connected(&mut self, now: Instant, source: &str) {
        self.at(now);
        let source = self.origins.source(source);
        source.connected = true;
        source.in_sync = false;
        source.stale_until = None;
        source.prefixes.values_mut().for_each(|held| held.fresh = false);
    }

    /// A source has said everything it had at its start: what it did not say again goes.
    pub fn origin_in_sync(&mut self, now: Instant, source: &str) {
        self.at(now);
        let source = self.origins.source(source);
        source.connected = true;
        source.in_sync = true;
        source.known = true;
        source.stale_until = None;
        let old: Vec<Prefix> = source.prefixes.iter().filter(|(_, it)| !it.fresh).map(|(prefix, _)| *prefix).collect();
        source.prefixes.retain(|_, held| held.fresh);
        for prefix in old {
            self.update_origin(prefix);
        }
        self.tables.call_attention();
    }

    /// A source is gone: its prefixes stay for the stale time.
    pub fn origin_lost(&mut self, now: Instant, source: &str) {
        self.at(now);
        let until = now + self.config.origin_stale_time;
        let source = self.origins.source(source);
        source.connected = false;
        source.in_sync = false;
        source.stale_until = Some(until);
        source.prefixes.values_mut().for_each(|held| held.fresh = false);
    }

    /// Drops what was kept of sources that did not come back.
    pub(super) fn expire_origins(&mut self) {
        let now = self.now;
        let mut gone = Vec::new();
        for source in self.origins.sources.values_mut() {
            if source.stale_until.is_some_and(|until| until <= now) {
                source.stale_until = None;
                gone.extend(std::mem::take(&mut source.prefixes).into_keys());
            }
        }
        for prefix in gone {
            self.update_origin(prefix);
        }
    }

    fn update_origin(&mut self, prefix: Prefix) {
        match prefix {
            Prefix::V4(prefix) => self.update_origin_v4(prefix),
            Prefix::V6(prefix) => self.update_origin_v6(prefix),
        }
    }

    fn update_origin_v4(&mut self, prefix: Ipv4Prefix) {
        let attributes = self.origin_attributes(prefix.into());
        store(&mut self.tables.v4, &mut self.tables.shared, prefix, attributes);
    }

    fn update_origin_v6(&mut self, prefix: Ipv6Prefix) {
        let attributes = self.origin_attributes(prefix.into());
        store(&mut self.tables.v6, &mut self.tables.shared, prefix, attributes);
    }

    fn origin_attributes(&mut self, prefix: Prefix) -> Option<Attributes> {
        let origin = self.origins.attributes(prefix)?;
        let calico = self.config.calico_local_pref;
        let local_pref = if calico { local_pref_of(origin.metric) } else { DEFAULT_LOCAL_PREF };
        Some(self.tables.shared.interner.intern(&PathAttributes {
            local_pref: Some(local_pref),
            communities: origin.communities.clone(),
            large_communities: origin.large_communities.clone(),
            ..PathAttributes::default()
        }))
    }
}

fn store<P: NetPrefix>(
    family: &mut super::tables::FamilyTables<P>,
    shared: &mut super::tables::Shared,
    prefix: P,
    attributes: Option<Attributes>,
) {
    let (sources, next_hops) = (&mut shared.sources, &mut shared.next_hops);
    let Some(attributes) = attributes else {
        family.table.remove(&prefix, PeerId::LOCAL, 0, sources, next_hops);
        return;
    };
    let path = Path {
        source: PeerId::LOCAL,
        path_id: 0,
        local_pref: attributes.summary().local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
        attributes,
        next_hop: None,
        why: Why::Undecided,
        multipath: false,
        staleness: Staleness::Fresh,
        unrefreshed: false,
    };
    family.table.insert(prefix, path, sources, next_hops);
}
