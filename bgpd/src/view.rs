//! What a question about the speaker may look at.

use engine::{Instant, Speaker};

use crate::clock::Clock;

/// The loop's state, for as long as it answers a question.
pub(crate) struct View<'a> {
    /// Name of the node or router.
    pub(crate) name: &'a str,
    /// The speaker, once there is one.
    pub(crate) speaker: Option<&'a Speaker>,
    /// Why there is none.
    pub(crate) waiting_for: &'a str,
    /// When its configuration changed last.
    pub(crate) configured: Instant,
    /// Ties its times to the machine's.
    pub(crate) clock: Clock,
    /// What is wrong with the configuration in force.
    pub(crate) conditions: &'a [String],
}
