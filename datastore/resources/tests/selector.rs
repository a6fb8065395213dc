//! Calico's selector language, and Kubernetes' label selectors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use resources::{LabelSelector, Selector};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn matches(selector: &str, pairs: &[(&str, &str)]) -> bool {
    Selector::parse(selector).unwrap_or_else(|error| panic!("{error}")).matches(&labels(pairs))
}

#[test]
fn every_test_has_its_meaning_for_present_and_absent_labels() {
    let cases = [
        ("has(a)", [true, true, false]),
        ("a == 'x'", [true, false, false]),
        ("a != 'x'", [false, true, true]),
        ("a in {'x', 'z'}", [true, false, false]),
        ("a not in {'x', 'z'}", [false, true, true]),
        ("a notin {\"x\"}", [false, true, true]),
        ("a in {}", [false, false, false]),
        ("a not in {}", [true, true, true]),
        ("a in {'x',}", [true, false, false]),
        ("a contains 'y'", [false, true, false]),
        ("a starts with 'y'", [false, true, false]),
        ("a startswith 'y'", [false, true, false]),
        ("a ends with 'y'", [false, true, false]),
        ("a endswith 'y'", [false, true, false]),
        ("all()", [true, true, true]),
        ("global()", [true, true, true]),
        ("", [true, true, true]),
        (" \t", [true, true, true]),
        ("!has(a)", [false, false, true]),
    ];
    for (selector, wanted) in cases {
        let found = [matches(selector, &[("a", "x")]), matches(selector, &[("a", "yby")]), matches(selector, &[])];
        assert_eq!(found, wanted, "{selector}");
    }
}

#[test]
fn negation_binds_to_the_next_test_and_and_binds_before_or() {
    let none = &[];
    assert!(matches("!a == 'x'", none));
    assert!(matches("!a == 'x' || has(b)", none));
    assert!(!matches("!(a == 'x' || !has(b))", none));
    assert!(matches("!!has(a) || ! ! all()", none));
    assert!(matches("all() || all() && has(a)", none));
    assert!(!matches("(all() || all()) && has(a)", none));
}

#[test]
fn operator_words_are_labels_where_a_label_is_due() {
    assert!(matches("in in {'a'}", &[("in", "a")]));
    assert!(matches("has == 'x' && has(all) && all == 'y'", &[("has", "x"), ("all", "y")]));
    assert!(matches("not not in{'x'} && contains contains'y'", &[("contains", "xyz")]));
    assert!(matches("global != 'x' && starts starts with \"\"", &[("starts", "")]));
    assert!(matches("a.b/c_d-e == \"it's\"", &[("a.b/c_d-e", "it's")]));
    assert!(matches("has( a )&&all( )", &[("a", "")]));
}

#[test]
fn errors_name_the_place_and_what_is_due() {
    let cases = [
        ("a", "selector \"a\", column 2: expected one of ==, !=, in, not in, contains, starts with, ends with"),
        (
            "a = 'b'",
            "selector \"a = 'b'\", column 3: expected one of ==, !=, in, not in, contains, starts with, ends with",
        ),
        (
            "a inx {'b'}",
            "selector \"a inx {'b'}\", column 3: expected one of ==, !=, in, not in, contains, starts with, ends with",
        ),
        ("a == b", "selector \"a == b\", column 6: expected a text in quotes"),
        ("a == 'b", "selector \"a == 'b\", column 6: the quote is not closed"),
        ("a in 'b'", "selector \"a in 'b'\", column 6: expected '{'"),
        ("a in {'b' 'c'}", "selector \"a in {'b' 'c'}\", column 11: expected ',' or '}'"),
        ("a in {,}", "selector \"a in {,}\", column 7: expected a text in quotes"),
        ("(all()", "selector \"(all()\", column 7: expected ')'"),
        ("all() all()", "selector \"all() all()\", column 7: expected '&&', '||' or the end"),
        ("all() &&", "selector \"all() &&\", column 9: expected a label, has(), all(), global(), '!' or '('"),
        ("has()", "selector \"has()\", column 5: expected a label"),
        (
            "has (a)",
            "selector \"has (a)\", column 5: expected one of ==, !=, in, not in, contains, starts with, ends with",
        ),
        (
            "a\n== 'b'",
            "selector \"a\\n== 'b'\", column 2: expected one of ==, !=, in, not in, contains, starts with, ends with",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(Selector::parse(text).unwrap_err().to_string(), wanted);
    }
    let long = format!("has({})", "a".repeat(513));
    assert!(Selector::parse(&long).unwrap_err().to_string().ends_with("a label has at most 512 characters"));
    assert!(Selector::parse(&long.replacen('a', "", 2).replacen("hs", "has", 1)).is_ok());
    let deep = format!("{}all(){}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(Selector::parse(&deep).unwrap_err().to_string().contains("nested more than"));
    assert!(Selector::parse(&"!".repeat(100_000)).is_err());
}

#[test]
fn a_label_selector_needs_all_its_requirements() {
    let selector: LabelSelector = serde_json::from_str(
        r#"{"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "env", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "NotIn", "values": ["1"]},
            {"key": "y", "operator": "Exists"}, {"key": "z", "operator": "DoesNotExist"}]}"#,
    )
    .unwrap();
    let good = [("app", "web"), ("env", "b"), ("x", "2"), ("y", "")];
    assert!(selector.matches(&labels(&good)));
    assert!(selector.matches(&labels(&[("app", "web"), ("env", "b"), ("y", "")])), "NotIn holds without the label");
    for wrong in [("app", "db"), ("env", "c"), ("x", "1"), ("z", "")] {
        let mut changed = labels(&good);
        changed.insert(wrong.0.to_owned(), wrong.1.to_owned());
        assert!(!selector.matches(&changed), "{wrong:?}");
    }
    assert!(!selector.matches(&labels(&[("app", "web"), ("y", "")])), "In needs the label");
    assert!(LabelSelector::default().matches(&labels(&[])));
}

/// An expression and, evaluated by other means, whether it matches.
#[derive(Clone, Debug)]
struct Sample {
    text: String,
    matches: bool,
}

const LABELS: [(&str, &str); 3] = [("a", "x"), ("in", "xy"), ("b.c/d", "")];

fn test() -> impl Strategy<Value = Sample> {
    let label = prop::sample::select(vec!["a", "in", "b.c/d", "absent", "not"]);
    let text = prop::sample::select(vec!["", "x", "y", "xy", "&& ||"]);
    (label, text, 0..10_u8).prop_map(|(label, text, operator)| {
        let value = LABELS.iter().find(|(key, _)| *key == label).map(|(_, value)| *value);
        let is = |test: fn(&str, &str) -> bool| value.is_some_and(|value| test(value, text));
        let (text, matches) = match operator {
            0 => (format!("has({label})"), value.is_some()),
            1 => (format!("{label}=='{text}'"), value == Some(text)),
            2 => (format!("{label} != \"{text}\""), value != Some(text)),
            3 => (format!("{label} in{{'{text}','x'}}"), value == Some(text) || value == Some("x")),
            4 => (format!("{label} not  in {{\"{text}\" , }}"), value != Some(text)),
            5 => (format!("{label} contains '{text}'"), is(|value, text| value.contains(text))),
            6 => (format!("{label} starts\twith '{text}'"), is(|value, text| value.starts_with(text))),
            7 => (format!("{label} endswith '{text}'"), is(|value, text| value.ends_with(text))),
            8 => ("all()".to_owned(), true),
            _ => (format!("{label} notin {{}}"), true),
        };
        Sample { text, matches }
    })
}

fn expression() -> impl Strategy<Value = Sample> {
    let negated = |inner: Sample| Sample { text: format!("!({})", inner.text), matches: !inner.matches };
    test().prop_recursive(4, 24, 3, move |inner| {
        prop_oneof![
            inner.clone().prop_map(negated),
            inner.clone().prop_map(|inner| Sample { text: format!("( {} )", inner.text), ..inner }),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| Sample {
                text: parts.iter().map(|p| format!("({})", p.text)).collect::<Vec<_>>().join(" && "),
                matches: parts.iter().all(|p| p.matches),
            }),
            prop::collection::vec(inner, 2..4).prop_map(|parts| Sample {
                text: parts.iter().map(|p| format!("({})", p.text)).collect::<Vec<_>>().join("||"),
                matches: parts.iter().any(|p| p.matches),
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_expression_matches_as_its_parts_say(sample in expression()) {
        let selector = Selector::parse(&sample.text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(selector.matches(&labels(&LABELS)), sample.matches, "{}", sample.text);
        prop_assert_eq!(selector.to_string(), sample.text);
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_errors_point_into_the_text(text in "[a-z(){}'\"&|!=, \té]{0,40}") {
        if let Err(error) = Selector::parse(&text) {
            prop_assert!(error.position <= text.len() && text.is_char_boundary(error.position));
        }
    }

    #[test]
    fn what_is_cut_off_never_panics(sample in expression(), cut in 0..200_usize) {
        let text: String = sample.text.chars().take(cut).collect();
        drop(Selector::parse(&text));
    }
}
