//! `felix check`: what a file would do, before it is put into the folder. Asks nobody.

use std::{
    fs,
    path::{Path, PathBuf},
};

use daemon::exit::Exit;
use datastore::{
    Origin, Refusal,
    decode::{Decoded, Format, decode},
};

/// Judges files: one line for everything that is wrong or would not be acted upon.
pub(crate) fn check(files: &[PathBuf]) -> Exit {
    let mut exit = Exit::Good;
    for path in files {
        match fs::read_to_string(path) {
            Ok(text) => {
                let decoded = decode(&text, format(path));
                if !decoded.problems.is_empty() {
                    exit = Exit::Bad;
                }
                for line in report(path, decoded) {
                    println!("{line}");
                }
            }
            Err(error) => {
                exit = Exit::NoSuchObject;
                eprintln!("felix: {}: {error}", path.display());
            }
        }
    }
    exit
}

fn format(path: &Path) -> Format {
    if path.extension().is_some_and(|extension| extension == "json") { Format::Json } else { Format::Yaml }
}

fn report(path: &Path, decoded: Decoded) -> Vec<String> {
    let problems = decoded.problems.into_iter().map(|problem| {
        let refusal = Refusal {
            origin: Origin::File(path.to_owned()),
            document: problem.document,
            key: problem.key,
            position: problem.position,
            reason: problem.reason,
            last_version_in_force: false,
        };
        format!("invalid      {refusal}")
    });
    let place = |document: usize| format!("{}, document {}", path.display(), document + 1);
    let objects = decoded.objects.values().flat_map(|(document, object)| {
        let unsupported = object.unsupported();
        let verdict = if unsupported.is_empty() { "valid" } else { "valid, but" };
        let head = format!("{verdict:<12} {}, {}", place(*document), object.key());
        let fields = unsupported
            .into_iter()
            .map(|field| format!("unsupported  {}, {}: {field}", place(*document), object.key()));
        std::iter::once(head).chain(fields).collect::<Vec<_>>()
    });
    let ignored = decoded
        .ignored
        .iter()
        .map(|i| format!("ignored      {}, {} {}: tortie does not use this kind", place(i.document), i.kind, i.name));
    problems.chain(objects).chain(ignored).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        report(Path::new("x.yaml"), decode(text, Format::Yaml))
    }

    #[test]
    fn a_wrong_field_is_named_with_its_place_and_what_is_allowed() {
        let lines =
            lines("apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.0.0.0/33}\n");
        assert!(matches!(&lines[..], [line] if line.starts_with("invalid") && line.contains("spec.cidr")), "{lines:?}");
    }

    #[test]
    fn a_field_that_is_not_acted_upon_is_said() {
        let lines = lines(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.0.0.0/16, ipipMode: Always}\n",
        );
        assert!(lines.iter().any(|l| l.starts_with("unsupported") && l.contains("spec.ipipMode")), "{lines:?}");
    }

    #[test]
    fn a_kind_that_is_not_used_is_no_mistake() {
        let lines = lines("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {}\n");
        assert!(matches!(&lines[..], [line] if line.starts_with("ignored")), "{lines:?}");
    }
}
