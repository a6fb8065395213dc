//! What Calico calls the objects of its allocator.

use std::fmt::Write;

use ipnetwork::IpNetwork;
use sha2::{Digest, Sha256};

/// Longest name of a Kubernetes object, in octets.
const NAME_LIMIT: usize = 253;
/// Hexadecimal digits of the digest that keeps a shortened name unique.
const DIGEST_DIGITS: usize = 11;

/// Name of the `IPAMBlock` of a block: `10.65.0.0/26` is `10-65-0-0-26`.
#[must_use]
pub fn block_name(cidr: &IpNetwork) -> String {
    cidr.to_string().replace(['.', ':', '/'], "-")
}

/// Name of the `BlockAffinity` between a node and a block: `<node>-10-65-0-0-26`. A name that would be too long is cut in
/// the node's part and ends in a digest.
#[must_use]
pub fn affinity_name(node: &str, cidr: &IpNetwork) -> String {
    let block = block_name(cidr);
    let name = format!("{node}-{block}");
    if name.len() < NAME_LIMIT {
        return name;
    }
    let mut keep = (NAME_LIMIT - 1).saturating_sub(block.len() + DIGEST_DIGITS + 2).min(node.len());
    while !node.is_char_boundary(keep) {
        keep -= 1;
    }
    format!("{}-{block}-{}", node.get(..keep).unwrap_or_default(), digest(&format!("{node}+{block}")))
}

/// Identifier of the handle that holds the addresses of a container: `k8s-pod-network.<container>`.
#[must_use]
pub fn handle_id(network: &str, container_id: &str) -> String {
    format!("{network}.{container_id}")
}

/// Name of the `IPAMHandle` of a handle: its identifier in lower case. Where that is no name of an object (runtimes may use
/// `_`), every such character becomes `-` and a digest keeps the name unique.
#[must_use]
pub fn handle_name(handle_id: &str) -> String {
    let name = handle_id.to_lowercase();
    if is_object_name(&name) {
        return name;
    }
    let replaced = name.replace(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-'), "-");
    let parts: Vec<&str> =
        replaced.split('.').map(|part| part.trim_matches('-')).filter(|part| !part.is_empty()).collect();
    let mut readable = parts.join(".");
    readable.truncate(NAME_LIMIT - 1 - DIGEST_DIGITS);
    format!("{}-{}", readable.trim_end_matches(['-', '.']), digest(handle_id)).trim_start_matches('-').to_owned()
}

/// RFC 1123 subdomain, as Kubernetes reads it.
fn is_object_name(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= NAME_LIMIT
        && text.split('.').all(|part| {
            part.starts_with(alphanumeric)
                && part.ends_with(alphanumeric)
                && part.chars().all(|c| alphanumeric(c) || c == '-')
        })
}

fn digest(text: &str) -> String {
    let mut hex = Sha256::digest(text).iter().fold(String::new(), |mut hex, octet| {
        let _infallible = write!(hex, "{octet:02x}");
        hex
    });
    hex.truncate(DIGEST_DIGITS);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_named_after_its_cidr_with_dashes() {
        assert_eq!(block_name(&"10.65.0.0/26".parse().unwrap()), "10-65-0-0-26");
        assert_eq!(block_name(&"fd80:24e2:f998:72d6::40/122".parse().unwrap()), "fd80-24e2-f998-72d6--40-122");
    }

    #[test]
    fn an_affinity_is_named_after_node_and_block() {
        assert_eq!(affinity_name("node-a", &"10.65.0.64/26".parse().unwrap()), "node-a-10-65-0-64-26");
    }

    #[test]
    fn a_long_affinity_name_is_cut_to_fit_and_stays_unique() {
        let cidr = "10.65.0.64/26".parse().unwrap();
        let [one, two] = ["a", "b"].map(|last| affinity_name(&format!("{}{last}", "n".repeat(250)), &cidr));
        assert!(one.len() < NAME_LIMIT && one.contains("-10-65-0-64-26-"), "{one}");
        assert_ne!(one, two);
    }

    #[test]
    fn a_handle_is_named_in_lower_case() {
        assert_eq!(handle_name(&handle_id("k8s-pod-network", "ABC9")), "k8s-pod-network.abc9");
    }

    #[test]
    fn a_handle_that_is_no_name_of_an_object_gets_one_of_its_own() {
        let [one, two] = ["net_1.a_b", "net_1.a-b"].map(handle_name);
        assert_ne!(one, two);
        for name in [one, two, handle_name("_"), handle_name(&"x".repeat(300))] {
            assert!(is_object_name(&name), "{name}");
        }
    }
}
