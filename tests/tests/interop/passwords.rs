//! TCP MD5 (RFC 2385): sessions with other makers, with the wrong password, and with one that changes.

use std::{fs, net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use fabric::{
    Lab, Need,
    router::{Config, Kind, Peer, Router},
    wait_until,
};
use tests::{
    Test,
    speakers::{SOON, Status, addresses, list, nodes, number, text},
    test,
};

use super::cluster::{status, three};

/// A third of the hold time, and some more.
const KEEPALIVE: Duration = Duration::from_secs(45);

pub(super) fn labs() -> Vec<Test> {
    let tortie = Kind::Tortie.needs();
    vec![
        test("a_password_is_shared_with_bird", &[tortie, Kind::Bird.needs()], |lab| shared(lab, Kind::Bird)),
        test("a_password_is_shared_with_frr", &[tortie, Kind::Frr.needs()], |lab| shared(lab, Kind::Frr)),
        test("a_password_is_shared_with_gobgp", &[tortie, Kind::GoBgp.needs()], |lab| shared(lab, Kind::GoBgp)),
        test("a_wrong_password_keeps_the_session_down_and_says_so", &[tortie, Kind::Bird.needs()], wrong),
        test("a_mesh_password_that_changes_resets_no_session", &[Need::TORTIE], rotated),
        test("a_password_file_is_followed_without_a_reset", &[tortie], file_rotated),
    ]
}

/// tortie (1, AS 65001) and another (2, AS 65002) over IPv4 and IPv6; what each side has as password.
fn pair(lab: &Lab, kind: Kind, passwords: [&str; 2]) -> Result<(Router, Router, Status)> {
    let [one, two] = nodes(lab, ["tortie", "other"])?;
    let config = |own: u8, other: u8, password: &str| {
        let mut config = Config::new(65000 + u32::from(own), [192, 0, 2, own].into());
        for address in [addresses(other).0, addresses(other).1] {
            let mut peer = Peer::new(address, 65000 + u32::from(other));
            peer.password = Some(password.to_owned());
            config = config.peer(peer);
        }
        config.network(&format!("10.{own}.0.0/16"))
    };
    let other = Router::start(kind, &two, config(2, 1, passwords[1]))?;
    let tortie = Router::start(Kind::Tortie, &one, config(1, 2, passwords[0]))?;
    let status = Status::of_router(&tortie);
    Ok((tortie, other, status))
}

fn shared(lab: &Lab, kind: Kind) -> Result<()> {
    let (tortie, other, status) = pair(lab, kind, ["open-sesame", "open-sesame"])?;
    for address in [addresses(2).0, addresses(2).1] {
        status.wait_established(&address.to_string())?;
    }
    wait_until("the route is here", SOON, || Ok(tortie.node().kernel_routes("bgp")?.contains_key("10.2.0.0/16")))?;
    wait_until("the other has the route", SOON, || Ok(other.routes()?.contains_key("10.1.0.0/16")))?;
    // Nothing went unsigned.
    let sockets = other.node().run("ss", &["-Htnei", "state", "established", "( sport = :179 or dport = :179 )"])?;
    ensure!(sockets.matches("md5keys").count() >= 2, "{sockets}");
    Ok(())
}

fn wrong(lab: &Lab) -> Result<()> {
    let (_tortie, other, status) = pair(lab, Kind::Bird, ["open-sesame", "open-barley"])?;
    for address in [addresses(2).0, addresses(2).1] {
        let peer = status.wait_peer(&address.to_string(), "says why", |it| text(it, "diagnosis") == "Md5Timeout")?;
        ensure!(text(&peer, "state") != "Established", "{peer}");
        ensure!(text(&peer, "next").contains("same password"), "{peer}");
        ensure!(number(&peer, "/messagesReceived/OPEN") == 0, "heard something: {peer}");
    }
    ensure!(other.routes()?.is_empty(), "{:?}", other.routes()?);
    Ok(())
}

fn rotated(lab: &Lab) -> Result<()> {
    let three = three(lab)?;
    let secret = |password: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: bgp, namespace: kube-system}}\n\
             stringData: {{mesh: {password}}}\n"
        )
    };
    let bgp = "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\n\
               spec: {nodeMeshPassword: {secretKeyRef: {name: bgp, key: mesh}}}\n";
    // Without the Secret nothing goes unsigned.
    three.cluster.write("bgp.yaml", bgp)?;
    let a = &three.workers[0];
    wait_until("no peers and a reason", SOON, || {
        let reply = status(a).ask(&["show", "peers"])?;
        let conditions = reply.get("speaker").map(|it| list(it, "conditions").to_vec()).unwrap_or_default();
        let named = conditions.iter().any(|it| it.to_string().contains("there is no Secret kube-system/bgp"));
        Ok(named && list(&reply, "peers").is_empty())
    })?;
    three.cluster.write("secret.yaml", &secret("first"))?;
    let sessions = || -> Result<Vec<String>> {
        let mut since = Vec::new();
        for (worker, name) in three.workers.iter().zip(["b", "c", "a"]) {
            status(worker).wait_established(name)?;
            since.push(text(&status(worker).peer(name)?, "since").to_owned());
        }
        Ok(since)
    };
    let wait_signed = |password: &str| -> Result<()> {
        let filter = ["-Htnei", "state", "established", "( sport = :179 or dport = :179 )"];
        let mut last = String::new();
        let waited = wait_until(&format!("{password} is in use"), SOON, || {
            last.clear();
            for worker in &three.workers {
                last += &worker.node().run("ss", &filter)?;
            }
            Ok(last.matches(password).count() >= 6)
        });
        waited.map(drop).with_context(|| last)
    };
    let before = sessions()?;
    wait_signed("first")?;
    three.cluster.write("secret.yaml", &secret("second"))?;
    wait_signed("second")?;
    // The sessions go on under it: the next KEEPALIVE is heard.
    let heard = || Ok::<_, anyhow::Error>(number(&status(a).peer("b")?, "/messagesReceived/KEEPALIVE"));
    let so_far = heard()?;
    wait_until("a message under the second password", KEEPALIVE, || Ok(heard()? > so_far))?;
    ensure!(sessions()? == before, "a session was reset");
    Ok(())
}

/// Writes one of the password files of a tortie router.
fn write_password(router: &Router, peer: IpAddr, password: &str) -> Result<()> {
    let file = router.node().directory().join(format!("tortie/password-{peer}"));
    fs::write(&file, password).with_context(|| file.display().to_string())
}

fn file_rotated(lab: &Lab) -> Result<()> {
    let (tortie, other, status) = pair(lab, Kind::Tortie, ["first", "first"])?;
    let peers = [addresses(2).0, addresses(2).1];
    let since = || -> Result<Vec<String>> {
        peers.iter().map(|peer| Ok(text(&status.wait_established(&peer.to_string())?, "since").to_owned())).collect()
    };
    let before = since()?;
    // What cannot be a password is said, and the one before stays.
    write_password(&tortie, peers[0], "")?;
    let complaint = "not 1 to 80 bytes; the version before stays in force";
    wait_until("the complaint", SOON, || Ok(status.run(&["show", "peers"])?.1.contains(complaint)))?;
    ensure!(since()? == before, "an empty file reset a session");
    for peer in peers {
        write_password(&tortie, peer, "second")?;
    }
    for peer in [addresses(1).0, addresses(1).1] {
        write_password(&other, peer, "second")?;
    }
    let filter = ["-Htnei", "state", "established", "( sport = :179 or dport = :179 )"];
    wait_until("the second password is in use", SOON, || {
        let signed =
            |router: &Router| Ok::<_, anyhow::Error>(router.node().run("ss", &filter)?.matches("second").count());
        Ok(signed(&tortie)? >= 2 && signed(&other)? >= 2)
    })?;
    let heard =
        |peer: &IpAddr| Ok::<_, anyhow::Error>(number(&status.peer(&peer.to_string())?, "/messagesReceived/KEEPALIVE"));
    for peer in &peers {
        let so_far = heard(peer)?;
        wait_until("a message under the second password", KEEPALIVE, || Ok(heard(peer)? > so_far))?;
    }
    ensure!(since()? == before, "a session was reset");
    let conditions = status.run(&["show", "peers"])?.1;
    ensure!(!conditions.contains("stays in force"), "{conditions}");
    Ok(())
}
