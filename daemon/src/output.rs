//! How commands print: aligned tables for people, JSON for programs, both from the same reply.

use std::fmt::Write as _;

use serde::Serialize;

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One indented JSON document.
    Json,
    /// One JSON document without line breaks.
    Jsonl,
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "jsonl" => Ok(Self::Jsonl),
            _ => Err(UnknownFormat { text: text.to_owned() }),
        }
    }
}

/// A format that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no output format; allowed: table, json, jsonl")]
pub struct UnknownFormat {
    text: String,
}

/// Prints a reply: `table` makes the text for people.
///
/// # Errors
/// When the reply cannot be written as JSON.
pub fn print<T: Serialize>(
    format: Format,
    reply: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), serde_json::Error> {
    match format {
        Format::Table => print!("{}", table(reply)),
        Format::Json => println!("{}", serde_json::to_string_pretty(reply)?),
        Format::Jsonl => println!("{}", serde_json::to_string(reply)?),
    }
    Ok(())
}

/// Columns with upper-case heads, two spaces between, no boxes, nothing cut. Cells that look like numbers or `-` are set
/// flush right if their whole column is.
#[must_use]
pub fn columns(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(heads.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if !rows.is_empty() && rows.iter().all(|row| row.get(index).is_some_and(|cell| is_number(cell))) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn is_number(cell: &str) -> bool {
    cell == "-" || (!cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_are_flush_right() {
        let rows =
            vec![vec!["tor-1".into(), "3".into(), "up".into()], vec!["node-b".into(), "12".into(), String::new()]];
        assert_eq!(columns(&["PEER", "RCVD", "NOTE"], &rows), "PEER    RCVD  NOTE\ntor-1      3  up\nnode-b    12\n");
    }
}
