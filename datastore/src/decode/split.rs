//! A file into its documents.

use super::{Document, Format};

/// The documents that have content. In YAML, a line that begins with `---` begins a document and one that is `...` ends
/// it, whatever they are in (YAML 1.2 §9.1.2).
pub(super) fn documents(text: &str, format: Format) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parts = match format {
        Format::Yaml => yaml(text),
        Format::Json => json(text),
    };
    let numbered = parts.into_iter().enumerate();
    numbered.map(|(index, (line, text))| Document { index, text, line, format }).collect()
}

/// The line before which a part begins, and the part.
fn yaml(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let mark = line.trim_end();
        let begins = mark == "---" || mark.starts_with("--- ") || mark.starts_with("---\t");
        let ends = mark == "..." || mark.starts_with("... ");
        if begins || ends {
            parts.push((start_line, text.get(start..offset).unwrap_or_default()));
            (start, start_line) = if ends { (offset + line.len(), number + 1) } else { (offset, number) };
        }
        offset += line.len();
    }
    parts.push((start_line, text.get(start..).unwrap_or_default()));
    parts.retain(|(_, part)| part.lines().any(has_content));
    parts
}

fn has_content(line: &str) -> bool {
    let line = line.strip_prefix("---").unwrap_or(line).trim();
    !line.is_empty() && !line.starts_with('#') && !line.starts_with('%')
}

/// Whole values one after the other; what does not parse is the last part.
fn json(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    while let Some(value) = values.next() {
        let end = if value.is_ok() { values.byte_offset() } else { text.len() };
        let part = text.get(start..end).unwrap_or_default();
        let blank = part.len() - part.trim_start().len();
        let line = text.get(..start + blank).unwrap_or_default().matches('\n').count();
        parts.push((line, part.trim_start()));
        start = end;
        if value.is_err() {
            break;
        }
    }
    parts
}
