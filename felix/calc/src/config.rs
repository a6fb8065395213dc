//! What the graph is told once.

/// Settings that do not change while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The node this is.
    pub node_name: String,
    /// The first generation to use; see [`crate::next_generation`]. 0 counts as 1.
    pub generation: u16,
    /// How the names of pods' interfaces begin.
    pub interface_prefix: String,
    /// What becomes of connections that a change of policy no longer allows.
    pub open_connections: OpenConnections,
}

impl Config {
    /// The settings of a node with every default: interfaces `cali…`, open connections cut, generation 1.
    #[must_use]
    pub fn new(node_name: impl Into<String>) -> Self {
        Self {
            node_name: node_name.into(),
            generation: 1,
            interface_prefix: "cali".to_owned(),
            open_connections: OpenConnections::default(),
        }
    }
}

/// What becomes of connections that a change of policy no longer allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum OpenConnections {
    /// They are cut: each is judged again after a change that takes a permission away.
    #[default]
    Cut,
    /// They live on, as with Calico.
    Keep,
}
