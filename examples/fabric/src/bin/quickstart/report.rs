//! What the person at the terminal sees: steps, what each checked, what was measured.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    time::{Duration, Instant},
};

use anyhow::{Error, Result, ensure};
use fabric::wait_until;

use crate::options::Options;

/// How often a line that waits is redrawn.
const REDRAW: Duration = Duration::from_millis(100);
const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// The protocol of a run.
pub(crate) struct Report {
    terminal: bool,
    colour: bool,
    stepwise: bool,
    started: Instant,
    checks: u32,
    measured: Vec<(String, String)>,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let terminal = io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        let stepwise = options.step && io::stdin().is_terminal();
        Self { terminal, colour, stepwise, started: Instant::now(), checks: 0, measured: Vec::new() }
    }

    /// Begins a step.
    pub(crate) fn step(&self, number: u32, title: &str) {
        println!("\n{} {title}", self.paint("1", &format!("{number}.")));
        if self.stepwise {
            print!("   Enter to go on ");
            let _ = io::stdout().flush();
            let _ = io::stdin().lock().read_line(&mut String::new());
        }
    }

    /// Waits for something, shows that it waits, and says how long it took.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut() -> Result<bool>,
    ) -> Result<Duration> {
        let started = Instant::now();
        let mut drawn = Instant::now();
        let mut turn = 0_usize;
        let terminal = self.terminal;
        let outcome = wait_until(what, deadline, || {
            if terminal && drawn.elapsed() > REDRAW {
                drawn = Instant::now();
                turn += 1;
                let spinner = SPINNER.get(turn % SPINNER.len()).copied().unwrap_or('.');
                print!("\r   {spinner} {what}  {:.1} s", started.elapsed().as_secs_f64());
                let _ = io::stdout().flush();
            }
            probe()
        });
        if terminal && turn > 0 {
            print!("\r\x1b[K");
        }
        let took = outcome?;
        self.held(&format!("{what}  {}", time(took)));
        Ok(took)
    }

    /// Something must be so.
    pub(crate) fn check(&mut self, what: &str, so: bool) -> Result<()> {
        ensure!(so, "{what}: it is not so");
        self.held(what);
        Ok(())
    }

    /// Something was found to be so.
    pub(crate) fn held(&mut self, what: &str) {
        self.checks += 1;
        println!("   {} {what}", self.paint("32", "✔"));
    }

    /// Something to look at.
    pub(crate) fn show(&self, text: &str) {
        for line in text.lines() {
            println!("     {line}");
        }
    }

    /// A line of the table at the end.
    pub(crate) fn measure(&mut self, what: &str, value: impl Into<String>) {
        self.measured.push((what.to_owned(), value.into()));
    }

    /// A step did not hold.
    pub(crate) fn failed(&self, error: &Error) {
        println!("   {} {error:#}", self.paint("31", "✘"));
    }

    /// The end: the table and the verdict.
    pub(crate) fn summary(&self, held: bool) {
        let width = self.measured.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        println!("\n{}", self.paint("1", "MEASURED"));
        for (what, value) in &self.measured {
            println!("   {what:<width$}  {value}");
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let verdict = if held { self.paint("32", "everything held") } else { self.paint("31", "a step did not hold") };
        println!("\n{verdict}: {} checks in {seconds:.1} s", self.checks);
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A time as people read it.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}
