//! BFD with FRR's bfdd, with BIRD and with tortie itself: sessions come up, a cut is seen in time, restarts are no failures.
//!
//! tortie (1) and the other router (2) on one switch, so that a cut takes no carrier away.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use fabric::{
    Capture, Lab, Node, Process, binary,
    router::{Bfd, Config, Kind, Peer, Router},
    wait_until,
};
use serde_json::Value;
use tests::{
    Test,
    seen::{birdc, vtysh},
    speakers::{SOON, Status, addresses, list, nodes, number, text},
    test,
};

const TORTIE: u32 = 65001;
const OTHER: u32 = 65002;
const OURS: &str = "10.65.0.0/26";
const THEIRS: &str = "203.0.113.0/24";
const FAST: Bfd = Bfd { interval: 100, multihop: false, graceful: false };
/// Three times the interval.
const DETECTION: Duration = Duration::from_millis(300);
/// What a machine that others keep busy may add, from the cut to the log line.
const SLACK: Duration = Duration::from_millis(200);

pub(super) fn labs() -> Vec<Test> {
    let tortie = Kind::Tortie.needs();
    let with = |kind: Kind| [tortie, kind.needs()];
    vec![
        test("bfd_with_bird_sees_a_cut_within_three_intervals", &with(Kind::Bird), |lab| cut(lab, Kind::Bird, FAST)),
        test("bfd_with_frr_sees_a_cut_within_three_intervals", &with(Kind::Frr), |lab| cut(lab, Kind::Frr, FAST)),
        test("multihop_bfd_with_bird_sees_a_cut_within_three_intervals", &with(Kind::Bird), |lab| {
            cut(lab, Kind::Bird, Bfd { multihop: true, ..FAST })
        }),
        test("multihop_bfd_with_frr_sees_a_cut_within_three_intervals", &with(Kind::Frr), |lab| {
            cut(lab, Kind::Frr, Bfd { multihop: true, ..FAST })
        }),
        test("bfd_at_100_ms_holds_on_a_busy_machine", &with(Kind::Frr), busy),
        test("bird_keeps_routes_of_a_tortie_that_dies_and_returns", &with(Kind::Bird), |lab| {
            returns(lab, Kind::Bird, Router::kill)
        }),
        test("frr_keeps_routes_of_a_tortie_that_dies_and_returns", &with(Kind::Frr), |lab| {
            returns(lab, Kind::Frr, Router::kill)
        }),
        test("a_tortie_that_is_back_before_bfd_misses_it_loses_nothing", &[tortie], back_at_once),
        test("a_bird_that_dies_keeps_its_routes_whatever_bfd_says", &with(Kind::Bird), bird_dies),
        test("in_strict_mode_a_session_waits_until_bfd_is_up", &[tortie], strict),
        test("strict_mode_does_not_wait_for_an_frr_that_has_none", &with(Kind::Frr), strict_alone),
        test("frr_hears_that_a_planned_stop_is_administrative_after_bgp_has_ended", &with(Kind::Frr), planned_stop),
        test("frr_keeps_routes_of_a_tortie_that_is_stopped_and_returns", &with(Kind::Frr), |lab| {
            returns(lab, Kind::Frr, stop)
        }),
        test("bird_keeps_routes_of_a_tortie_that_is_stopped_and_returns", &with(Kind::Bird), |lab| {
            returns(lab, Kind::Bird, stop)
        }),
    ]
}

/// Both routers, BGP and BFD up.
struct Two {
    tortie: Router,
    other: Router,
    status: Status,
}

/// The peer's name at tortie.
fn name() -> String {
    addresses(2).0.to_string()
}

fn start(lab: &Lab, kind: Kind, bfd: Bfd) -> Result<Two> {
    let [one, two] = nodes(lab, ["tortie", "other"])?;
    let config = |number: u8, local_as: u32, peer: u8, remote_as: u32, network: &str| {
        let mut peer = Peer::new(addresses(peer).0, remote_as);
        peer.bfd = Some(bfd);
        Config::new(local_as, [192, 0, 2, number].into()).peer(peer).network(network)
    };
    let mut other = config(2, OTHER, 1, TORTIE, THEIRS);
    other.graceful_restart = true;
    if kind == Kind::Bird && bfd.multihop {
        // BIRD wants to know it beforehand.
        other.peers[0].extra.push(format!("source address {};", addresses(2).0));
    }
    let other = Router::start(kind, &two, other)?;
    let tortie = Router::start(Kind::Tortie, &one, config(1, TORTIE, 2, OTHER, OURS))?;
    let status = Status::of_router(&tortie);
    let two = Two { tortie, other, status };
    two.wait_up()?;
    Ok(two)
}

impl Two {
    /// Waits for BGP, BFD on both sides, and the routes.
    fn wait_up(&self) -> Result<()> {
        self.status.wait_established(&name())?;
        self.status.wait_peer(&name(), "watched", |peer| text(peer, "bfd") == "Up")?;
        wait_until("BFD at the other side", SOON, || Ok(other_state(&self.other)? == "up"))?;
        self.other.wait_route(OURS, &[addresses(1).0], SOON)?;
        self.status.wait_kernel(THEIRS, &[addresses(2).0])
    }

    fn session(&self) -> Result<Value> {
        let reply = self.status.ask(&["show", "bfd"])?;
        list(&reply, "sessions").first().cloned().context("no BFD session")
    }

    /// Connects or disconnects the other router, without a word to anybody.
    fn plug(&self, state: &str) -> Result<()> {
        self.other.node().ip_batch(&format!("link set eth0 {state}\n"))
    }
}

/// State of the session with tortie as the other router says it, in lower case.
fn other_state(router: &Router) -> Result<String> {
    let state = match router.kind() {
        Kind::Bird => {
            let answer = birdc(router, "show bfd sessions")?;
            let line = answer.lines().find(|line| line.starts_with("192.0.2.1 ")).map(ToOwned::to_owned);
            line.and_then(|line| line.split_whitespace().nth(2).map(str::to_lowercase))
        }
        Kind::Tortie => {
            let reply = Status::of_router(router).ask(&["show", "bfd"])?;
            list(&reply, "sessions").first().map(|session| text(session, "state").to_lowercase())
        }
        _ => frr_session(router)?.map(|session| text(&session, "status").to_owned()),
    };
    Ok(state.unwrap_or_default())
}

fn frr_session(router: &Router) -> Result<Option<Value>> {
    let answer = vtysh(router, "show bfd peers json")?;
    let sessions: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
    let mut sessions = sessions.as_array().into_iter().flatten();
    Ok(sessions.find(|session| text(session, "peer") == "192.0.2.1").cloned())
}

/// Session events of tortie from now on, one JSON object a line.
fn watch(node: &Node) -> Result<Process> {
    let mut command = Command::new(binary("bgpd")?);
    command.args(["watch", "-o", "jsonl", "--socket"]).arg(node.directory().join("tortie/bgpd.sock"));
    node.spawn("watch", command)
}

/// When the first event after `since` whose text contains `part` happened.
fn happened(watch: &Process, since: SystemTime, part: &str) -> Option<Duration> {
    let log = watch.log();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = events.filter(|event| text(event, "text").contains(part)).filter_map(|event| time(&event));
    found.filter_map(|at| at.duration_since(since).ok()).min()
}

/// `2026-01-02T03:04:05.678Z`, as far as the day's end is not near.
fn time(event: &Value) -> Option<SystemTime> {
    let clock = text(event, "time").split('T').nth(1)?.trim_end_matches('Z').to_owned();
    let mut parts = clock.split(':');
    let mut next = || parts.next()?.parse::<f64>().ok();
    let seconds = next()? * 3600.0 + next()? * 60.0 + next()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let today = now.as_secs() - now.as_secs() % 86400;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(today) + Duration::from_secs_f64(seconds))
}

fn cut(lab: &Lab, kind: Kind, bfd: Bfd) -> Result<()> {
    let two = start(lab, kind, bfd)?;
    let session = two.session()?;
    ensure!(session.get("multihop").and_then(Value::as_bool) == Some(bfd.multihop), "{session}");
    wait_until("intervals agreed", SOON, || {
        let session = two.session()?;
        let times = (number(&session, "/transmitIntervalUs"), number(&session, "/detectionTimeUs"));
        Ok(times == (100_000, 300_000))
    })
    .with_context(|| format!("{:?}", two.session()))?;
    let (status, table) = two.status.run(&["show", "bfd"])?;
    ensure!(status == 0 && table.contains("192.0.2.2") && table.contains("Up"), "{table}");

    let watch = watch(two.tortie.node())?;
    // The stream has begun once the watcher has connected, which nothing tells; a flap of BFD's own would be seen below.
    thread::sleep(Duration::from_millis(300));
    let since = SystemTime::now();
    two.plug("down")?;
    let mut took = None;
    wait_until("the end of the session", SOON, || {
        took = happened(&watch, since, "session ended");
        Ok(took.is_some())
    })
    .with_context(|| watch.log())?;
    let took = took.context("no event")?;
    println!("{kind}: BGP ended {took:?} after the cut");
    ensure!(took <= DETECTION + SLACK, "{took:?} after the cut: {}", watch.log());
    let peer = two.status.peer(&name())?;
    ensure!(text(&peer, "lastError") == "BfdDown" && number(&peer, "/bfdDowns") == 1, "{peer}");
    let why = "Control Detection Time Expired";
    ensure!(text(&peer, "bfd") == format!("Down, {why}"), "{peer}");
    two.status.wait_kernel(THEIRS, &[])?;

    two.plug("up")?;
    // BIRD and FRR forget what they had on an interface that was down.
    two.wait_up()?;
    let session = two.session()?;
    ensure!(number(&session, "/downs") == 1, "{session}");
    let peer = two.status.peer(&name())?;
    ensure!(number(&peer, "/flaps") == 1, "{peer}");
    Ok(())
}

fn busy(lab: &Lab) -> Result<()> {
    let two = start(lab, Kind::Frr, FAST)?;
    let mut loops = Vec::new();
    for number in 0..2 {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        loops.push(two.tortie.node().spawn(&format!("busy{number}"), command)?);
    }
    let begun = Instant::now();
    let before = number(&two.session()?, "/received");
    while begun.elapsed() < Duration::from_secs(8) {
        let session = two.session()?;
        ensure!(text(&session, "state") == "Up" && number(&session, "/downs") == 0, "{session}");
        thread::sleep(Duration::from_millis(100));
    }
    let session = two.session()?;
    ensure!(number(&session, "/received") >= before + 70, "too few packets to mean anything: {session}");
    ensure!(other_state(&two.other)? == "up", "FRR lost it");
    let peer = two.status.peer(&name())?;
    ensure!(number(&peer, "/flaps") == 0, "{peer}");
    Ok(())
}

/// The other router's routes to us, looked at all the time until tortie is back.
fn returns(lab: &Lab, kind: Kind, end: fn(&mut Router) -> Result<()>) -> Result<()> {
    let mut two = start(lab, kind, Bfd { graceful: true, ..FAST })?;
    end(&mut two.tortie)?;
    let has_route = |router: &Router| Ok::<bool, anyhow::Error>(router.routes()?.contains_key(OURS));
    wait_until("the other side misses us", SOON, || {
        ensure!(has_route(&two.other)?, "{kind} gave our route up");
        Ok(other_state(&two.other)? != "up")
    })?;
    two.tortie.restart()?;
    let begun = Instant::now();
    let mut back = false;
    while begun.elapsed() < SOON && !back {
        ensure!(has_route(&two.other)?, "{kind} gave our route up when we came back");
        back = two.status.peer(&name()).is_ok_and(|peer| text(&peer, "bfd") == "Up")
            && two.other.sessions()?.get(&addresses(1).0).is_some_and(|state| state == "Established");
    }
    ensure!(back, "{:?}", two.status.peer(&name()));
    two.wait_up()
}

fn back_at_once(lab: &Lab) -> Result<()> {
    // Slow enough that the restart is over long before the detection time is.
    let mut two = start(lab, Kind::Tortie, Bfd { interval: 2000, ..FAST })?;
    let number_of = |two: &Two| Ok::<u64, anyhow::Error>(number(&two.session()?, "/remoteDiscriminator"));
    let before = number_of(&two)?;
    two.other.restart()?;
    wait_until("its new BFD", SOON, || {
        let via = two.tortie.node().kernel_routes("bgp")?;
        ensure!(via.contains_key(THEIRS), "the route left: {via:?}");
        Ok(text(&two.session()?, "state") == "Up" && ![0, before].contains(&number_of(&two)?))
    })?;
    let peer = two.status.peer(&name())?;
    ensure!(number(&peer, "/bfdDowns") == 0 && number(&peer, "/flaps") == 1, "{peer}");
    ensure!(number(&two.session()?, "/downs") == 1, "the former BFD was never missed: {}", two.session()?);
    two.wait_up()
}

fn bird_dies(lab: &Lab) -> Result<()> {
    let mut two = start(lab, Kind::Bird, FAST)?;
    two.other.kill()?;
    two.status.wait_peer(&name(), "missed by BFD", |peer| text(peer, "bfd").starts_with("Down"))?;
    let peer = two.status.peer(&name())?;
    ensure!(text(&peer, "gracefulRestart") == "helper" && number(&peer, "/bfdDowns") == 0, "{peer}");
    let via = two.tortie.node().kernel_routes("bgp")?;
    ensure!(via.contains_key(THEIRS), "the route left with BFD: {via:?}");
    two.other.restart()?;
    two.wait_up()
}

fn planned_stop(lab: &Lab) -> Result<()> {
    let mut two = start(lab, Kind::Frr, FAST)?;
    let capture = Capture::start(two.tortie.node(), "eth0")?;
    stop(&mut two.tortie)?;
    let mut last = None;
    wait_until("FRR hears that it is administrative", SOON, || {
        last = frr_session(&two.other)?;
        let said = last.as_ref().map(|session| text(session, "remote-diagnostic").to_owned());
        Ok(said.is_some_and(|said| said.contains("administratively down")))
    })
    .with_context(|| format!("{last:?}"))?;
    let first = |filter: &str| -> Result<f64> {
        let lines = capture.lines(&format!("src host 192.0.2.1 and {filter}"))?;
        let at = lines.first().and_then(|line| line.split_whitespace().next()?.parse().ok());
        at.with_context(|| format!("no packet: {filter}"))
    };
    let (fin, admin_down) =
        (first("tcp port 179 and tcp[13] & 1 != 0")?, first("udp port 3784 and udp[9] & 0xc0 = 0")?);
    ensure!(fin < admin_down, "FIN at {fin}, AdminDown at {admin_down}");
    Ok(())
}

/// As a supervisor does it.
fn stop(router: &mut Router) -> Result<()> {
    router.processes().iter_mut().try_for_each(|process| process.signal(nix::sys::signal::Signal::SIGTERM))
}

/// tortie (1) in strict mode, and another (2) with lines of its own.
fn strict_two(lab: &Lab, kind: Kind, other: Peer) -> Result<(Router, Router)> {
    let [one, two] = nodes(lab, ["tortie", "other"])?;
    if kind == Kind::Tortie {
        // Nothing of BFD arrives.
        two.run(
            "nft",
            &["add table inet cut; add chain inet cut in { type filter hook input priority 0; }; \
                          add rule inet cut in udp dport 3784 drop"],
        )?;
    }
    let config = |number: u8, local_as: u32, peer: Peer, network: &str| {
        Config::new(local_as, [192, 0, 2, number].into()).peer(peer).network(network)
    };
    let other = Router::start(kind, &two, config(2, OTHER, other, THEIRS))?;
    let mut peer = Peer::new(addresses(2).0, OTHER);
    peer.extra.push(STRICT.to_owned());
    let tortie = Router::start(Kind::Tortie, &one, config(1, TORTIE, peer, OURS))?;
    Ok((tortie, other))
}

const STRICT: &str = "bfd: {minInterval: 100ms, strict: true}";

fn strict(lab: &Lab) -> Result<()> {
    let mut peer = Peer::new(addresses(1).0, TORTIE);
    peer.extra.push(STRICT.to_owned());
    let (tortie, other) = strict_two(lab, Kind::Tortie, peer)?;
    let status = Status::of_router(&tortie);
    // One direction works, as TCP does: without strict mode nothing would speak against the session.
    let waits = |peer: &Value| text(peer, "bfd") == "Init" && text(peer, "state") == "OpenSent";
    status.wait_peer(&name(), "waits for BFD", waits)?;
    other.node().run("nft", &["delete table inet cut"])?;
    status.wait_established(&name())?;
    other.wait_route(OURS, &[addresses(1).0], SOON)?;
    let peer = status.peer(&name())?;
    ensure!(text(&peer, "bfd") == "Up" && number(&peer, "/flaps") == 0, "{peer}");
    Ok(())
}

fn strict_alone(lab: &Lab) -> Result<()> {
    let (tortie, other) = strict_two(lab, Kind::Frr, Peer::new(addresses(1).0, TORTIE))?;
    let status = Status::of_router(&tortie);
    status.wait_established(&name())?;
    other.wait_route(OURS, &[addresses(1).0], SOON)?;
    let peer = status.peer(&name())?;
    ensure!(text(&peer, "bfd") != "Up", "FRR has no BFD here: {peer}");
    Ok(())
}
