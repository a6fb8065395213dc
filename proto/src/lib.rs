//! The gRPC contract of tortie: what the CNI plugin asks felix, what felix tells bgpd, and what both tell people.
//!
//! Every message serialises to JSON as the commands print it: camelCase names, empty lists as `[]`, times in RFC 3339.

mod timestamp;

pub use timestamp::Timestamp;

/// The CNI plugin's calls to felix.
pub mod cni {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::disallowed_methods,
        clippy::too_many_lines,
        clippy::allow_attributes_without_reason,
        reason = "generated"
    )]
    tonic::include_proto!("tortie.cni.v1");
}

/// bgpd's status, and the origin of prefixes.
pub mod bgp {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::disallowed_methods,
        clippy::too_many_lines,
        clippy::allow_attributes_without_reason,
        reason = "generated"
    )]
    tonic::include_proto!("tortie.bgp.v1");
}

/// felix's status.
pub mod felix {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::disallowed_methods,
        clippy::too_many_lines,
        clippy::allow_attributes_without_reason,
        reason = "generated"
    )]
    tonic::include_proto!("tortie.felix.v1");
}

/// The encoded `FileDescriptorSet` of all services, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
