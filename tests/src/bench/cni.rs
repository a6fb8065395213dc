//! ADD and DEL, from the start of the plugin's process to its end, against the reference plugins `ptp` and `host-local`.
//!
//! tortie's ADD includes what the reference does not do: the policy of the pod is in the kernel before it ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fabric::{Lab, Need, require};

use super::{
    Options,
    plugins::{self, Plugin, Pod},
    report::{Report, Row, Unit, percentile, seconds},
};

const REFERENCE: &str = "ptp";
/// What an ADD may take, in seconds.
const AIM: f64 = 0.005;

/// What all rounds of one plugin gave.
#[derive(Clone, Debug, Default)]
struct Samples {
    add: Vec<Duration>,
    del: Vec<Duration>,
    /// All pods of a burst.
    burst: Vec<Duration>,
    /// Processor time of one ADD, one sample per round.
    cpu: Vec<Duration>,
}

/// Compares the two.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    require(&[Need::Program("/usr/lib/cni/ptp", "containernetworking-plugins")])?;
    let (count, burst) = match options {
        Options { quick: true, .. } => (5, 10),
        // The reference waits two seconds for each IPv6 address, and gives up when many wait at once.
        Options { dual_stack: true, .. } => (10, 10),
        _ => (40, 30),
    };
    let lab = Lab::new("bench-cni")?;
    let (_cluster, worker) = plugins::tortie(&lab, options.dual_stack)?;
    let candidates = [("tortie", Plugin::tortie(&worker)), (REFERENCE, Plugin::reference(&lab, options.dual_stack)?)];
    let mut samples = [Samples::default(), Samples::default()];
    // Taking namespaces away costs the kernel much, some time later: not while something is measured.
    let mut kept = Vec::new();
    for round in 0..=options.rounds {
        for ((name, plugin), samples) in candidates.iter().zip(&mut samples) {
            let pods = Pod::several(&format!("{name}{round}"), count)?;
            let crowd = Pod::several(&format!("{name}{round}-burst"), burst)?;
            let outcome = one_round(plugin, &pods, &crowd).with_context(|| (*name).to_owned());
            let outcome = outcome.inspect_err(|_| lab.dump_logs())?;
            // The first round makes caches warm and claims blocks of addresses.
            if round > 0 {
                samples.add.extend(outcome.add);
                samples.del.extend(outcome.del);
                samples.burst.extend(outcome.burst);
                samples.cpu.extend(outcome.cpu);
            }
            kept.extend([pods, crowd]);
        }
    }
    let [ours, theirs] = &samples;
    rows(ours, theirs, burst, report);
    let families = if options.dual_stack { "IPv4 and IPv6" } else { "IPv4" };
    report.note(format!(
        "{} pods each, {families}, one after the other, in {} rounds; datastore and address files on tmpfs",
        ours.add.len(),
        options.rounds
    ));
    Ok(())
}

fn one_round(plugin: &Plugin, pods: &[Pod], crowd: &[Pod]) -> Result<Samples> {
    let before = plugin.cpu()?;
    let add = plugin.in_turn("ADD", pods)?;
    let cpu = plugin.cpu()?.saturating_sub(before) / u32::try_from(pods.len())?.max(1);
    let del = plugin.in_turn("DEL", pods)?;
    let burst = plugin.at_once("ADD", crowd)?;
    plugin.in_turn("DEL", crowd)?;
    ensure!(add.len() == pods.len() && del.len() == pods.len(), "a verb was left out");
    Ok(Samples { add, del, burst: vec![burst], cpu: vec![cpu] })
}

fn rows(ours: &Samples, theirs: &Samples, burst: usize, report: &mut Report) {
    let mut row = |measure: &str, of: fn(&Samples) -> &[Duration], share: f64, aim: Option<f64>| {
        let value = |samples: &Samples| percentile(&seconds(of(samples)), share);
        report.push(Row {
            measure: measure.to_owned(),
            unit: Unit::Seconds,
            ours: value(ours),
            peer: Some((REFERENCE.to_owned(), value(theirs))),
            aim,
        });
    };
    row("ADD, median", |samples| &samples.add, 0.5, Some(AIM));
    row("ADD, 99 %", |samples| &samples.add, 0.99, None);
    row("DEL, median", |samples| &samples.del, 0.5, None);
    row("DEL, 99 %", |samples| &samples.del, 0.99, None);
    row(&format!("{burst} ADDs at once"), |samples| &samples.burst, 0.5, None);
    row("processor time of an ADD", |samples| &samples.cpu, 0.5, None);
}
