//! What each other speaker was shown to do with tortie, by the labs that show it.

use std::fmt::Write as _;

/// The other speakers, in the order of the columns.
pub const SPEAKERS: [&str; 5] = ["BIRD", "FRR", "GoBGP", "ExaBGP", "OpenBGPD"];

/// One feature with one speaker.
#[derive(Clone, Copy, Debug)]
pub enum Cell {
    /// The lab that shows it.
    Shown(&'static str),
    /// The speaker cannot.
    Cannot,
    /// No lab shows it.
    Open,
}

use Cell::{Cannot, Open, Shown};

/// A feature with every speaker.
pub type Row = (&'static str, [Cell; SPEAKERS.len()]);

/// The whole table.
pub const ROWS: [Row; 19] = [
    (
        "eBGP",
        [
            Shown("routes_pass_between_bird_and_external_bird"),
            Shown("routes_pass_between_bird_and_external_frr"),
            Shown("routes_pass_between_bird_and_external_gobgp"),
            Shown("routes_pass_between_bird_and_external_exabgp"),
            Shown("routes_pass_between_bird_and_external_openbgpd"),
        ],
    ),
    (
        "iBGP",
        [
            Shown("routes_pass_between_bird_and_internal_bird"),
            Shown("routes_pass_between_bird_and_internal_frr"),
            Shown("routes_pass_between_bird_and_internal_gobgp"),
            Shown("routes_pass_between_bird_and_internal_exabgp"),
            Shown("openbgpd_reflects_to_tortie"),
        ],
    ),
    (
        "it is a client of tortie's reflection",
        [
            Shown("clients_hear_each_other_through_a_reflector"),
            Shown("clients_hear_each_other_through_a_reflector"),
            Open,
            Open,
            Open,
        ],
    ),
    (
        "it reflects to tortie",
        [
            Shown("bird_reflects_to_tortie"),
            Shown("frr_reflects_to_tortie"),
            Shown("gobgp_reflects_to_tortie"),
            Cannot,
            Shown("openbgpd_reflects_to_tortie"),
        ],
    ),
    (
        "session over IPv4",
        [
            Shown("routes_pass_between_bird_and_external_bird"),
            Shown("routes_pass_between_bird_and_external_frr"),
            Shown("routes_pass_between_bird_and_external_gobgp"),
            Shown("routes_pass_between_bird_and_external_exabgp"),
            Shown("routes_pass_between_bird_and_external_openbgpd"),
        ],
    ),
    (
        "session over IPv6",
        [
            Shown("a_password_is_shared_with_bird"),
            Shown("a_password_is_shared_with_frr"),
            Shown("a_password_is_shared_with_gobgp"),
            Open,
            Open,
        ],
    ),
    (
        "both families on one session",
        [
            Shown("routes_pass_between_bird_and_external_bird"),
            Shown("routes_pass_between_bird_and_external_frr"),
            Shown("routes_pass_between_bird_and_external_gobgp"),
            Shown("routes_pass_between_bird_and_external_exabgp"),
            Shown("routes_pass_between_bird_and_external_openbgpd"),
        ],
    ),
    (
        "large communities",
        [
            Shown("routes_pass_between_bird_and_external_bird"),
            Shown("routes_pass_between_bird_and_external_frr"),
            Shown("routes_pass_between_bird_and_external_gobgp"),
            Shown("routes_pass_between_bird_and_external_exabgp"),
            Open,
        ],
    ),
    (
        "TCP MD5",
        [
            Shown("a_password_is_shared_with_bird"),
            Shown("a_password_is_shared_with_frr"),
            Shown("a_password_is_shared_with_gobgp"),
            Open,
            Open,
        ],
    ),
    ("GTSM", [Open; SPEAKERS.len()]),
    (
        "it keeps the routes of a tortie that restarts",
        [
            Shown("bird_keeps_routes_of_a_tortie_that_dies_and_returns"),
            Shown("frr_keeps_routes_of_a_tortie_that_dies_and_returns"),
            Open,
            Cannot,
            Open,
        ],
    ),
    (
        "tortie keeps its routes while it restarts",
        [
            Shown("routes_of_a_restarting_bird_stay_and_stale_ones_go_at_its_end_of_rib"),
            Shown("routes_of_a_restarting_frr_stay"),
            Open,
            Open,
            Open,
        ],
    ),
    (
        "long-lived graceful restart",
        [
            Shown("bird_keeps_a_tortie_that_is_away_for_long_until_it_is_back"),
            Shown("frr_keeps_a_tortie_that_is_away_for_long_until_it_is_back"),
            Open,
            Cannot,
            Cannot,
        ],
    ),
    (
        "ADD-PATH, both ways",
        [
            Shown("all_paths_pass_between_tortie_and_bird"),
            Shown("all_paths_pass_between_tortie_and_frr"),
            Shown("all_paths_pass_between_tortie_and_gobgp"),
            Open,
            Open,
        ],
    ),
    ("extended messages", [Open; SPEAKERS.len()]),
    (
        "route refresh",
        [
            Shown("a_refresh_that_the_peer_asks_for_is_answered"),
            Shown("a_refresh_that_the_peer_asks_for_is_answered"),
            Open,
            Open,
            Open,
        ],
    ),
    ("unnumbered", [Open; SPEAKERS.len()]),
    (
        "BFD, single hop",
        [
            Shown("bfd_with_bird_sees_a_cut_within_three_intervals"),
            Shown("bfd_with_frr_sees_a_cut_within_three_intervals"),
            Cannot,
            Cannot,
            Cannot,
        ],
    ),
    (
        "BFD, multihop",
        [
            Shown("multihop_bfd_with_bird_sees_a_cut_within_three_intervals"),
            Shown("multihop_bfd_with_frr_sees_a_cut_within_three_intervals"),
            Cannot,
            Cannot,
            Cannot,
        ],
    ),
];

/// The page `docs/interop.md`.
#[must_use]
pub fn page() -> String {
    let mut page = "# Interoperability\n\n\
        What was shown between tortie and other BGP speakers, in the versions that Debian has. Every number is a lab with the\n\
        real daemons in network namespaces (`tests/tests`), which `make test` runs; they are named below. \"cannot\" is what the\n\
        other speaker does not do, and an empty cell what no lab shows yet. The page is written by\n\
        `BLESS=1 cargo test -p tests --test gates`, and checked by the same test without it.\n\n"
        .to_owned();
    let _ = writeln!(page, "| | {} |\n|---|{}", SPEAKERS.join(" | "), "---|".repeat(SPEAKERS.len()));
    let mut labs: Vec<&str> = Vec::new();
    for (feature, cells) in ROWS {
        let cells = cells.map(|cell| match cell {
            Shown(lab) => {
                let known = labs.iter().position(|it| *it == lab);
                let number = known.unwrap_or_else(|| {
                    labs.push(lab);
                    labs.len() - 1
                });
                (number + 1).to_string()
            }
            Cannot => "cannot".to_owned(),
            Open => String::new(),
        });
        let _ = writeln!(page, "| {feature} | {} |", cells.join(" | "));
    }
    page.push('\n');
    for (number, lab) in (1..).zip(labs) {
        let _ = writeln!(page, "{number}. `{lab}`");
    }
    page
}
