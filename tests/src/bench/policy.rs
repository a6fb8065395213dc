//! A NetworkPolicy changes in the datastore: how long until the kernel's ruleset is the new one.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fabric::{Lab, Node, PodSpec, probe};
use kernel::nf_tables::NfTables;

use super::{
    Options,
    plugins::{self, LABEL, Plugin, Pod, policy},
    report::{Report, Row, Unit, percentile, seconds},
};

const DEADLINE: Duration = Duration::from_secs(10);
/// How often the kernel is asked; what a measurement may be wrong by.
const PAUSE: Duration = Duration::from_micros(20);
/// What a change may take, in seconds.
const AIM: f64 = 0.005;
/// The two ports that take turns.
const PORTS: [u16; 2] = [8080, 8081];
const OUTSIDER: &str = "192.0.2.9";

/// Measures changes of a policy that applies to every pod of a node, beside an `nft` process that changes one chain of the
/// same ruleset, which is what agents do that execute `nft`.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let (pods, changes) = if options.quick { (5, 5) } else { (100, 20) };
    let lab = Lab::new("bench-policy")?;
    let (cluster, worker) = plugins::tortie(&lab, options.dual_stack)?;
    let outsider = cluster.outsider("outsider", 9)?;
    outsider.ip_batch("route add 10.65.0.0/16 via 192.0.2.1\n")?;
    let plugin = Plugin::tortie(&worker);
    let attached = Pod::several("pod", pods)?;
    plugin.in_turn("ADD", &attached).inspect_err(|_| lab.dump_logs())?;
    let target = worker.pod(&lab, &PodSpec::new("target", &[LABEL]))?;
    let copy = copy_of_ruleset(&lab, worker.node())?;

    let mut kernel = worker.node().inside(|| NfTables::open().context("opening nf_tables"))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        for change in 0..changes {
            let [one, other] = PORTS;
            let (open, shut) = if ours.len() % 2 == 0 { (one, other) } else { (other, one) };
            let write = || cluster.write("policy.yaml", &policy(&format!("{OUTSIDER}/32"), open));
            ours.push(until_next_generation(&mut kernel, write).inspect_err(|_| lab.dump_logs())?);
            theirs.push(by_nft(&copy, open)?);
            if change == 0 {
                check(&outsider, target.ipv4()?, open, shut)?;
            }
        }
    }
    let nft = "nft -f, one chain".to_owned();
    for (name, share) in [("median", 0.5), ("99 %", 0.99)] {
        let value = |samples: &[Duration]| percentile(&seconds(samples), share);
        let peer = Some((nft.clone(), value(&theirs)));
        let measure = format!("policy of {pods} pods → kernel, {name}");
        let aim = (share == 0.5).then_some(AIM);
        report.push(Row { measure, unit: Unit::Seconds, ours: value(&ours), peer, aim });
    }
    report.note(format!(
        "{} changes of a file on tmpfs to a transaction of the kernel, verdicts checked by packets",
        ours.len()
    ));
    drop(attached);
    Ok(())
}

/// Changes something and waits for the kernel's next transaction.
fn until_next_generation(kernel: &mut NfTables, change: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let before = kernel.generation()?;
    let start = Instant::now();
    change()?;
    loop {
        let now = kernel.generation()?;
        let took = start.elapsed();
        if now != before {
            return Ok(took);
        }
        ensure!(took < DEADLINE, "no transaction within {DEADLINE:?}");
        thread::sleep(PAUSE);
    }
}

/// Checks by packets that the target's policy lets one port be reached and not the other. Nobody listens there: who gets
/// through is refused.
fn check(outsider: &Node, target: IpAddr, open: u16, shut: u16) -> Result<()> {
    let answer = |port, timeout| {
        let outcome = probe::connect(outsider.namespace(), SocketAddr::new(target, port), timeout)?;
        Ok::<_, anyhow::Error>(outcome.err().map(|error| error.kind()))
    };
    let (through, not_through) = (answer(open, Duration::from_secs(2))?, answer(shut, Duration::from_millis(100))?);
    ensure!(through == Some(io::ErrorKind::ConnectionRefused), "port {open} of {target} is not open: {through:?}");
    ensure!(not_through == Some(io::ErrorKind::TimedOut), "port {shut} of {target} is not shut: {not_through:?}");
    Ok(())
}

/// A node that has the rulesets of another one.
fn copy_of_ruleset(lab: &Lab, node: &Node) -> Result<Node> {
    let copy = lab.host("copy")?;
    let file = copy.directory().join("ruleset.nft");
    fs::write(&file, node.run("nft", &["list", "ruleset"])?).context("writing a ruleset")?;
    copy.run("nft", &["-f".as_ref(), file.as_os_str()])?;
    Ok(copy)
}

/// Replaces one chain of the copy by executing `nft`.
fn by_nft(copy: &Node, port: u16) -> Result<Duration> {
    let file = copy.directory().join("chain.nft");
    let rule = format!("tcp dport {port} accept");
    let chain = "chain inet tortie bench";
    fs::write(&file, format!("add {chain}\nflush {chain}\nadd {} {rule}\n", chain.replace("chain", "rule")))?;
    let start = Instant::now();
    copy.run("nft", &["-f".as_ref(), file.as_os_str()])?;
    Ok(start.elapsed())
}
