//! What may come in and what goes out. Built-in rules only; each refusal has a word.

mod export;
mod guards;
mod import;

pub(crate) use export::{OutNextHop, Recipient, calico_local_pref, export};
pub(crate) use guards::CompiledGuards;
pub(crate) use import::{Importer, admit};
