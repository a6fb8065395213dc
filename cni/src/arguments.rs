//! What the runtime says in environment variables.

use std::collections::BTreeMap;

use crate::error::Error;

/// Longest name of a Linux interface, in octets.
const INTERFACE_NAME_LIMIT: usize = 15;

/// A verb of the CNI specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Del,
    Check,
    Status,
    Gc,
    Version,
}

impl Verb {
    /// Of `CNI_COMMAND`.
    pub(crate) fn parse(value: &str) -> Result<Self, Error> {
        match value {
            "ADD" => Ok(Self::Add),
            "DEL" => Ok(Self::Del),
            "CHECK" => Ok(Self::Check),
            "STATUS" => Ok(Self::Status),
            "GC" => Ok(Self::Gc),
            "VERSION" => Ok(Self::Version),
            _ => Err(Error::Command { value: value.to_owned() }),
        }
    }

    /// As the runtime spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        }
    }
}

/// Which container and interface a verb is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) container_id: String,
    pub(crate) netns: String,
    pub(crate) if_name: String,
    pub(crate) args: BTreeMap<String, String>,
}

impl Arguments {
    /// Reads and checks `CNI_CONTAINERID`, `CNI_NETNS`, `CNI_IFNAME` and `CNI_ARGS`.
    pub(crate) fn read(verb: Verb, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let needed = |name| {
            let value = variable(name).filter(|value| !value.is_empty());
            value.ok_or(Error::VariableMissing { name, verb: verb.name() })
        };
        let container_id = needed("CNI_CONTAINERID")?;
        if !is_identifier(&container_id) {
            return Err(Error::Variable {
                name: "CNI_CONTAINERID",
                value: container_id,
                allowed: "letters, digits, '_', '.' and '-', and begin with a letter or digit",
            });
        }
        let if_name = needed("CNI_IFNAME")?;
        if !is_interface_name(&if_name) {
            return Err(Error::Variable {
                name: "CNI_IFNAME",
                value: if_name,
                allowed: "an interface name: 1 to 15 octets without '/', ':' and blanks, not '.' or '..'",
            });
        }
        // A DEL must work after the namespace is gone.
        let netns = match verb {
            Verb::Del => variable("CNI_NETNS").unwrap_or_default(),
            _ => needed("CNI_NETNS")?,
        };
        let args = split_args(&variable("CNI_ARGS").unwrap_or_default())?;
        Ok(Self { container_id, netns, if_name, args })
    }
}

/// Whether a text is an identifier as the specification wants container ids and network names.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_interface_name(text: &str) -> bool {
    (1..=INTERFACE_NAME_LIMIT).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
}

/// Splits `KEY=value;KEY=value`.
fn split_args(text: &str) -> Result<BTreeMap<String, String>, Error> {
    let pairs = text.split(';').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Error::Variable {
                name: "CNI_ARGS",
                value: text.to_owned(),
                allowed: "pairs KEY=value separated by ';'",
            }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(verb: Verb, variables: &[(&str, &str)]) -> Result<Arguments, Error> {
        Arguments::read(verb, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const FULL: [(&str, &str); 4] = [
        ("CNI_CONTAINERID", "c0ffee"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"),
    ];

    #[test]
    fn arguments_are_read_from_the_environment() {
        let arguments = read(Verb::Add, &FULL).unwrap();
        assert_eq!(arguments.container_id, "c0ffee");
        assert_eq!(arguments.args["K8S_POD_NAME"], "web");
    }

    #[test]
    fn add_needs_a_namespace_and_del_does_not() {
        let without = [("CNI_CONTAINERID", "c0ffee"), ("CNI_IFNAME", "eth0")];
        assert!(matches!(read(Verb::Add, &without), Err(Error::VariableMissing { name: "CNI_NETNS", .. })));
        assert_eq!(read(Verb::Del, &without).unwrap().netns, "");
    }

    #[test]
    fn a_container_id_that_could_be_a_path_is_refused() {
        for id in ["../x", "a/b", "-a", "a b"] {
            let error = read(Verb::Del, &[("CNI_CONTAINERID", id), ("CNI_IFNAME", "eth0")]).unwrap_err();
            assert_eq!(error.code(false), 4, "{id}");
        }
    }

    #[test]
    fn an_impossible_interface_name_is_refused() {
        for name in [".", "..", "a/b", "a:b", "a b", "sixteen-octets-x"] {
            let error = read(Verb::Del, &[("CNI_CONTAINERID", "c"), ("CNI_IFNAME", name)]).unwrap_err();
            assert_eq!(error.code(false), 4, "{name}");
        }
    }

    #[test]
    fn args_without_a_value_are_refused() {
        assert!(split_args("IP").is_err());
        assert!(split_args("=x").is_err());
        assert!(split_args("").unwrap().is_empty());
        assert_eq!(split_args("A=b=c;").unwrap()["A"], "b=c");
    }

    #[test]
    fn an_unknown_verb_is_refused_with_the_allowed_ones() {
        assert!(Verb::parse("add").unwrap_err().to_string().contains("ADD, DEL"));
    }
}
