//! What people read when something is wrong: file position, field, value, what is allowed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use datastore::decode::{Decoded, Format, decode};

/// Each problem as `LINE:COLUMN OBJECT: REASON`.
fn problems(text: &str) -> Vec<String> {
    told(&decode(text, Format::Yaml))
}

fn told(decoded: &Decoded) -> Vec<String> {
    let problem = |problem: &datastore::decode::Problem| {
        let position = problem.position.map_or("-".to_owned(), |at| format!("{}:{}", at.line, at.column));
        let key = problem.key.as_ref().map_or("-".to_owned(), ToString::to_string);
        format!("{position} {key}: {}", problem.reason)
    };
    decoded.problems.iter().map(problem).collect()
}

fn calico(kind: &str, spec: &str) -> String {
    format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata:\n  name: x\nspec:\n{spec}")
}

fn policy(spec: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: x\nspec:\n{spec}")
}

#[test]
fn an_unknown_field_is_named_with_those_that_are_known() {
    assert_eq!(
        problems(&calico("IPPool", "  cidr: 10.0.0.0/16\n  bloksize: 3\n")),
        [
            "7:3 IPPool x: spec.bloksize: unknown field `bloksize`, expected one of cidr, vxlanMode, ipipMode, natOutgoing, \
          disabled, disableBGPExport, blockSize, nodeSelector, namespaceSelector, allowedUses, assignmentMode, ipip, \
          nat-outgoing"
        ]
    );
    assert_eq!(
        problems("apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata:\n  name: x\nspek: {}\n"),
        ["5:1 BGPPeer x: spek: unknown field `spek`, expected one of apiVersion, kind, metadata, spec, status"]
    );
    assert_eq!(
        problems(&policy("  ingress:\n  - from:\n    - podSelecter: {}\n")),
        [
            "8:7 NetworkPolicy default/x: spec.ingress[0].from[0].podSelecter: unknown field `podSelecter`, expected one of \
          podSelector, namespaceSelector, ipBlock"
        ]
    );
    assert_eq!(
        problems(&calico("FelixConfiguration", "  logSeverityScren: Info\n")),
        [
            "6:21 FelixConfiguration x: spec.logSeverityScren: \"Info\" is not allowed, must be absent: FelixConfiguration has \
          no such field"
        ]
    );
}

#[test]
fn a_value_of_the_wrong_form_is_named_with_what_is_allowed() {
    let cases = [
        (
            calico("IPPool", "  cidr: 10.0.0.300/16\n"),
            "6:3 IPPool x: spec.cidr: invalid value: string \"10.0.0.300/16\", expected a prefix in CIDR notation such as \
             \"10.0.0.0/24\" or \"fd00::/64\"",
        ),
        (
            calico("IPPool", "  cidr: 10.0.0.0/16\n  ipipMode: Sometimes\n"),
            "7:3 IPPool x: spec.ipipMode: unknown variant `Sometimes`, expected one of Never, Always, CrossSubnet",
        ),
        (calico("IPPool", "  natOutgoing: true\n"), "6:3 IPPool x: spec: missing field `cidr`"),
        (
            calico("IPPool", "  cidr: 10.0.0.0/16\n  nodeSelector: a = 'b'\n"),
            "7:17 IPPool x: spec.nodeSelector: selector \"a = 'b'\", column 3: expected one of ==, !=, in, not in, contains, \
             starts with, ends with",
        ),
        (
            calico("BGPPeer", "  peerIP: 10.0.0.1:99999\n"),
            "6:3 BGPPeer x: spec.peerIP: invalid value: string \"10.0.0.1:99999\", expected an IP address, with a port as \
             \"192.0.2.1:179\" or \"[2001:db8::1]:179\"",
        ),
        (
            calico("BGPPeer", "  peerIP: 10.0.0.1\n  asNumber: 1.10\n"),
            "7:3 BGPPeer x: spec.asNumber: invalid type: floating point `1.1`, expected an AS number: 0 to 4294967295, or \
             two numbers from 0 to 65535 with a dot between them",
        ),
        (
            policy("  ingress:\n  - ports:\n    - port: 70000\n"),
            "8:7 NetworkPolicy default/x: spec.ingress[0].ports[0].port: invalid value: integer `70000`, expected a port \
             from 1 to 65535 or the name of a container port",
        ),
        (
            policy("  policyTypes: [ingress]\n"),
            "6:17 NetworkPolicy default/x: spec.policyTypes[0]: unknown variant `ingress`, expected one of Ingress, Egress",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(problems(&text), [wanted], "{text}");
    }
}

#[test]
fn an_invalid_value_is_told_where_it_is() {
    let cases = [
        (
            calico("IPPool", "  blockSize: 33\n  cidr: 10.0.0.0/16\n"),
            "6:14 IPPool x: spec.blockSize: \"33\" is not allowed, must be from 20 to 32",
        ),
        (
            calico("IPPool", "  cidr: 10.1.2.3/16\n"),
            "6:9 IPPool x: spec.cidr: \"10.1.2.3/16\" is not allowed, must be 10.1.0.0/16, without host bits",
        ),
        (
            policy("  ingress:\n  - ports:\n    - {port: 80, endPort: 79}\n"),
            "8:27 NetworkPolicy default/x: spec.ingress[0].ports[0].endPort: \"79\" is not allowed, must be at least port, \
             which is 80",
        ),
        // A field that should be there is told where it should be.
        (
            calico("BGPFilter", "  importV4:\n  - action: Accept\n    cidr: 10.0.0.0/8\n"),
            "7:5 BGPFilter x: spec.importV4[0].matchOperator: \"\" is not allowed, must be one of Equal, NotEqual, In, NotIn \
             where cidr is set",
        ),
        (
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: n\n  annotations:\n    projectcalico.org/ASNumber: many\n"
                .to_owned(),
            "6:33 Node n: metadata.annotations[projectcalico.org/ASNumber]: \"many\" is not allowed, must be an AS number",
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: A_b\n".to_owned(),
            "4:9 Namespace A_b: metadata.name: \"A_b\" is not allowed, must be at most 253 lower-case letters, digits, '-' \
             and '.', each part beginning and ending with a letter or digit",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(problems(&text), [wanted], "{text}");
    }
}

#[test]
fn every_invalid_field_of_an_object_is_told() {
    let text = calico("IPPool", "  cidr: 10.1.2.3/16\n  blockSize: 40\n");
    assert_eq!(problems(&text).len(), 2);
}

#[test]
fn what_is_no_manifest_is_told_where_it_ends_to_be_one() {
    let cases = [
        ("foo: [\n", "1:6 -: foo: unclosed bracket '['"),
        ("a: b\n\tc: d\n", "1:4 -: while scanning a plain scalar, found a tab"),
        ("kind: Pod\nmetadata: {name: x}\n", "1:1 -: apiVersion: is missing"),
        ("apiVersion: v1\n", "1:1 -: kind: is missing"),
        ("- a\n", "1:1 -: expected mapping start"),
        ("text\n", "1:1 -: expected mapping start"),
        ("apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n", "4:3 -: metadata: missing field `name`"),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  name: b\n",
            "5:3 -: metadata: duplicate mapping key: name",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(problems(text), [wanted], "{text}");
    }
}

#[test]
fn documents_are_counted_and_lines_are_those_of_the_file() {
    let namespace = |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    let text = format!(
        "# a comment\n---\n---\n{}...\n---\n\n--- {{apiVersion: v1, kind: Namespace, metadata: {{name: b}}}}\n---\r\ntext\r\n---\n{}",
        namespace("a"),
        namespace("c"),
    );
    let decoded = decode(&text, Format::Yaml);
    let found: Vec<_> = decoded.objects.iter().map(|(key, (document, _))| (key.name.as_str(), *document)).collect();
    assert_eq!(found, [("a", 0), ("b", 1), ("c", 3)]);
    let problems: Vec<_> = decoded.problems.iter().map(|p| (p.document, p.position.map(|at| at.line))).collect();
    assert_eq!(problems, [(2, Some(12))]);
}

#[test]
fn a_wrong_item_of_a_list_does_not_spoil_the_others() {
    let pool = |name: &str, cidr: &str| {
        format!(
            "- apiVersion: projectcalico.org/v3\n  kind: IPPool\n  metadata: {{name: {name}}}\n  spec: {{cidr: {cidr}}}\n"
        )
    };
    let text = format!(
        "apiVersion: v1\nkind: List\nmetadata: {{resourceVersion: ''}}\nitems:\n{}{}- apiVersion: apps/v1\n  kind: Deployment\n  \
         metadata: {{name: d}}\n{}{}",
        pool("a", "10.0.0.0/16"),
        pool("b", "wrong"),
        pool("c", "10.1.0.1/16"),
        pool("d", "10.2.0.0/16"),
    );
    let decoded = decode(&text, Format::Yaml);
    assert_eq!(decoded.objects.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["a", "d"]);
    assert_eq!(decoded.ignored.len(), 1);
    let told = told(&decoded);
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("12:10 IPPool b: items[1].spec.cidr: invalid value: string \"wrong\""), "{}", told[0]);
    assert!(told[1].starts_with("19:16 IPPool c: items[3].spec.cidr: \"10.1.0.1/16\" is not allowed"), "{}", told[1]);
}

#[test]
fn json_is_read_with_its_positions() {
    let text = "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\n\"metadata\":{\"name\":\"a\"}}\n\n{\"apiVersion\":\
                \"projectcalico.org/v3\",\"kind\":\"IPPool\",\n\"metadata\":{\"name\":\"p\"},\"spec\":{\"cidr\":\"x\"}}\n{\"x\": \n";
    let decoded = decode(text, Format::Json);
    assert_eq!(decoded.objects.len(), 1);
    let told = told(&decoded);
    assert!(told[0].starts_with("5:43 IPPool p: spec.cidr: invalid value: string \"x\""), "{}", told[0]);
    assert_eq!(told[1], "7:1 -: x: EOF while parsing a value");
}

#[test]
fn both_groups_of_calico_are_read() {
    let text = "apiVersion: crd.projectcalico.org/v1\nkind: IPAMConfig\nmetadata:\n  name: default\nspec:\n  strictAffinity: \
                true\n---\napiVersion: crd.projectcalico.org/v1\nkind: BlockAffinity\nmetadata:\n  name: n-10-0-0-0-26\n  \
                annotations:\n    projectcalico.org/metadata: '{\"labels\":{\"a\":\"b\"},\"uid\":\"1\"}'\nspec:\n  cidr: \
                10.0.0.0/26\n  deleted: \"false\"\n  node: n\n  state: confirmed\n";
    let decoded = decode(text, Format::Yaml);
    assert_eq!(told(&decoded), Vec::<String>::new());
    let keys: Vec<_> = decoded.objects.keys().map(ToString::to_string).collect();
    assert_eq!(keys, ["IPAMConfiguration default", "BlockAffinity n-10-0-0-0-26"]);
    let (_, affinity) = decoded.objects.last_key_value().unwrap().1;
    assert_eq!(affinity.metadata().labels["a"], "b");
    assert!(affinity.metadata().annotations.is_empty());
}

#[test]
fn large_manifests_are_read() {
    let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: a}}\nspec: [{}]\n", "1,".repeat(260_000));
    let decoded = decode(&text, Format::Yaml);
    assert_eq!((decoded.objects.len(), told(&decoded)), (1, Vec::new()));
}
