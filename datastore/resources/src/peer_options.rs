//! What a BGP session may be told beyond Calico's API.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{AsPathOptions, Bfd, BgpConfiguration, BgpPeer, Duration, Invalid, LongLivedRestart, ObjectMeta, Role};

/// The annotation that holds [`PeerOptions`] as JSON. On a BGPPeer it is for the sessions of that object, on the
/// BGPConfiguration `default` for the node-to-node mesh.
///
/// An annotation and no kind of its own: it comes and goes with the object it belongs to, nobody has to keep two objects
/// in step, no CRD has to be installed, and Calico, which reads the same object, leaves it alone.
pub const PEER_ANNOTATION: &str = "tortie.io/peer";

/// Options of a session. The same keys stand in `peers` of a router's static file. What is absent has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PeerOptions {
    /// A text for people, shown in status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The session is kept down by the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<Shutdown>,
    /// Hold time offered: 0, or 3 s to 65535 s; default 90 s.
    #[serde(deserialize_with = "time", skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<Duration>,
    /// Time between KEEPALIVEs, 1 s to 65535 s; default a third of the negotiated hold time.
    #[serde(deserialize_with = "time", skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<Duration>,
    /// How long nothing may be accepted by the peer's TCP before the session ends (RFC 9687), longer than the hold time and
    /// at most 65535 s; default 480 s, or twice the hold time if that is longer.
    #[serde(deserialize_with = "time", skip_serializing_if = "Option::is_none")]
    pub send_hold_time: Option<Duration>,
    /// Pause between dials before back-off, 1 s to 65535 s; default 5 s.
    #[serde(deserialize_with = "time", skip_serializing_if = "Option::is_none")]
    pub connect_retry_time: Option<Duration>,
    /// We wait for the peer to dial.
    pub passive: bool,
    /// Families offered; default both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub families: Option<Vec<AddressFamily>>,
    /// Bound on what the peer may send, per family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_prefixes: Option<MaxPrefixes>,
    /// Graceful restart (RFC 4724).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestart>,
    /// Long-lived graceful restart (RFC 9494); default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_lived_restart: Option<LongLivedRestart>,
    /// What is done to AS_PATH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_path: Option<AsPathOptions>,
    /// Next hop of what it is sent; default `auto`. In Calico `spec.nextHopMode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<NextHop>,
    /// We are a route server to it: what others sent goes to it with AS_PATH, NEXT_HOP and MED as it came (RFC 7947).
    pub route_server_client: bool,
    /// What we are to it, so that no route leaks (RFC 9234); default none. It counts between two AS only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// With `role`: the peer is refused if it tells no role; default false.
    pub strict_role: bool,
    /// Several paths to one prefix (RFC 7911); default neither way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_path: Option<AddPath>,
    /// BFD with the peer; `{}` for the defaults, absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bfd: Option<Bfd>,
}

/// Next hop of what a peer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NextHop {
    /// Our address to an external peer, unchanged to an internal one.
    Auto,
    /// Our address.
    #[serde(rename = "self")]
    Own,
    /// Unchanged.
    Keep,
}

/// A session that the operator keeps down (Cease 6/2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Shutdown {
    /// What the peer's operator is told (RFC 9003): at most 128 octets of UTF-8.
    pub message: String,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressFamily {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

/// A bound on the prefixes that a peer may send in one family (RFC 4271 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaxPrefixes {
    /// Most prefixes, before any filter; from 1.
    pub limit: u32,
    /// Warn at this share of it, 1 to 100; default 75.
    #[serde(default = "three_quarters")]
    pub warn_percent: u8,
    /// What to do beyond it; default `block`.
    #[serde(default)]
    pub action: LimitAction,
    /// With `restart`: when the session is tried again, 1 s to 65535 s.
    #[serde(default, deserialize_with = "time", skip_serializing_if = "Option::is_none")]
    pub restart_after: Option<Duration>,
}

/// What to do with a peer that sends too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitAction {
    /// Say so.
    Warn,
    /// Refuse new prefixes and go on with the known ones.
    #[default]
    Block,
    /// End the session until a command.
    Down,
    /// End the session and try again later.
    Restart,
}

/// Graceful restart with a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GracefulRestart {
    /// Whether it is offered and heeded; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How long the peer shall keep our routes; at most 4095 s, default 120 s.
    #[serde(deserialize_with = "time", skip_serializing_if = "Option::is_none")]
    pub restart_time: Option<Duration>,
    /// How long its stale routes stay once it is back and has not sent End-of-RIB; default 360 s.
    #[serde(deserialize_with = "time", skip_serializing_if = "Option::is_none")]
    pub stale_time: Option<Duration>,
}

/// ADD-PATH with a peer, in all families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AddPath {
    /// We take several paths to a prefix from it.
    pub receive: bool,
    /// We send it this many paths to a prefix, the best ones; 0: the best one alone, without ADD-PATH.
    pub send_max: u16,
}

impl PeerOptions {
    /// Finds what holds what it must not; `at` gives the path of a field.
    pub fn validate(&self, at: &dyn Fn(&str) -> String, out: &mut Vec<Invalid>) {
        let times = [
            ("holdTime", self.hold_time.filter(|it| it.0.as_secs() != 0), 3, "0, or 3 to 65535 seconds"),
            ("keepaliveTime", self.keepalive_time, 1, "1 to 65535 seconds"),
            ("connectRetryTime", self.connect_retry_time, 1, "1 to 65535 seconds"),
        ];
        let hold_time = self.hold_time.map_or(90, |it| it.0.as_secs());
        let beyond = "longer than the hold time, at most 65535 seconds";
        seconds(at("sendHoldTime"), self.send_hold_time, hold_time + 1..=u16::MAX.into(), beyond, out);
        for (field, time, least, allowed) in times {
            seconds(at(field), time, least..=u16::MAX.into(), allowed, out);
        }
        if let Some(families) = self.families.as_ref().filter(|families| families.is_empty()) {
            out.push(Invalid::new(at("families"), format!("{families:?}"), "ipv4, ipv6 or both"));
        }
        if let Some(message) = self.shutdown.as_ref().map(|it| &it.message).filter(|it| it.len() > 128) {
            out.push(Invalid::new(at("shutdown.message"), message, "at most 128 octets"));
        }
        if let Some(restart) = &self.graceful_restart {
            let field = at("gracefulRestart.restartTime");
            seconds(field, restart.restart_time, 0..=4095, "0 to 4095 seconds", out);
            let field = at("gracefulRestart.staleTime");
            seconds(field, restart.stale_time, 1..=u16::MAX.into(), "1 to 65535 seconds", out);
        }
        if let Some(limit) = &self.max_prefixes {
            limit.validate(at, out);
        }
        if let Some(long_lived) = &self.long_lived_restart {
            long_lived.validate(at, out);
            let restart = self.graceful_restart.and_then(|it| it.enabled);
            if restart == Some(false) {
                let allowed = "absent where gracefulRestart is not enabled";
                out.push(Invalid::new(at("longLivedRestart"), "", allowed));
            }
        }
        if let Some(as_path) = &self.as_path {
            as_path.validate(at, out);
        }
        if self.route_server_client && self.role.is_some_and(|role| role != Role::RouteServer) {
            out.push(Invalid::new(at("role"), "", "routeServer, or none, where routeServerClient is set"));
        }
        if self.strict_role && self.role.is_none() {
            out.push(Invalid::new(at("strictRole"), true, "absent unless role is set"));
        }
        if let Some(bfd) = &self.bfd {
            bfd.validate(&at("bfd"), out);
        }
    }
}

impl MaxPrefixes {
    fn validate(&self, at: &dyn Fn(&str) -> String, out: &mut Vec<Invalid>) {
        if self.limit == 0 {
            out.push(Invalid::new(at("maxPrefixes.limit"), 0, "from 1"));
        }
        if !(1..=100).contains(&self.warn_percent) {
            out.push(Invalid::new(at("maxPrefixes.warnPercent"), self.warn_percent, "from 1 to 100"));
        }
        let field = at("maxPrefixes.restartAfter");
        match (self.action, self.restart_after) {
            (LimitAction::Restart, None) => out.push(Invalid::new(field, "", "set where action is restart")),
            (LimitAction::Restart, after) => {
                seconds(field, after, 1..=u16::MAX.into(), "1 to 65535 seconds", out);
            }
            (_, Some(after)) => out.push(Invalid::new(field, after, "absent unless action is restart")),
            (_, None) => {}
        }
    }
}

fn seconds(
    field: String,
    time: Option<Duration>,
    range: std::ops::RangeInclusive<u64>,
    allowed: &str,
    out: &mut Vec<Invalid>,
) {
    let wrong = time.filter(|time| !range.contains(&time.0.as_secs()));
    out.extend(wrong.map(|time| Invalid::new(field, time, allowed)));
}

impl BgpPeer {
    /// The options of its sessions.
    pub fn options(&self) -> PeerOptions {
        read(&self.metadata).and_then(Result::ok).unwrap_or_default()
    }

    pub(crate) fn validate_annotations(&self, out: &mut Vec<Invalid>) {
        validate(&self.metadata, out);
        if let (Some(time), Some(_)) = (self.options().keepalive_time, self.spec.keepalive_time) {
            out.push(Invalid::new(field("keepaliveTime"), time, "absent where spec.keepaliveTime is set"));
        }
        let as_path = self.options().as_path.unwrap_or_default();
        if let (Some(number), Some(_)) = (as_path.allow_own, self.spec.num_allowed_local_as_numbers) {
            out.push(Invalid::new(
                field("asPath.allowOwn"),
                number,
                "absent where spec.numAllowedLocalASNumbers is set",
            ));
        }
        if let (Some(number), Some(_)) = (as_path.local.and_then(|it| it.number), self.spec.local_as_number) {
            out.push(Invalid::new(field("asPath.local.number"), number, "absent where spec.localASNumber is set"));
        }
        if self.options().next_hop.is_some() && (self.spec.next_hop_mode.is_some() || self.spec.keep_original_next_hop)
        {
            out.push(Invalid::new(field("nextHop"), "", "absent where spec.nextHopMode is set"));
        }
        let restart_time = self.options().graceful_restart.and_then(|it| it.restart_time);
        if let (Some(time), Some(_)) = (restart_time, self.spec.max_restart_time) {
            let field = field("gracefulRestart.restartTime");
            out.push(Invalid::new(field, time, "absent where spec.maxRestartTime is set"));
        }
    }
}

impl BgpConfiguration {
    /// The options of the sessions of the node-to-node mesh.
    pub fn mesh_options(&self) -> PeerOptions {
        read(&self.metadata).and_then(Result::ok).unwrap_or_default()
    }

    pub(crate) fn validate_annotations(&self, out: &mut Vec<Invalid>) {
        match self.metadata.annotations.get(PEER_ANNOTATION) {
            Some(text) if self.metadata.name != "default" => {
                let allowed = "absent but on the BGPConfiguration default: both ends of the mesh must agree";
                out.push(Invalid::new(annotation(), text, allowed));
            }
            _ => validate(&self.metadata, out),
        }
        if self.mesh_options().as_path.is_some_and(|it| it.local.is_some()) || self.mesh_options().route_server_client {
            let allowed = "without asPath.local and routeServerClient: the nodes of a mesh are of one AS";
            out.push(Invalid::new(annotation(), "", allowed));
        }
        if self.mesh_options().role.is_some() {
            out.push(Invalid::new(field("role"), "", "absent: the nodes of a mesh are of one AS"));
        }
        if self.mesh_options().passive {
            out.push(Invalid::new(field("passive"), true, "absent: of two nodes of the mesh one must dial"));
        }
    }
}

fn annotation() -> String {
    format!("metadata.annotations[{PEER_ANNOTATION}]")
}

fn field(name: &str) -> String {
    format!("{}.{name}", annotation())
}

fn validate(metadata: &ObjectMeta, out: &mut Vec<Invalid>) {
    match read(metadata) {
        None => {}
        Some(Ok(options)) => options.validate(&field, out),
        Some(Err(error)) => {
            let text = metadata.annotations.get(PEER_ANNOTATION).map(String::as_str).unwrap_or_default();
            out.push(Invalid::new(annotation(), text, format!("the options of a peer as JSON ({error})")));
        }
    }
}

fn read(metadata: &ObjectMeta) -> Option<Result<PeerOptions, serde_json::Error>> {
    metadata.annotations.get(PEER_ANNOTATION).map(|text| serde_json::from_str(text))
}

const fn three_quarters() -> u8 {
    75
}

/// Seconds as a number, or a duration as the APIs write it.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    struct Visitor;

    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Option<Duration>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("seconds such as 90, or a duration such as \"90s\" or \"1m30s\"")
        }

        fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Self::Value, E> {
            Ok(Some(Duration(std::time::Duration::from_secs(seconds))))
        }

        fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Self::Value, E> {
            let seconds =
                u64::try_from(seconds).map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))?;
            self.visit_u64(seconds)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            text.parse().map(Some).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_any(self)
        }
    }

    deserializer.deserialize_any(Visitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(annotation: &str) -> BgpPeer {
        let mut metadata = ObjectMeta::named("tor");
        metadata.annotations.insert(PEER_ANNOTATION.to_owned(), annotation.to_owned());
        BgpPeer { metadata, spec: crate::BgpPeerSpec::default() }
    }

    fn refusals(annotation: &str) -> Vec<String> {
        let mut out = Vec::new();
        peer(annotation).validate_annotations(&mut out);
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn without_an_annotation_and_with_an_empty_object_everything_has_its_default() {
        assert_eq!(peer("{}").options(), PeerOptions::default());
        let without = BgpPeer { metadata: ObjectMeta::named("tor"), spec: crate::BgpPeerSpec::default() };
        assert_eq!(without.options(), PeerOptions::default());
    }

    #[test]
    fn the_mesh_has_them_from_the_default_configuration_and_from_no_other() {
        for (name, refused) in [("default", 0), ("node.a", 1)] {
            let configuration = BgpConfiguration {
                metadata: ObjectMeta { name: name.to_owned(), ..peer(r#"{"holdTime": 9}"#).metadata },
                spec: Default::default(),
            };
            let mut out = Vec::new();
            configuration.validate_annotations(&mut out);
            assert_eq!(out.len(), refused, "{name}: {out:?}");
            assert_eq!(configuration.mesh_options().hold_time, Some("9s".parse().unwrap()));
        }
    }

    #[test]
    fn every_option_is_read_and_written_alike() {
        let all = r#"{"description": "rack 7", "shutdown": {"message": "maintenance"}, "holdTime": "9s",
            "keepaliveTime": "3s", "sendHoldTime": "20s", "connectRetryTime": "2s", "passive": true, "families": ["ipv4", "ipv6"],
            "maxPrefixes": {"limit": 500, "warnPercent": 80, "action": "restart", "restartAfter": "1m0s"},
            "gracefulRestart": {"enabled": true, "restartTime": "30s", "staleTime": "1m0s"},
            "longLivedRestart": {"ipv4": {"staleTime": "1h0m0s"}, "ipv6": {"maxStaleTime": "2m0s"}, "toAllInternal": true},
            "asPath": {"allowOwn": 1, "enforceFirst": false, "rejectSets": true, "removePrivate": "replace",
                "local": {"number": 65100, "prependInbound": true, "prependOutbound": true}},
            "nextHop": "self", "routeServerClient": true, "role": "routeServer", "strictRole": true, "addPath": {"receive": true, "sendMax": 4},
            "bfd": {"minInterval": "0.1s", "multiplier": 5, "multihop": true, "minTTL": 250, "strict": true}}"#;
        assert_eq!(refusals(all), Vec::<String>::new());
        let written = serde_json::to_value(peer(all).options()).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(all).unwrap());
    }

    #[test]
    fn a_time_is_a_number_of_seconds_or_a_duration() {
        for text in ["90", "\"90s\"", "\"1m30s\""] {
            let options = peer(&format!(r#"{{"holdTime": {text}}}"#)).options();
            assert_eq!(options.hold_time.map(|it| it.0.as_secs()), Some(90), "{text}");
        }
        assert_eq!(peer(r#"{"holdTime": null}"#).options().hold_time, None);
        assert!(refusals(r#"{"holdTime": -1}"#)[0].contains("expected seconds such as 90"));
    }

    #[test]
    fn a_mistake_is_refused_with_field_value_and_what_is_allowed() {
        for (annotation, field, part) in [
            ("on", "", "the options of a peer as JSON"),
            (r#"{"hold": 9}"#, "", "unknown field `hold`"),
            (r#"{"holdTime": 2}"#, ".holdTime", "0, or 3 to 65535 seconds"),
            (r#"{"holdTime": 65536}"#, ".holdTime", "0, or 3 to 65535 seconds"),
            (r#"{"keepaliveTime": 0}"#, ".keepaliveTime", "1 to 65535 seconds"),
            (r#"{"connectRetryTime": "10ms"}"#, ".connectRetryTime", "1 to 65535 seconds"),
            (r#"{"families": []}"#, ".families", "ipv4, ipv6 or both"),
            (r#"{"families": ["ipx"]}"#, "", "unknown variant `ipx`"),
            (r#"{"maxPrefixes": {"limit": 0}}"#, ".maxPrefixes.limit", "from 1"),
            (r#"{"maxPrefixes": {"limit": 1, "warnPercent": 0}}"#, ".maxPrefixes.warnPercent", "from 1 to 100"),
            (r#"{"maxPrefixes": {"limit": 1, "action": "restart"}}"#, ".maxPrefixes.restartAfter", "set where"),
            (r#"{"maxPrefixes": {"limit": 1, "restartAfter": 5}}"#, ".maxPrefixes.restartAfter", "absent unless"),
            (r#"{"gracefulRestart": {"restartTime": 4096}}"#, ".gracefulRestart.restartTime", "0 to 4095 seconds"),
            (
                r#"{"longLivedRestart": {"ipv6": {"staleTime": 16777216}}}"#,
                ".longLivedRestart.ipv6.staleTime",
                "0 to 16777215 s",
            ),
            (
                r#"{"longLivedRestart": {"ipv4": {}}, "gracefulRestart": {"enabled": false}}"#,
                ".longLivedRestart",
                "absent where gracefulRestart is not enabled",
            ),
            (r#"{"asPath": {"local": {"number": 0}}}"#, ".asPath.local.number", "1 to 4294967295"),
            (r#"{"asPath": {"allowOwn": 256}}"#, "", "expected u8"),
            (r#"{"routeServerClient": true, "role": "peer"}"#, ".role", "routeServer, or none"),
            (r#"{"nextHop": "other"}"#, "", "unknown variant `other`"),
            (r#"{"role": "friend"}"#, "", "unknown variant `friend`"),
            (r#"{"strictRole": true}"#, ".strictRole", "absent unless role is set"),
            (r#"{"bfd": {"minInterval": "1ms"}}"#, ".bfd.minInterval", "from 10ms to 60s"),
        ] {
            let refused = refusals(annotation);
            let begins = format!("metadata.annotations[tortie.io/peer]{field}: ");
            assert!(
                refused.len() == 1 && refused[0].starts_with(&begins) && refused[0].contains(part),
                "{annotation}: {refused:?}"
            );
        }
        let message = format!(r#"{{"shutdown": {{"message": "{}"}}}}"#, "x".repeat(129));
        assert!(refusals(&message)[0].contains("at most 128 octets"));
    }

    #[test]
    fn what_calico_has_a_field_for_is_said_once() {
        let mut peer = peer(
            r#"{"keepaliveTime": 3, "gracefulRestart": {"restartTime": 30}, "nextHop": "self",
            "asPath": {"allowOwn": 1, "local": {"number": 65100}}}"#,
        );
        peer.spec.keepalive_time = Some("3s".parse().unwrap());
        peer.spec.max_restart_time = Some("30s".parse().unwrap());
        peer.spec.num_allowed_local_as_numbers = Some(1);
        peer.spec.local_as_number = Some("65100".parse().unwrap());
        peer.spec.next_hop_mode = Some(crate::NextHopMode::Keep);
        let mut out = Vec::new();
        peer.validate_annotations(&mut out);
        assert_eq!(out.len(), 5, "{out:?}");
    }
}
