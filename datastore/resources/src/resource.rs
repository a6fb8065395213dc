//! Any object of any kind.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    BgpConfiguration, BgpFilter, BgpPeer, BlockAffinity, CalicoNodeStatus, EndpointSlice, FelixConfiguration, Invalid,
    IpPool, IpReservation, IpamBlock, IpamConfiguration, IpamHandle, Key, Kind, Namespace, NetworkPolicy, Node,
    ObjectMeta, Pod, Secret, Service, Unsupported,
};

/// A kind's type.
pub trait Object: Into<Resource> + Clone {
    /// The kind.
    const KIND: Kind;

    /// The object, if `resource` is of this kind.
    fn from_resource(resource: Resource) -> Option<Self>;

    /// Borrows the object, if `resource` is of this kind.
    fn of(resource: &Resource) -> Option<&Self>;
}

macro_rules! resource {
    ($($kind:ident,)*) => {
        /// An object of any kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Resource {
            $(
                #[doc = concat!("A ", stringify!($kind), ".")]
                $kind(Box<$kind>),
            )*
        }

        impl Resource {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }

            /// Its metadata.
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$kind(object) => &object.metadata,)* }
            }

            /// Its metadata, to change.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Self::$kind(object) => &mut object.metadata,)* }
            }

            /// Reads an object of a known kind; `apiVersion` and `kind` in the input are not looked at.
            ///
            /// # Errors
            /// When the input does not have the kind's form.
            pub fn deserialize<'de, D: Deserializer<'de>>(kind: Kind, deserializer: D) -> Result<Self, D::Error> {
                match kind {
                    $(Kind::$kind => <$kind>::deserialize(deserializer).map(Self::from),)*
                }
            }

            fn body(&self) -> Result<Value, serde_json::Error> {
                match self { $(Self::$kind(object) => serde_json::to_value(object),)* }
            }
        }

        $(
            impl From<$kind> for Resource {
                fn from(object: $kind) -> Self {
                    Self::$kind(Box::new(object))
                }
            }

            impl Object for $kind {
                const KIND: Kind = Kind::$kind;

                fn from_resource(resource: Resource) -> Option<Self> {
                    match resource {
                        Resource::$kind(object) => Some(*object),
                        _ => None,
                    }
                }

                fn of(resource: &Resource) -> Option<&Self> {
                    match resource {
                        Resource::$kind(object) => Some(object),
                        _ => None,
                    }
                }
            }
        )*
    };
}

resource! {
    Node, Namespace, Pod, Service, EndpointSlice, NetworkPolicy, Secret, IpPool, IpReservation, IpamConfiguration,
    BlockAffinity, IpamBlock, IpamHandle, BgpConfiguration, BgpPeer, BgpFilter, CalicoNodeStatus, FelixConfiguration,
}

impl Resource {
    /// What names it.
    pub fn key(&self) -> Key {
        let metadata = self.metadata();
        Key { kind: self.kind(), namespace: metadata.namespace.clone(), name: metadata.name.clone() }
    }

    /// Brings the metadata into the form in which objects are compared: `default` as namespace where a namespaced object
    /// names none, none where a cluster-wide object names one, and the labels and annotations that Calico's older group
    /// keeps in an annotation in their place.
    pub fn normalize(&mut self) {
        self.metadata_mut().unwrap_calico();
        let namespaced = self.kind().is_namespaced();
        let namespace = &mut self.metadata_mut().namespace;
        if !namespaced {
            *namespace = None;
        } else if namespace.as_deref().is_none_or(str::is_empty) {
            *namespace = Some("default".to_owned());
        }
    }

    /// Checks everything that the type alone does not.
    ///
    /// # Errors
    /// Every field that holds what it must not hold.
    pub fn validate(&self) -> Result<(), Vec<Invalid>> {
        let mut out = Vec::new();
        self.metadata().validate(&mut out);
        match self {
            Self::Node(object) => object.validate(&mut out),
            Self::NetworkPolicy(object) => object.spec.validate(&mut out),
            Self::IpPool(object) => object.spec.validate(&mut out),
            Self::IpReservation(object) => object.spec.validate(&mut out),
            Self::IpamConfiguration(object) => object.spec.validate(&mut out),
            Self::IpamBlock(object) => object.spec.validate(&mut out),
            Self::BgpConfiguration(object) => {
                object.spec.validate(&mut out);
                object.validate_annotations(&mut out);
                object.validate_reflectors(&mut out);
            }
            Self::BgpPeer(object) => {
                object.spec.validate(&mut out);
                object.validate_annotations(&mut out);
            }
            Self::BgpFilter(object) => object.spec.validate(&mut out),
            Self::CalicoNodeStatus(object) => object.spec.validate(&mut out),
            Self::FelixConfiguration(object) => object.spec.validate(&mut out),
            Self::Namespace(_)
            | Self::Pod(_)
            | Self::Service(_)
            | Self::EndpointSlice(_)
            | Self::Secret(_)
            | Self::BlockAffinity(_)
            | Self::IpamHandle(_) => {}
        }
        if out.is_empty() { Ok(()) } else { Err(out) }
    }

    /// The fields that are well formed and set, but that tortie does not act upon.
    pub fn unsupported(&self) -> Vec<Unsupported> {
        let mut out = Vec::new();
        match self {
            Self::IpPool(object) => object.spec.unsupported(&mut out),
            Self::IpamConfiguration(object) => object.spec.unsupported(&mut out),
            Self::BgpConfiguration(object) => object.spec.unsupported(&mut out),
            Self::BgpPeer(object) => object.spec.unsupported(&mut out),
            Self::BgpFilter(object) => out.extend(object.spec.unsupported()),
            Self::FelixConfiguration(object) => object.spec.unsupported(&mut out),
            _ => {}
        }
        out
    }

    /// The manifest, with `apiVersion` and `kind`.
    ///
    /// # Errors
    /// Never for an object that can be decoded again; the signature is serde_json's.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        let mut value = self.body()?;
        if let Value::Object(fields) = &mut value {
            fields.insert("apiVersion".to_owned(), self.kind().api_version().into());
            fields.insert("kind".to_owned(), self.kind().name().into());
        }
        Ok(value)
    }
}

impl Serialize for Resource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}
