//! Prometheus metrics of BFD sessions.

use std::sync::atomic::{AtomicU64, Ordering};

use bfd::State;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family as Metrics, gauge::Gauge},
    registry::Registry,
};

use crate::liveness::Overview;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PeerLabels {
    peer: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PacketLabels {
    peer: String,
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DiscardLabels {
    reason: &'static str,
}

/// Counters are kept by the sessions.
#[derive(Clone, Default)]
pub(crate) struct BfdMetrics {
    up: Metrics<PeerLabels, Gauge>,
    detection_time: Metrics<PeerLabels, Gauge<f64, AtomicU64>>,
    downs: Metrics<PeerLabels, Counter>,
    packets: Metrics<PacketLabels, Counter>,
    discarded: Metrics<DiscardLabels, Counter>,
}

impl BfdMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("bgpd_bfd_session_up", "1 while the BFD session of a peer is Up", self.up.clone());
        let help = "Silence after which the peer counts as lost";
        registry.register("bgpd_bfd_detect_seconds", help, self.detection_time.clone());
        registry.register("bgpd_bfd_downs", "Times that a BFD session left Up", self.downs.clone());
        registry.register("bgpd_bfd_packets", "BFD packets of a session", self.packets.clone());
        registry.register("bgpd_bfd_packets_discarded", "BFD packets of no use", self.discarded.clone());
    }

    pub(crate) fn take(&self, overview: &Overview) {
        // Sessions come and go: what is no longer there must not be reported for ever.
        self.up.clear();
        self.detection_time.clear();
        for session in &overview.sessions {
            let (status, peer) = (&session.status, session.peer.to_string());
            let labels = PeerLabels { peer: peer.clone() };
            self.up.get_or_create(&labels).set((status.state == State::Up).into());
            self.detection_time.get_or_create(&labels).set(status.detection_time.as_secs_f64());
            store(&self.downs.get_or_create(&labels), status.downs);
            for (direction, count) in [("in", status.received), ("out", status.sent)] {
                store(&self.packets.get_or_create(&PacketLabels { peer: peer.clone(), direction }), count);
            }
        }
        for (reason, count) in &overview.discards {
            store(&self.discarded.get_or_create(&DiscardLabels { reason }), *count);
        }
    }
}

fn store(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use bfd::{Config, Hops, Instant, Path, Sessions};

    use super::*;
    use crate::liveness::Session;

    #[test]
    fn a_session_is_reported_while_it_is_there_and_not_afterwards() {
        let mut sessions = Sessions::new(1);
        let (local, remote) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let path = Path { remote, local, interface: None, hops: Hops::Single };
        let id = sessions.start(Instant::default(), path, Config::default());
        let _ = sessions.poll_transmit(Instant::default());
        let status = sessions.status(id).unwrap();
        let session = Session { peer: "tor".into(), path, status, age: std::time::Duration::ZERO };
        let mut registry = Registry::default();
        let metrics = BfdMetrics::default();
        metrics.register(&mut registry);
        let text = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
            text
        };
        metrics.take(&Overview { sessions: vec![session], discards: vec![("ttl", 7)] });
        let shown = text(&registry);
        for line in [
            "bgpd_bfd_session_up{peer=\"tor\"} 0",
            "bgpd_bfd_detect_seconds{peer=\"tor\"} 0",
            "bgpd_bfd_downs_total{peer=\"tor\"} 0",
            "bgpd_bfd_packets_total{peer=\"tor\",direction=\"out\"} 1",
            "bgpd_bfd_packets_discarded_total{reason=\"ttl\"} 7",
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
        metrics.take(&Overview::default());
        assert!(!text(&registry).contains("bgpd_bfd_session_up{"));
    }
}
