//! Step 5: a NetworkPolicy cuts what it denies, in mid-connection, and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fabric::probe::{Flow, connect};
use serde_json::Value;

use super::{SOON, TICK, none_lost, to_pod};
use crate::{
    manifests,
    rack::{PORT, Rack},
    report::{Report, time},
};

/// A connection that was silent for so long does not live.
const SILENCE: Duration = Duration::from_millis(300);
/// A connection that is not open after so long will not be.
const REFUSED: Duration = Duration::from_millis(500);

pub(super) fn apply(rack: &mut Rack, report: &mut Report) -> Result<()> {
    report.step(5, "A NetworkPolicy: only front and the client's network may talk to web");
    let web = (rack.pod("web-1")?.ipv4()?, PORT).into();
    let (front, spy) = (rack.pod("front")?.inside(), rack.pod("spy")?.inside());
    let allowed = Flow::open(front.namespace(), web, TICK).context("front → web-1")?;
    let denied = Flow::open(spy.namespace(), web, TICK).context("spy → web-1")?;
    allowed.wait_alive(SOON)?;
    denied.wait_alive(SOON)?;
    report.held("before: front → web-1 and spy → web-1 are connected and exchange bytes");
    let stream = to_pod(rack, front, "web-1")?;

    let started = Instant::now();
    manifests::write_policy(rack.manifests())?;
    let silent = denied.wait_cut(SILENCE, SOON).context("spy → web-1 goes on")?;
    // The last answer came this long after the file was saved; the next would have come a tick later.
    let cut = started.elapsed().saturating_sub(silent) + TICK;
    report.held(&format!("spy → web-1 is cut in mid-connection, at most {} after the file was saved", time(cut)));
    report.measure("policy saved → denied connection cut", time(cut));
    allowed.wait_alive(SOON).context("front → web-1")?;
    report.held(&format!("front → web-1 lives, {} exchanges", allowed.exchanged()));
    none_lost(report, "front → web-1 meanwhile", stream.stop()?)?;

    for pod in ["web-1", "web-2"] {
        let target = (rack.pod(pod)?.ipv4()?, PORT).into();
        let refused = connect(spy.namespace(), target, REFUSED)?.is_err();
        report.check(&format!("spy cannot connect to {pod} any more"), refused)?;
    }
    connect(front.namespace(), web, SOON)?.context("front → web-1")?;
    connect(rack.client.namespace(), web, SOON)?.context("client → web-1")?;
    report.held("front and client still can");
    let target = (rack.pod("front")?.ipv4()?, PORT).into();
    connect(spy.namespace(), target, SOON)?.context("spy → front")?;
    report.held("spy still reaches front, which no policy selects");

    let policies = rack.daemons("node-b")?.ask_felix(&["show", "policy", "default/web-1"])?;
    let policy = policies.get("policies").and_then(|list| list.get(0)).context("felix names no policy for web-1")?;
    let field = |key: &str| policy.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = format!("{} {}/{}", field("kind"), field("namespace"), field("name"));
    report.check(&format!("felix names what isolates web-1: {name}"), name == "NetworkPolicy default/web")?;
    let rules = policy.get("ingress").and_then(Value::as_array).cloned().unwrap_or_default();
    report.show(&rules.iter().filter_map(Value::as_str).map(|rule| format!("allow {rule}\n")).collect::<String>());
    Ok(())
}
