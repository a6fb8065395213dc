//! The graph: everything known, and what follows from it.

use std::sync::Arc;

use crate::{Config, Desired, Update};

/// Computes what this node should be. Synchronous, one owner.
#[derive(Debug)]
pub struct CalcGraph {
    config: Config,
    current: Option<Arc<Desired>>,
}

impl CalcGraph {
    /// A graph that knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, current: None }
    }

    /// Takes a piece of news. Cheap: what follows from it is computed by [`CalcGraph::flush`].
    pub fn on_update(&mut self, update: Update) {
        let _ = update;
    }

    /// Computes what follows from the news; `None` when nothing does, or before [`Update::InSync`].
    pub fn flush(&mut self) -> Option<Arc<Desired>> {
        let _ = &self.config;
        None
    }

    /// What the last flush that changed anything said.
    #[must_use]
    pub fn current(&self) -> Option<&Arc<Desired>> {
        self.current.as_ref()
    }
}
