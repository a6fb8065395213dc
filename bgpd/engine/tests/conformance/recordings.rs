//! Recordings: what is recorded plays again, and what differs is told.

use std::time::Duration;

use bytes::Bytes;
use engine::case::{Input, Output, Recorder, play};
use engine::{
    Filters, Guards, Instant, OriginAttributes, PeerConfig, PeerKind, RemoteAs, Shutdown, Speaker, SpeakerConfig,
};

/// A speaker that is recorded, as a shell does it.
struct Recorded {
    speaker: Speaker,
    recorder: Recorder,
    sent: Vec<(engine::ConnId, usize)>,
}

impl Recorded {
    fn polls(&mut self) {
        while let Some(it) = self.speaker.poll_next_hop() {
            self.recorder.output(Some(Output::NextHop(&it)));
        }
        while let Some(it) = self.speaker.poll_fib() {
            self.recorder.output(Some(Output::Fib(&it)));
        }
        while let Some(it) = self.speaker.poll_event() {
            self.recorder.output(Some(Output::Event(&it)));
        }
        while let Some(it) = self.speaker.poll_action() {
            if let engine::Action::Send { conn, bytes } = &it {
                self.sent.push((*conn, bytes.len()));
            }
            self.recorder.output(Some(Output::Action(&it)));
        }
        self.recorder.output(None);
    }
}

/// A session that comes up, learns a route, announces one, and ends.
fn recording() -> String {
    let at = |millis| Instant::new(Duration::from_millis(millis));
    let config = SpeakerConfig::new(65001, [10, 0, 0, 1].into());
    let mut recorder = Recorder::default();
    recorder.input(Some(at(1)), &Input::Speaker { config: Box::new(config.clone()), seed: 7 });
    let mut it = Recorded { speaker: Speaker::new(config, 7, at(1)), recorder, sent: Vec::new() };
    it.polls();
    let mut peer = PeerConfig::new("r # 1", "192.0.2.1".parse().unwrap(), RemoteAs::Exactly(65002), PeerKind::External);
    peer.passive = true;
    peer.connect_retry = Duration::from_millis(1500);
    peer.filters = Filters::default();
    it.recorder.input(Some(at(2)), &Input::SetPeer(Box::new(peer.clone())));
    it.speaker.set_peer(at(2), peer);
    let guards = Guards { pools: vec!["10.65.0.0/16".parse().unwrap()], ..Guards::default() };
    it.recorder.input(Some(at(2)), &Input::SetGuards(Box::new(guards.clone())));
    it.speaker.set_guards(at(2), guards);
    let (source, prefix, attributes) =
        ("felix".to_owned(), "10.65.0.0/26".parse().unwrap(), OriginAttributes::new("block of a pool"));
    it.recorder.input(Some(at(2)), &Input::Originate { source, prefix, attributes: attributes.clone() });
    it.speaker.originate(at(2), "felix", prefix, attributes);
    it.polls();
    let (local, remote) = ("192.0.2.254:179".parse().unwrap(), "192.0.2.1:40000".parse().unwrap());
    let conn = it.speaker.handle_accepted(at(3), local, remote, None);
    it.recorder.input(Some(at(3)), &Input::Accepted { conn, local, remote, interface: None });
    it.polls();
    let conn = conn.unwrap();
    let open = "ffffffffffffffffffffffffffffffff002b0104fdea005ac00002010e020c010400010001410400 00fdea";
    let update = "ffffffffffffffffffffffffffffffff002f020000001440010100400206020100 00fdea400304c000020118cb0071";
    let keepalive = "ffffffffffffffffffffffffffffffff001304";
    for (number, hex) in (4..).zip([open, keepalive, update]) {
        let hex: String = hex.split_whitespace().collect();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        it.recorder.input(Some(at(number)), &Input::Received { conn, bytes: Bytes::from(bytes.clone()) });
        it.speaker.handle_received(at(number), conn, &bytes);
        it.polls();
        for (conn, count) in std::mem::take(&mut it.sent) {
            it.recorder.input(Some(at(number)), &Input::Sent { conn, count });
            it.speaker.handle_sent(at(number), conn, count);
        }
        it.polls();
    }
    let reachability = Some(engine::Reachability { metric: 0, interface: 4, gateway: None, onlink: false });
    let next_hop = "192.0.2.1".parse().unwrap();
    it.recorder.input(Some(at(9)), &Input::SetReachability { next_hop, reachability });
    it.speaker.set_reachability(at(9), next_hop, reachability);
    it.polls();
    it.recorder.input(Some(at(70_000)), &Input::Timeout);
    it.speaker.handle_timeout(at(70_000));
    it.polls();
    it.recorder.input(Some(at(70_001)), &Input::Shutdown(Shutdown::Administrative { reason: "a new disk".to_owned() }));
    it.speaker.shutdown(at(70_001), Shutdown::Administrative { reason: "a new disk".to_owned() });
    it.polls();
    it.recorder.take()
}

#[test]
fn what_was_recorded_comes_out_again_to_the_octet() {
    let text = recording();
    let outcome = play(&text);
    assert_eq!(outcome.problems, Vec::<String>::new(), "{text}");
    for part in ["UPDATE origin=IGP path=65001", "NOTIFICATION 6/2", "> fib Replace", "poll\n", "> next-hop Track"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    assert!(outcome.asserted > 10, "{text}");
}

#[test]
fn every_line_of_a_recording_that_is_changed_or_left_out_is_told() {
    let text = recording();
    let lines: Vec<&str> = text.lines().collect();
    let mut told = 0;
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("> ")) {
        let mut without = lines.clone();
        without.remove(at);
        // The last of several that came at once is missed like the first.
        let outcome = play(&without.join("\n"));
        let alone = !lines[at - 1].starts_with("> ") && !lines.get(at + 1).is_some_and(|it| it.starts_with("> "));
        assert!(alone || !outcome.problems.is_empty(), "nobody missed {line}");
        let mut other = lines.clone();
        other[at] = "> something else";
        let outcome = play(&other.join("\n"));
        let problem = format!("line {}: different", at + 1);
        assert!(outcome.problems.iter().any(|it| it.starts_with(&problem)), "{line}: {:?}", outcome.problems);
        told += 1;
    }
    assert!(told > 10);
}

#[test]
fn octets_that_differ_are_told_as_messages() {
    let text = recording();
    let sent = text.lines().find(|line| line.contains("# UPDATE origin") && line.starts_with("> c")).unwrap();
    let (head, tail) = sent.split_once(" # ").unwrap();
    let lie = format!("{}c0 # {tail}", &head[..head.len() - 2]);
    let outcome = play(&text.replace(sent, &lie));
    let problem = outcome.problems.join("\n");
    assert!(problem.contains("expected > c1 UPDATE origin=IGP path=65001"), "{problem}");
    assert!(problem.contains("got      > c1 UPDATE origin=IGP path=65001"), "{problem}");
}

#[test]
fn changes_that_take_their_time_are_read_as_they_were_written() {
    let peer = PeerConfig::new("node b", "192.0.2.2".parse().unwrap(), RemoteAs::Internal, PeerKind::Client);
    for (input, line) in [
        (
            Input::SetPeerGently { config: Box::new(peer), linger: Duration::from_secs(120) },
            "turn 120000 \"node b\" 192.0.2.2 client internal",
        ),
        (Input::RetirePeer { peer: "b".to_owned(), bound: Duration::from_millis(500) }, "retire b 500"),
        (Input::SetClusterId(Some([224, 0, 0, 1].into())), "cluster-id 224.0.0.1"),
        (Input::SetClusterId(None), "cluster-id none"),
    ] {
        assert_eq!(input.to_string(), line);
        assert_eq!(Input::parse(line), Ok(input));
    }
}
