//! Recordings: every input of a speaker and every output, in order, so that it can be played again to the octet.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::input::{Input, annotated};
use super::values::{octets, quoted};
use super::{Outcome, message};
use crate::instant::Instant;
use crate::output::{Action, Event, FibUpdate, NextHopUpdate};
use crate::speaker::Speaker;

/// The first line of a recording.
pub(super) const TITLE: &str = "recording 1";
/// Differences that are reported; what follows them is their consequence.
const MOST: usize = 10;

/// One thing that a speaker gave when it was polled.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "each is what a poll method of Speaker returns")]
pub enum Output<'a> {
    NextHop(&'a NextHopUpdate),
    Fib(&'a FibUpdate),
    Event(&'a Event),
    Action(&'a Action),
}

impl fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NextHop(update) => write!(f, "> next-hop {update:?}"),
            Self::Fib(update) => write!(f, "> fib {update:?}"),
            Self::Event(event) => write!(f, "> event {}", format!("{event:?}").replace(" # ", " #")),
            Self::Action(Action::Send { conn, bytes }) => write!(f, "> {conn} {}", annotated(bytes)),
            Self::Action(Action::Close { conn }) => write!(f, "> close {conn}"),
            Self::Action(Action::Connect { conn, peer, local, remote, interface, transport }) => {
                let peer = quoted(peer);
                write!(f, "> connect {conn} {peer} {remote} from {local:?} on {interface:?} with {transport:?}")
            }
            Self::Action(other) => write!(f, "> {other:?}"),
        }
    }
}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder {
    text: String,
    now: Option<Instant>,
    since: Since,
}

/// What happened since the last input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Nothing,
    /// The speaker was polled and gave nothing.
    Polled,
    Output,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { text: format!("{TITLE}\n"), now: None, since: Since::Nothing }
    }
}

impl Recorder {
    /// An input is about to be given, at a time.
    pub fn input(&mut self, now: Option<Instant>, input: &Input) {
        if std::mem::replace(&mut self.since, Since::Nothing) == Since::Polled {
            self.text.push_str("poll\n");
        }
        if let Some(now) = now.filter(|now| self.now != Some(*now)) {
            let since = now.since_epoch();
            let _ = writeln!(self.text, "now {}.{:09}", since.as_secs(), since.subsec_nanos());
            self.now = Some(now);
        }
        let _ = writeln!(self.text, "{input}");
    }

    /// The speaker was polled; this came out, if anything.
    pub fn output(&mut self, output: Option<Output<'_>>) {
        match output {
            Some(output) => {
                let _ = writeln!(self.text, "{output}");
                self.since = Since::Output;
            }
            None if self.since == Since::Nothing => self.since = Since::Polled,
            None => {}
        }
    }

    /// What was written since the last call.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}

/// Everything that a speaker gives now, in the order in which the shell asks for it.
fn polled(speaker: &mut Speaker) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(update) = speaker.poll_next_hop() {
        lines.push(Output::NextHop(&update).to_string());
    }
    while let Some(update) = speaker.poll_fib() {
        lines.push(Output::Fib(&update).to_string());
    }
    while let Some(event) = speaker.poll_event() {
        lines.push(Output::Event(&event).to_string());
    }
    while let Some(action) = speaker.poll_action() {
        lines.push(Output::Action(&action).to_string());
    }
    lines
}

/// Plays a recording again and compares what comes out.
pub(super) fn play(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let mut speaker = None;
    let mut now = Instant::default();
    let mut expected: Vec<(usize, &str)> = Vec::new();
    let mut poll = false;
    for (number, line) in (1..).zip(text.lines()).skip(1) {
        if outcome.problems.len() >= MOST {
            outcome.problems.push("and so on".to_owned());
            return outcome;
        }
        match line.split_once(' ').unwrap_or((line, "")) {
            ("" | "#", _) => continue,
            (">", _) => {
                expected.push((number, line));
                poll = true;
                continue;
            }
            ("poll", _) => {
                poll = true;
                continue;
            }
            ("now", time) => {
                compare(&mut speaker, &mut poll, &mut expected, &mut outcome, number);
                match instant(time) {
                    Some(time) => now = time,
                    None => outcome.problem(number, &format!("{time} is no time")),
                }
                continue;
            }
            _ => {}
        }
        compare(&mut speaker, &mut poll, &mut expected, &mut outcome, number);
        if let Err(error) = Input::parse(line).and_then(|input| input.apply(&mut speaker, now)) {
            outcome.problem(number, &error);
        }
    }
    let last = text.lines().count();
    compare(&mut speaker, &mut poll, &mut expected, &mut outcome, last);
    outcome
}

fn instant(text: &str) -> Option<Instant> {
    let (seconds, nanos) = text.split_once('.')?;
    Some(Instant::new(Duration::new(seconds.parse().ok()?, nanos.parse().ok()?)))
}

fn compare(
    speaker: &mut Option<Speaker>,
    poll: &mut bool,
    expected: &mut Vec<(usize, &str)>,
    outcome: &mut Outcome,
    number: usize,
) {
    if !std::mem::take(poll) {
        return;
    }
    let got = speaker.as_mut().map(polled).unwrap_or_default();
    let plain = |line: &str| line.split(" # ").next().unwrap_or_default().to_owned();
    outcome.asserted += expected.len();
    let mut got = got.iter();
    for (number, line) in expected.drain(..) {
        let Some(is) = got.next() else {
            outcome.problem(number, &format!("missing\n  expected {}", readable(line)));
            continue;
        };
        if plain(line) != plain(is) {
            outcome.problem(number, &format!("different\n  expected {}\n  got      {}", readable(line), readable(is)));
        }
    }
    got.for_each(|is| outcome.problem(number, &format!("before this line comes more\n  got      {}", readable(is))));
}

/// A line of octets as what they mean.
fn readable(line: &str) -> String {
    let Some((head, digits)) = line.strip_prefix("> c").and_then(|it| it.split_once(' ')) else {
        return line.to_owned();
    };
    let form = message::form(std::iter::empty());
    let Ok(octets) = octets(digits.split(" # ").next().unwrap_or_default()) else { return line.to_owned() };
    let texts: Vec<String> = message::messages(&octets).into_iter().map(|it| message::text(it, form)).collect();
    format!("> c{head} {}", texts.join(" ; "))
}
