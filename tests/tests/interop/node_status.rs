//! What a node reports where a CalicoNodeStatus asks for it.

use std::fs;

use anyhow::{Context, Result, ensure};
use fabric::{Lab, Need, router::Kind, wait_until};
use serde_json::Value;
use tests::{
    Test,
    cluster::Cluster,
    speakers::{SOON, list, number, text},
    test,
};

use super::cluster::{Three, blocks, status, three, tor};

const ASKS: &str = "apiVersion: projectcalico.org/v3\nkind: CalicoNodeStatus\nmetadata: {name: NAME}\n\
    spec: {node: NODE, classes: [CLASSES], updatePeriodSeconds: 1}\n---\n";

pub(super) fn labs() -> Vec<Test> {
    let needs = [Need::TORTIE, Kind::Bird.needs()];
    vec![test("a_node_reports_its_sessions_and_routes_where_it_is_asked_to", &needs, reports)]
}

fn ask(name: &str, node: &str, classes: &str) -> String {
    ASKS.replace("NAME", name).replace("NODE", node).replace("CLASSES", classes)
}

/// The status of a CalicoNodeStatus, if there is one.
fn report(cluster: &Cluster<'_>, name: &str) -> Result<Option<Value>> {
    let file = cluster.lab().directory().join(format!("manifests/.tortie/status/caliconodestatus/{name}.json"));
    let Ok(text) = fs::read(file) else { return Ok(None) };
    let mut object: Value = serde_json::from_slice(&text)?;
    Ok(object.get_mut("status").map(Value::take))
}

/// Waits for a report of which something holds, and returns it.
fn wait_report(three: &Three<'_>, name: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = None;
    let waited = wait_until(&format!("report {name}"), SOON, || {
        last = report(&three.cluster, name)?;
        Ok(last.as_ref().is_some_and(&holds))
    });
    waited.with_context(|| format!("{last:?}"))?;
    last.context("a report")
}

fn reports(lab: &Lab) -> Result<()> {
    let three = three(lab)?;
    let tor = tor(&three.cluster, |config| config)?;
    for worker in &three.workers {
        status(worker).wait_established("tor")?;
    }
    let asks = [ask("all", "a", "Agent, BGP, Routes"), ask("sessions", "a", "BGP"), ask("other", "elsewhere", "BGP")];
    three.cluster.write("status.yaml", &asks.concat())?;

    let all = wait_report(&three, "all", |report| number(report, "/bgp/numberEstablishedV4") == 3)?;
    ensure!(all.pointer("/agent/birdV4/state") == Some(&"Ready".into()), "{all}");
    ensure!(
        all.pointer("/agent/birdV4/routerID") == Some(&three.workers[0].addresses()[0].to_string().into()),
        "{all}"
    );
    let sessions = all.get("bgp").context("sessions")?;
    let origin = |peer: &str| list(sessions, "peersV4").iter().find(|it| text(it, "peerIP") == peer).cloned();
    for (peer, origin_word) in [("192.0.2.1", "GlobalPeer"), ("192.0.2.12", "NodeMesh"), ("192.0.2.13", "NodeMesh")] {
        let found = origin(peer).with_context(|| format!("no {peer} in {all}"))?;
        ensure!(text(&found, "type") == origin_word && text(&found, "state") == "Established", "{found}");
    }
    let (block, next_hop) = blocks(&three.workers[1])?.into_iter().find(|it| it.1.is_ipv4()).context("a block")?;
    let holds = |report: &Value| {
        let routes = report.pointer("/routes/routesV4").and_then(Value::as_array);
        routes.into_iter().flatten().any(|route| {
            text(route, "destination") == block
                && text(route, "gateway") == next_hop.to_string()
                && text(route, "type") == "FIB"
                && route.pointer("/learnedFrom/sourceType") == Some(&"NodeMesh".into())
        })
    };
    wait_report(&three, "all", holds)?;

    // Only what is asked for, and only of the node that is asked.
    let sessions = wait_report(&three, "sessions", |report| report.get("bgp").is_some())?;
    ensure!(sessions.get("routes").is_none() && sessions.get("agent").is_none(), "{sessions}");
    ensure!(report(&three.cluster, "other")?.is_none(), "nobody is that node");

    // It follows what happens, until nobody asks any more.
    drop(tor);
    wait_report(&three, "all", |report| number(report, "/bgp/numberNotEstablishedV4") == 1)?;
    three.cluster.remove("status.yaml")?;
    let gone = || Ok(report(&three.cluster, "all")?.is_none() && report(&three.cluster, "sessions")?.is_none());
    wait_until("no report any more", SOON, gone).map(drop)
}
