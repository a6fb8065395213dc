//! BGPFilters between nodes and a router: what passes, what it carries, which rule says no, and that nothing resets.

use anyhow::{Result, ensure};
use fabric::{Lab, Need, router::Kind, wait_until};
use tests::{
    Test,
    seen::seen,
    speakers::{SOON, addresses, list, text},
    test,
};

use super::cluster::{blocks, status, three, tor};

const PEER: &str = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\n\
    spec: {peerIP: 192.0.2.1, asNumber: 65001, filters: [lab]}\n";
const KEPT_OUT: &str = "198.51.100.0/24";
const LET_IN: &str = "203.0.113.0/24";

pub(super) fn labs() -> Vec<Test> {
    let needs = [Need::TORTIE, Kind::Bird.needs()];
    vec![test("a_filter_decides_what_passes_and_changes_without_a_reset", &needs, live)]
}

fn filter(import: &str, export: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: BGPFilter\nmetadata: {{name: lab}}\n\
         spec:\n  importV4: [{import}]\n  exportV4: [{export}]\n"
    )
}

fn reject(prefix: &str) -> String {
    format!("{{action: Reject, cidr: {prefix}, matchOperator: Equal}}")
}

fn live(lab: &Lab) -> Result<()> {
    let three = three(lab)?;
    let a = &three.workers[0];
    let tor = tor(&three.cluster, |config| config.network(KEPT_OUT))?;
    for prefix in [KEPT_OUT, LET_IN] {
        status(a).wait_kernel(prefix, &[addresses(1).0])?;
    }
    let since = |name: &str| Ok::<_, anyhow::Error>(text(&status(a).peer(name)?, "since").to_owned());
    let before = [since("tor")?, since("b")?];

    // A rule per direction: one prefix stays out, blocks carry a mark and a longer path.
    let tag = "{action: Accept, cidr: 10.65.0.0/16, matchOperator: In, prefixLength: {min: 26, max: 26}, operations: [\
               {addCommunity: {value: \"64512:7\"}}, {addCommunity: {value: \"64512:1:2\"}}, {prependASPath: {prefix: [64600]}}]}";
    three.cluster.write("filter.yaml", &filter(&reject(KEPT_OUT), tag))?;
    three.cluster.write("tor.yaml", PEER)?;
    status(a).wait_kernel(KEPT_OUT, &[])?;
    status(a).wait_kernel(LET_IN, &[addresses(1).0])?;
    status(a).wait_why(KEPT_OUT, "tor", "Filter (BGPFilter lab importV4[0])")?;
    let block = blocks(a)?.into_iter().find(|(block, _)| !block.contains(':')).map(|it| it.0).unwrap_or_default();
    wait_until("the router sees the mark", SOON, || {
        let seen = seen(&tor, &block)?;
        Ok(seen.communities.contains("64512:7")
            && seen.large_communities.contains("64512:1:2")
            && seen.as_path == [64512, 64600])
    })?;

    // The filter changes: the other prefix stays out, the block is not told.
    three.cluster.write("filter.yaml", &filter(&reject(LET_IN), &reject(&block)))?;
    status(a).wait_kernel(LET_IN, &[])?;
    status(a).wait_kernel(KEPT_OUT, &[addresses(1).0])?;
    wait_until("the router loses the block", SOON, || Ok(!tor.routes()?.contains_key(&block)))?;
    let (_, explained) = status(a).run(&["explain", &block])?;
    ensure!(explained.contains("tor: Filter (BGPFilter lab exportV4[0])"), "{explained}");
    ensure!([since("tor")?, since("b")?] == before, "a session was touched");

    // Without it nothing may pass unfiltered: the peer is kept down and the reason named.
    three.cluster.remove("filter.yaml")?;
    status(a).wait_kernel(KEPT_OUT, &[])?;
    let reply = status(a).ask(&["show", "peers"])?;
    let conditions = reply.get("speaker").map(|it| list(it, "conditions").to_vec()).unwrap_or_default();
    ensure!(conditions.iter().any(|it| it.to_string().contains("there is no BGPFilter lab")), "{conditions:?}");
    three.cluster.write("filter.yaml", &filter("", ""))?;
    status(a).wait_established("tor")?;
    status(a).wait_kernel(LET_IN, &[addresses(1).0])?;
    ensure!(since("b")? == before[1], "a session of the mesh was touched");
    Ok(())
}
