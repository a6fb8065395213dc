//! Automatic reflectors: what the election is asked, and what of its result concerns a peer.

use engine::{Instant, PeerConfig, PeerKind};
use resources::{Node, Reflectors, node::NodeBgp};

use super::{Cluster, election::Candidate};

impl Cluster {
    /// Looks at who reflects. To be called before [`Cluster::topology`], after every change and at
    /// [`Cluster::deadline`].
    pub(crate) fn review(&mut self, now: Instant) {
        let terms = self.reflectors();
        let candidates = terms.as_ref().map(|terms| self.candidates(&terms.failure_domain_label)).unwrap_or_default();
        let elected = self.election.review(now, terms.as_ref(), candidates);
        if elected != self.elected {
            match &elected {
                Some(it) => tracing::info!(reflectors = ?it.reflectors, mesh = it.meshed, "reflectors are elected"),
                None => tracing::info!("no reflectors any more"),
            }
            self.elected = elected;
        }
        // A change that ends reflectors is one that takes time.
        self.linger = terms.map(|terms| terms.linger.0).or(self.linger);
    }

    /// When to look again though nothing changes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.election.deadline(&self.reflectors()?)
    }

    /// Whether a session with this node that is not wanted any more may have to wait for others: the node is still there,
    /// and there are, or will be, other sessions inside the cluster. What is kept down, for want of a password or a filter,
    /// ends at once.
    pub(crate) fn may_retire(&self, name: &str, mut wanted: impl Iterator<Item = PeerKind>) -> bool {
        let meshed = self.default_configuration().is_none_or(|it| it.spec.node_to_node_mesh_enabled());
        let down = self.kept_down().next().is_some();
        !down && self.nodes.contains_key(name) && (meshed || wanted.any(PeerKind::is_cluster))
    }

    fn reflectors(&self) -> Option<Reflectors> {
        let configuration = self.default_configuration()?;
        configuration.reflectors().filter(|_| configuration.spec.node_to_node_mesh_enabled())
    }

    fn candidates(&self, label: &str) -> Vec<Candidate> {
        let nodes = self.nodes.iter().map(|(name, node)| (name, node, node.bgp()));
        let nodes: Vec<_> = nodes.filter(|(.., bgp)| has_address(bgp) && self.is_elective(bgp)).collect();
        let v4 = nodes.iter().any(|(.., bgp)| bgp.ipv4.is_some());
        let v6 = nodes.iter().any(|(.., bgp)| bgp.ipv6.is_some());
        let candidate = |(name, node, bgp): (&String, &Node, NodeBgp)| Candidate {
            name: name.clone(),
            ready: node.ready() != Some(false),
            reachable: (bgp.ipv4.is_some() || !v4) && (bgp.ipv6.is_some() || !v6),
            domain: node.metadata.labels.get(label).cloned().unwrap_or_default(),
        };
        nodes.into_iter().map(candidate).collect()
    }

    /// Reflection works inside one AS, and who reflects by hand has left the mesh.
    fn is_elective(&self, node: &NodeBgp) -> bool {
        node.route_reflector_cluster_id.is_none() && self.as_number(node) == self.as_number(&NodeBgp::default())
    }

    /// What a node of the mesh is to this one; `None`: nothing.
    pub(super) fn mesh_role(&self, own: &NodeBgp, name: &str, other: &NodeBgp) -> Option<PeerKind> {
        match &self.elected {
            Some(elected) if self.is_elective(own) && self.is_elective(other) => elected.role(&self.node_name, name),
            _ => Some(PeerKind::Mesh),
        }
    }
}

fn has_address(node: &NodeBgp) -> bool {
    node.ipv4.is_some() || node.ipv6.is_some()
}

/// The same peer in another part.
pub(super) fn recast(peer: PeerConfig, kind: PeerKind) -> PeerConfig {
    let other = PeerConfig::new(peer.name, peer.address, peer.remote_as, kind);
    PeerConfig { port: peer.port, local_address: peer.local_address, ..other }
}
