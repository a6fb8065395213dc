//! What may come in and what goes out. Each refusal has a word.

mod export;
mod filtering;
mod guards;
mod import;
pub(crate) mod leak;

pub(crate) use export::{LongLivedStale, OutNextHop, Recipient, export};
pub(crate) use filtering::Filtering;
pub(crate) use guards::CompiledGuards;
pub(crate) use import::{Importer, admit};
