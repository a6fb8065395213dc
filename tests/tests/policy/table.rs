//! The table: policies as people write them, and what they let through.

use anyhow::{Context, Result, ensure};
use fabric::{Capture, Lab, wait_until};
use tests::cluster::{SOON, ensure_same};

use crate::{
    one_node, policy,
    world::{
        Flow,
        What::{Tcp, Udp},
        World,
    },
};

struct Case {
    what: &'static str,
    /// Specs of NetworkPolicies of the namespace `default`.
    specs: &'static [&'static str],
    allows: fn(&Flow<'_>) -> bool,
}

const CASES: &[Case] = &[
    Case {
        what: "an empty selector without rules isolates the whole namespace for ingress",
        specs: &["{podSelector: {}, policyTypes: [Ingress]}"],
        allows: |f| f.to.namespace != "default",
    },
    Case {
        what: "both types without rules isolate both directions",
        specs: &["{podSelector: {}, policyTypes: [Ingress, Egress]}"],
        allows: |f| f.to.namespace != "default" && f.from.namespace != "default",
    },
    Case {
        what: "an empty rule allows everything",
        specs: &["{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]}"],
        allows: |_| true,
    },
    Case {
        what: "a pod selector picks pods of the namespace, a port is TCP",
        specs: &[
            "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: front}}}], ports: [{port: 80}]}]}",
        ],
        allows: |f| !f.to.is("default", "web") || f.from.is("default", "front") && f.what == Tcp(80),
    },
    Case {
        what: "a namespace selector picks all pods of namespaces, without ports all protocols",
        specs: &[
            "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {env: prod}}}]}]}",
        ],
        allows: |f| !f.to.is("default", "web") || f.from.namespace == "prod",
    },
    Case {
        what: "an empty namespace selector picks all pods, and nobody who is none",
        specs: &["{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}"],
        allows: |f| f.to.namespace != "default" || f.from.is_pod(),
    },
    Case {
        what: "two selectors in one entry must both hold",
        specs: &[
            "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {env: prod}}, podSelector: {matchLabels: {app: front}}}]}]}",
        ],
        allows: |f| f.to.namespace != "default" || f.from.is("prod", "front"),
    },
    Case {
        what: "two entries are alternatives",
        specs: &[
            "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {env: prod}}}, {podSelector: {matchLabels: {app: front}}}]}]}",
        ],
        allows: |f| f.to.namespace != "default" || f.from.namespace == "prod" || f.from.is("default", "front"),
    },
    Case {
        what: "an address block matches whoever has the address, except its exceptions, in its family only",
        specs: &[
            "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [192.0.2.9/32, 192.0.2.128/25]}}]}]}",
        ],
        allows: |f| f.to.namespace != "default" || !f.v6 && f.from.name != "outside",
    },
    Case {
        what: "an exception cuts its own block only",
        specs: &[
            "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: '2001:db8::/64', except: ['2001:db8::9/128']}}, {ipBlock: {cidr: '2001:db8::8/125'}}]}]}",
        ],
        allows: |f| f.to.namespace != "default" || f.v6 && !f.from.is_pod(),
    },
    Case {
        what: "a range of ports includes its ends",
        specs: &["{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 81}]}]}"],
        allows: |f| f.to.namespace != "default" || matches!(f.what, Tcp(80 | 81)),
    },
    Case {
        what: "a port entry without a port is a whole protocol, and ICMP is not among them",
        specs: &["{podSelector: {}, ingress: [{ports: [{protocol: TCP}]}]}"],
        allows: |f| f.to.namespace != "default" || matches!(f.what, Tcp(_)),
    },
    Case {
        what: "UDP is not TCP",
        specs: &["{podSelector: {}, ingress: [{from: [], ports: [{protocol: UDP, port: 80}, {port: 90}]}]}"],
        allows: |f| f.to.namespace != "default" || matches!(f.what, Udp(80) | Tcp(90)),
    },
    Case {
        what: "a named port is looked up at the pod that is connected to",
        specs: &["{podSelector: {}, ingress: [{ports: [{port: http}, {port: dns, protocol: UDP}]}]}"],
        allows: |f| {
            let named = match f.to.name {
                "web" => matches!(f.what, Tcp(80) | Udp(80)),
                "front" => f.what == Tcp(90),
                "web-b" => f.what == Tcp(81),
                _ => true,
            };
            f.to.namespace != "default" || named
        },
    },
    Case {
        what: "egress to a named port",
        specs: &[
            "{podSelector: {matchLabels: {app: front}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}]}",
        ],
        allows: |f| f.from.name != "front" || matches!((f.to.name, f.what), ("web", Tcp(80)) | ("web-b", Tcp(81))),
    },
    Case {
        what: "egress to pods of other namespaces leaves ingress open",
        specs: &[
            "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {env: prod}}}], ports: [{protocol: UDP, port: 80}, {port: 81}]}]}",
        ],
        allows: |f| f.from.namespace != "default" || f.to.namespace == "prod" && matches!(f.what, Udp(80) | Tcp(81)),
    },
    Case {
        what: "egress to addresses: the node itself and the world outside are addresses",
        specs: &[
            "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.2/32]}}]}]}",
        ],
        allows: |f| f.from.namespace != "default" || !f.v6 && matches!(f.to.name, "outside" | "node a"),
    },
    Case {
        what: "an egress rule without types isolates ingress too",
        specs: &["{podSelector: {matchLabels: {app: front}}, egress: [{}]}"],
        allows: |f| f.to.name != "front",
    },
    Case {
        what: "policies add up",
        specs: &[
            "{podSelector: {}, policyTypes: [Ingress]}",
            "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}",
            "{podSelector: {matchLabels: {tier: back}}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.9/32}}]}]}",
        ],
        allows: |f| {
            let web = f.to.app == "web" && f.from.namespace == "default" && f.what == Tcp(80);
            let back = f.to.name == "web" && f.from.name == "outside" && !f.v6;
            f.to.namespace != "default" || web || back
        },
    },
    Case {
        what: "expressions: a key that is absent satisfies NotIn and DoesNotExist",
        specs: &[
            "{podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [back]}, {key: app, operator: Exists}]}, ingress: [{from: [{podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}}]}]}",
        ],
        allows: |f| !matches!(f.to.name, "front" | "web-b") || matches!(f.from.name, "front" | "web-b"),
    },
    Case {
        what: "egress of one end and ingress of the other must both allow",
        specs: &[
            "{podSelector: {matchLabels: {app: front}}, policyTypes: [Egress], egress: [{ports: [{port: 80}, {port: 81}]}]}",
            "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{ports: [{port: 81}, {port: 90}]}, {from: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: '::/0'}}], ports: [{protocol: UDP, port: 80}]}]}",
        ],
        allows: |f| {
            let out = f.from.name != "front" || matches!(f.what, Tcp(80 | 81));
            let in_ = !f.to.is("default", "web") || matches!(f.what, Tcp(81 | 90) | Udp(80));
            out && in_
        },
    },
    Case {
        what: "without ports ICMP is allowed",
        specs: &[
            "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}, {ports: [{port: 80}]}]}",
        ],
        allows: |f| f.to.namespace != "default" || f.from.is("default", "web") || f.what == Tcp(80),
    },
];

pub(crate) fn judge(lab: &Lab) -> Result<()> {
    let world = World::new(lab)?;
    world.judge(&|_| true).context("without any policy")?;
    let before = [world.workers[0].ruleset()?, world.workers[1].ruleset()?];
    for (number, case) in CASES.iter().enumerate() {
        let names: Vec<_> = (0..case.specs.len()).map(|spec| format!("case-{number}-{spec}")).collect();
        let text: String = names.iter().zip(case.specs).map(|(name, spec)| policy(name, spec)).collect();
        world.cluster.write("case.yaml", &text)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for worker in &world.workers {
            worker.wait_policies(&names).context(case.what)?;
        }
        world.judge(&case.allows).context(case.what)?;
    }
    world.cluster.remove("case.yaml")?;
    for (worker, before) in world.workers.iter().zip(&before) {
        worker.wait_policies(&[])?;
        ensure_same(before, &worker.ruleset()?).context("a deleted policy leaves nothing behind")?;
    }
    world.judge(&|_| true).context("after the last policy")?;
    Ok(())
}

/// The kernel may have no SCTP: packets are made by hand and looked for where they should arrive.
pub(crate) fn sctp(lab: &Lab) -> Result<()> {
    let (cluster, worker, pods) = one_node(lab, &["client", "server"])?;
    let [client, server] = pods.as_slice() else { anyhow::bail!("two pods") };
    let capture = Capture::start(server.inside(), "eth0")?;
    let seen = |port: u16| Ok::<_, anyhow::Error>(!capture.lines(&format!("sctp dst port {port}"))?.is_empty());
    cluster.write("policy.yaml", &policy("sctp", "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{protocol: SCTP, port: 36412}, {port: 36413}]}]}"))?;
    worker.wait_policies(&["sctp"])?;
    for address in [server.ipv4()?, server.ipv6()?] {
        // The one that is denied first: when the other has arrived, this one would have.
        for port in [36413, 36412] {
            crate::guards::send_sctp(client.inside(), address, port)?;
        }
        wait_until("an SCTP packet at the server", SOON, || seen(36412))?;
        ensure!(!seen(36413)?, "a rule for TCP let SCTP through");
    }
    Ok(())
}
