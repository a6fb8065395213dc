//! `bgpd replay FILE`: a recording, or a case of the conformance tests, played again.

use std::{fs, path::Path};

use daemon::exit::Exit;
use engine::case;

/// Plays a file and says what differs. Needs no running bgpd.
pub(crate) fn replay(path: &Path) -> Exit {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("bgpd: {}: {error}", path.display());
            return Exit::NoSuchObject;
        }
    };
    let outcome = case::play(&text);
    for problem in &outcome.problems {
        println!("{}: {problem}", path.display());
    }
    match (outcome.problems.is_empty(), outcome.asserted) {
        (false, _) => Exit::Bad,
        (true, 0) => {
            eprintln!("bgpd: {}: expects nothing", path.display());
            Exit::Usage
        }
        (true, asserted) => {
            println!("{}: as expected, in {asserted} places", path.display());
            Exit::Good
        }
    }
}
