//! Whole speakers against each other on a fake wire.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its expectations do not hold"
)]

mod add_path;
mod as_paths;
mod bfd;
mod drain;
mod filters;
mod long_lived;
mod net;
mod properties;
mod restart;
mod roles;
mod routes;
mod sessions;
mod transition;

use engine::{PeerConfig, PeerKind, RemoteAs, SpeakerConfig};
use net::{Net, NodeId};

/// Static peers that accept and send everything, as in a lab.
fn open_peer(name: &str, address: &str, as_number: u32) -> PeerConfig {
    let mut config = PeerConfig::new(name, address.parse().unwrap(), RemoteAs::Exactly(as_number), PeerKind::Static);
    config.import = engine::ImportPolicy::Accept;
    config.export = engine::ExportPolicy::Accept;
    config
}

fn speaker(as_number: u32, number: u8) -> SpeakerConfig {
    SpeakerConfig::new(as_number, [10, 0, 0, number].into())
}

fn address(number: u8) -> String {
    format!("192.0.2.{number}")
}

/// Nodes 1 to n with the given AS numbers, each a static peer of each other, named `n1`, `n2`, ….
fn full_mesh(net: &mut Net, as_numbers: &[u32]) -> Vec<NodeId> {
    let numbers: Vec<u8> = (1..).take(as_numbers.len()).collect();
    let nodes: Vec<NodeId> = numbers
        .iter()
        .zip(as_numbers)
        .map(|(number, as_number)| net.add(&address(*number), speaker(*as_number, *number)))
        .collect();
    for (node, own) in nodes.iter().zip(&numbers) {
        for (number, as_number) in numbers.iter().zip(as_numbers) {
            if number != own {
                net.set_peer(*node, open_peer(&format!("n{number}"), &address(*number), *as_number));
            }
        }
    }
    nodes
}
