//! Names that an attachment gets.

use proto::cni::Attachment;
use sha1::{Digest, Sha1};

const PREFIX: &str = "cali";
const HASH_LENGTH: usize = 11;
/// The interface that Kubernetes' pods have; any other is an additional one.
const FIRST_INTERFACE: &str = "eth0";

/// Kubernetes namespace and pod name; for a container that is no pod: `default` and the container's id.
pub(super) fn pod_of(attachment: &Attachment) -> (String, String) {
    let argument = |name: &str| attachment.args.get(name).filter(|value| !value.is_empty()).cloned();
    let namespace = argument("K8S_POD_NAMESPACE").unwrap_or_else(|| "default".to_owned());
    (namespace, argument("K8S_POD_NAME").unwrap_or_else(|| attachment.container_id.clone()))
}

/// The host interface's name: `cali` and the first 11 hexadecimal digits of the SHA-1 of `NAMESPACE.POD`, which is what
/// Calico gives the pod too. An additional interface of a pod hashes its own name in.
pub(super) fn interface_of(namespace: &str, pod: &str, if_name: &str) -> String {
    let key =
        if if_name == FIRST_INTERFACE { format!("{namespace}.{pod}") } else { format!("{namespace}.{pod}.{if_name}") };
    let digits: String = Sha1::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{}", digits.get(..HASH_LENGTH).unwrap_or(&digits))
}

/// The handle that holds an attachment's addresses: Calico's `NETWORK.CONTAINER`, with the interface's name behind it for
/// an additional interface.
pub(crate) fn handle_id(network: &str, container_id: &str, if_name: &str) -> String {
    let handle = ipam::handle_id(network, container_id);
    if if_name == FIRST_INTERFACE { handle } else { format!("{handle}.{if_name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_gets_the_interface_name_that_calico_gives_it() {
        // sha1("default.web") = 5bf6…; checked with sha1sum.
        let digest: String = Sha1::digest("default.web").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(interface_of("default", "web", "eth0"), format!("cali{}", &digest[..11]));
        assert_eq!(interface_of("default", "web", "eth0").len(), 15);
    }

    #[test]
    fn an_additional_interface_has_a_name_of_its_own() {
        assert_ne!(interface_of("default", "web", "net1"), interface_of("default", "web", "eth0"));
    }

    #[test]
    fn a_container_that_is_no_pod_is_named_by_its_id() {
        let attachment = Attachment { container_id: "c1".to_owned(), ..Attachment::default() };
        assert_eq!(pod_of(&attachment), ("default".to_owned(), "c1".to_owned()));
    }
}
