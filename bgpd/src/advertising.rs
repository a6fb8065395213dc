//! What goes with prefixes of our own: communities and the metric that LOCAL_PREF carries.

use std::collections::BTreeSet;

use engine::{AnyCommunity, OriginAttributes, PerFamily, Prefix};

/// Metric of routes unless configured: Calico's normal route priority.
pub(crate) const NORMAL_METRIC: u32 = 1024;

/// How prefixes of our own are announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertising {
    /// Metric of the routes of each family.
    pub(crate) metric: PerFamily<u32>,
    /// Communities of everything within a prefix; of several prefixes, all.
    pub(crate) communities: Vec<(Prefix, Vec<AnyCommunity>)>,
}

impl Default for Advertising {
    fn default() -> Self {
        Self { metric: PerFamily::new(NORMAL_METRIC, NORMAL_METRIC), communities: Vec::new() }
    }
}

impl Advertising {
    /// What goes with a prefix. `cause` is why it is announced.
    pub(crate) fn attributes(&self, prefix: Prefix, cause: &str) -> OriginAttributes {
        let within = self.communities.iter().filter(|(range, _)| range.covers(prefix));
        let (mut communities, mut large_communities) = (BTreeSet::new(), BTreeSet::new());
        for community in within.flat_map(|(_, communities)| communities) {
            match community {
                AnyCommunity::Standard(community) => drop(communities.insert(*community)),
                AnyCommunity::Large(community) => drop(large_communities.insert(*community)),
            }
        }
        OriginAttributes {
            metric: self.metric[prefix.family()],
            communities: communities.into_iter().collect(),
            large_communities: large_communities.into_iter().collect(),
            ..OriginAttributes::new(cause)
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::wire::{Community, LargeCommunity};

    use super::*;

    #[test]
    fn a_prefix_has_the_communities_of_every_range_it_is_in_once_each() {
        let (one, two) = (AnyCommunity::Standard(Community::new(1, 1)), AnyCommunity::Standard(Community::new(2, 2)));
        let large = LargeCommunity { global: 3, local1: 3, local2: 3 };
        let advertising = Advertising {
            metric: PerFamily::new(512, NORMAL_METRIC),
            communities: [
                ("10.65.0.0/16", vec![two, one]),
                ("10.65.1.0/24", vec![one, AnyCommunity::Large(large)]),
                ("10.66.0.0/16", vec![two]),
            ]
            .map(|(range, communities)| (range.parse().unwrap(), communities))
            .to_vec(),
        };
        let attributes = advertising.attributes("10.65.1.0/26".parse().unwrap(), "why");
        assert_eq!(attributes.communities, [Community::new(1, 1), Community::new(2, 2)]);
        assert_eq!(attributes.large_communities, [large]);
        assert_eq!((attributes.metric, attributes.cause.as_str()), (512, "why"));
        let outside = advertising.attributes("fd65::/122".parse().unwrap(), "why");
        assert_eq!(outside, OriginAttributes::new("why"));
    }
}
