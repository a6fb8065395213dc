//! What a case expects, and what came instead.

use std::collections::BTreeSet;

use super::message;
use super::player::{Player, Sent};
use super::values::{Words, unquoted};
use super::{Outcome, attribute::Form};
use crate::output::ConnId;
use crate::prefix::Prefix;
use crate::speaker::Speaker;
use crate::status::{RouteQuery, RouteTable};

/// Checks a line; `None` if it expects nothing but does something.
pub(super) fn expectation(player: &mut Player, line: &str) -> Option<Result<(), String>> {
    let mut words = Words::new(line);
    let verb = words.next()?;
    Some(match verb {
        ">" => wire(player, words),
        "event" => {
            let text = words.rest();
            let found = player.events.iter().any(|event| event.contains(text));
            if found { Ok(()) } else { Err(format!("there were: {}", player.events.join("\n    "))) }
        }
        "no-event" => {
            let found = player.events.iter().find(|event| event.contains(words.rest()));
            found.map_or(Ok(()), |event| Err(format!("there was: {event}")))
        }
        "fib" => fib(player, words),
        "state" | "status" | "explain" | "route" | "withheld" => {
            let Some(speaker) = &player.speaker else { return Some(Err("there is no speaker yet".to_owned())) };
            asked(speaker, verb, words)
        }
        _ => return None,
    })
}

fn holds(text: &str, wanted: &str) -> Result<(), String> {
    if text.contains(wanted) { Ok(()) } else { Err(format!("it is: {text}")) }
}

fn asked(speaker: &Speaker, verb: &str, mut words: Words<'_>) -> Result<(), String> {
    if matches!(verb, "state" | "status") {
        let name = unquoted(words.need("peer")?);
        let status = speaker.peer(&name).ok_or_else(|| format!("{name}: no such peer"))?;
        return match verb {
            "state" if status.state.word() == words.rest() => Ok(()),
            "state" => Err(format!("it is {}", status.state.word())),
            _ => holds(&format!("{status:?}"), words.rest()),
        };
    }
    let prefix: Prefix = words.parse("prefix")?;
    let name = unquoted(words.need("peer")?);
    let explanation = speaker.explain(prefix);
    let candidates = explanation.as_ref().map(|it| it.candidates.as_slice()).unwrap_or_default();
    match verb {
        "explain" if name == "none" && candidates.is_empty() => Ok(()),
        "explain" => {
            let found = candidates.iter().find(|it| *it.peer == *name);
            let found = found
                .ok_or_else(|| format!("there are {:?}", candidates.iter().map(|it| &it.peer).collect::<Vec<_>>()))?;
            holds(&found.why.to_string(), words.rest())
        }
        "route" => {
            let query = RouteQuery { table: RouteTable::LocRib, prefix: Some(prefix), ..RouteQuery::default() };
            let routes = speaker.routes(&query);
            let texts: Vec<String> = routes.iter().filter(|it| *it.peer == *name).map(|it| format!("{it:?}")).collect();
            holds(&texts.join("\n    "), words.rest())
        }
        _ => {
            let withheld = explanation.as_ref().map(|it| it.withheld.as_slice()).unwrap_or_default();
            let found = withheld.iter().find(|it| *it.0 == *name).ok_or("it is not withheld")?;
            holds(&found.1.to_string(), words.rest())
        }
    }
}

fn fib(player: &Player, mut words: Words<'_>) -> Result<(), String> {
    let prefix: Prefix = words.parse("prefix")?;
    let hops = player.fib.get(&prefix);
    let there: Option<BTreeSet<String>> = hops.map(|it| it.iter().map(|hop| hop.gateway.to_string()).collect());
    let wanted = match words.rest().split_once(' ') {
        Some(("via", hops)) => Some(hops.split(',').map(|it| it.trim().to_owned()).collect()),
        _ if words.rest() == "none" => None,
        _ => return Err("expected via ADDRESS,… or none".to_owned()),
    };
    if there == wanted { Ok(()) } else { Err(format!("it is {there:?}")) }
}

/// KEEPALIVEs and dialling need not be expected.
fn is_incidental(sent: &Sent, form: Form) -> bool {
    match sent {
        Sent::Message(octets) => message::text(octets, form) == "KEEPALIVE",
        Sent::Connect => true,
        Sent::Close => false,
    }
}

fn shown(sent: &Sent, form: Form) -> String {
    match sent {
        Sent::Message(octets) => message::text(octets, form),
        Sent::Close => "close".to_owned(),
        Sent::Connect => "connect".to_owned(),
    }
}

fn wire(player: &mut Player, mut words: Words<'_>) -> Result<(), String> {
    let plain = message::form(std::iter::empty());
    if words.rest() == "nothing" {
        let left: Vec<String> =
            player.sent.iter().filter(|it| !is_incidental(&it.1, plain)).map(|it| line_of(player, it, plain)).collect();
        player.sent.clear();
        return if left.is_empty() { Ok(()) } else { Err(format!("there is: {}", left.join("\n    "))) };
    }
    let conn = player.place(&mut words)?;
    let form = message::form(words);
    let wanted: Vec<&str> = words.filter(|it| !matches!(*it, "add-path" | "two-octet")).collect();
    let incidental = matches!(wanted[..], ["KEEPALIVE"] | ["connect"]);
    let at = player.sent.iter().position(|(to, sent)| {
        *to == conn && (!is_incidental(sent, plain) || incidental && wanted.first() == Some(&&*shown(sent, plain)))
    });
    let Some((_, sent)) = at.and_then(|at| player.sent.remove(at)) else { return Err("nothing was sent".to_owned()) };
    let got = shown(&sent, form);
    matches(&wanted, &got)?;
    if got.starts_with("NOTIFICATION") {
        // It ends the connection.
        let close = player.sent.iter().position(|it| *it == (conn, Sent::Close)).ok_or("the connection stays open")?;
        player.sent.remove(close);
    }
    Ok(())
}

/// The words are those expected, in any order; with `...` more are allowed, and `!NAME` is not.
fn matches(wanted: &[&str], got: &str) -> Result<(), String> {
    let words: Vec<&str> = Words::new(got).collect();
    let more = wanted.contains(&"...");
    let named: Vec<&&str> = wanted.iter().filter(|it| **it != "..." && !it.starts_with('!')).collect();
    let all_there =
        named.iter().all(|it| words.contains(it)) && words.first().is_some_and(|it| wanted.first() == Some(it));
    let absent = |name: &str| !words.iter().any(|it| it.split(['=', '/']).next() == Some(name));
    let none_forbidden = wanted.iter().filter_map(|it| it.strip_prefix('!')).all(absent);
    if all_there && none_forbidden && (more || words.len() == named.len()) {
        Ok(())
    } else {
        Err(format!("it is: {got}"))
    }
}

fn line_of(player: &Player, (conn, sent): &(ConnId, Sent), form: Form) -> String {
    format!("> {} {}", player.owners.get(conn).map_or("", String::as_str), shown(sent, form))
}

/// What was sent and not expected.
pub(super) fn leftovers(player: &mut Player, number: usize, outcome: &mut Outcome) {
    let plain = message::form(std::iter::empty());
    let left = std::mem::take(&mut player.sent);
    for entry in left.iter().filter(|it| !is_incidental(&it.1, plain)) {
        outcome.problem(number, &format!("unexpected before this line\n  {}", line_of(player, entry, plain)));
    }
}
