//! Generations: under which rules an open connection was let through.
//!
//! A connection carries the generation in its mark (bits 0x7fff0000). When a change takes a permission away, the
//! generation rises with it, and every connection is judged once more.

use nft::{Comparand, Field, Match, Ruleset, Statement};

/// The cut bit and the generation in a connection's mark.
pub(crate) const MARK_MASK: u32 = 0xffff_0000;
/// The bits of a connection's mark that belong to others.
pub(crate) const MARK_OTHERS: u32 = !MARK_MASK;
/// A connection that is no longer allowed.
pub(crate) const CUT: u32 = 0x8000_0000;
/// The comment of the rule that names the generation, while it should have risen and is held.
pub(crate) const GENERATION_DUE: &str = "a permission was taken away: the next generation is due";
const LAST: u16 = 0x7fff;
const SHIFT: u32 = 16;

/// The generation after this one. 15 bits; 0 is left out, it means never judged.
#[must_use]
pub const fn next_generation(generation: u16) -> u16 {
    if generation >= LAST { 1 } else { generation + 1 }
}

/// The generation that a ruleset writes into connections, as far as it has one.
#[must_use]
pub fn generation_of(ruleset: &Ruleset) -> Option<u16> {
    let statements = ruleset.chains.get("forward")?.rules.first()?.statements();
    statements.iter().find_map(|statement| match statement {
        Statement::Match(Match { key, with: Comparand::Masked { mask: MARK_MASK, value }, .. })
            if *key == Field::CtMark.into() =>
        {
            u16::try_from(*value >> SHIFT).ok()
        }
        _ => None,
    })
}

/// Whether the generation of a ruleset should have risen and was held.
pub(crate) fn is_due(ruleset: &Ruleset) -> bool {
    let first = ruleset.chains.get("forward").and_then(|chain| chain.rules.first());
    first.and_then(nft::Rule::comment) == Some(GENERATION_DUE)
}

/// The bits of a generation in a connection's mark.
pub(crate) const fn mark(generation: u16) -> u32 {
    (generation as u32) << SHIFT
}

/// A generation that may be used: 1 to 32767.
pub(crate) const fn usable(generation: u16) -> u16 {
    match generation & LAST {
        0 => 1,
        generation => generation,
    }
}
