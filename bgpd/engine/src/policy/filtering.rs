//! Import filters at work.

use crate::filter::{FilterAction, RuleId, Rules, Subject, first_match};
use crate::prefix::Prefix;
use crate::reason::Refusal;
use crate::rib::{Attributes, Interner};
use crate::wire::PathAttributes;

/// One set of received attributes on its way through the import filter of a peer.
pub(crate) struct Filtering {
    rules: Rules,
    internal: bool,
    /// As they are without the filter.
    received: Attributes,
    /// The received attributes with LOCAL_PREF in force.
    value: PathAttributes,
    local_pref: u32,
    /// What the rule that matched last made of them.
    last: Option<(RuleId, Attributes, u32)>,
}

impl Filtering {
    /// `local_pref` is that in force before the filter. `None` if no rule could say anything.
    pub(crate) fn new(
        rules: &Rules,
        internal: bool,
        received: &Attributes,
        value: &PathAttributes,
        local_pref: u32,
    ) -> Option<Self> {
        let value = || PathAttributes { local_pref: Some(local_pref), ..value.clone() };
        (!rules.is_empty()).then(|| Self {
            rules: rules.clone(),
            internal,
            received: received.clone(),
            value: value(),
            local_pref,
            last: None,
        })
    }

    /// Attributes and LOCAL_PREF after the filter, or the rule that rejects.
    pub(crate) fn judge(&mut self, prefix: Prefix, interner: &mut Interner) -> Result<(Attributes, u32), Refusal> {
        let Self { rules, internal, received, value, local_pref, last } = self;
        let subject = Subject { prefix, attributes: value, learned: true, internal: *internal };
        let Some((id, rule)) = first_match(rules, &subject) else { return Ok((received.clone(), *local_pref)) };
        if rule.action == FilterAction::Reject {
            return Err(Refusal::Filter(id));
        }
        if rule.changes_nothing() {
            return Ok((received.clone(), *local_pref));
        }
        let made = match last.take() {
            Some(made) if made.0 == id => made,
            _ => {
                let mut changed = value.clone();
                rule.apply(&mut changed);
                let local_pref = changed.local_pref.unwrap_or(*local_pref);
                // A path keeps LOCAL_PREF apart from its attributes.
                changed.local_pref = received.summary().local_pref;
                (id, interner.intern_changed(&changed, received.received()), local_pref)
            }
        };
        let (_, attributes, local_pref) = last.insert(made);
        Ok((attributes.clone(), *local_pref))
    }
}
