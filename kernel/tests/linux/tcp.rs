use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kernel::tcp::{self, Md5Peer};
use socket2::{Domain, Socket, Type};

use crate::namespace::{isolated, name};

const PATIENCE: Duration = Duration::from_millis(300);

fn socket(address: SocketAddr) -> Socket {
    Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket")
}

/// A listener on `address`, set up by `prepare`, and what a connection made by `dial` comes to.
fn connect(address: &str, prepare: impl FnOnce(&Socket), dial: impl FnOnce(&Socket)) -> io::Result<()> {
    let listener = socket(SocketAddr::new(address.parse().expect("address"), 0));
    listener.bind(&SocketAddr::new(address.parse().expect("address"), 0).into()).expect("bind");
    prepare(&listener);
    listener.listen(8).expect("listen");
    let target = listener.local_addr().expect("address");
    let client = socket(target.as_socket().expect("IP"));
    dial(&client);
    client.connect_timeout(&target, PATIENCE)
}

fn peer(network: &str) -> Md5Peer {
    Md5Peer { network: network.parse().expect("network"), interface: None }
}

const LOOPBACKS: [(&str, &str, &str); 2] = [("127.0.0.1", "127.0.0.1/32", "127.0.0.0/8"), ("::1", "::1/128", "::/64")];

#[test]
fn equal_md5_keys_connect_and_others_do_not() {
    isolated(|| {
        for (address, host, range) in LOOPBACKS {
            let key = |socket: &Socket, network: &str, key: &[u8]| {
                tcp::set_md5_key(socket, peer(network), key).expect("set");
            };
            for network in [host, range] {
                connect(address, |s| key(s, network, b"secret"), |s| key(s, host, b"secret")).expect("connects");
                connect(address, |s| key(s, network, b"secret"), |s| key(s, host, b"other")).expect_err("differ");
                connect(address, |s| key(s, network, b"secret"), |_| {}).expect_err("dialled without");
                let removed = |s: &Socket| {
                    key(s, network, b"secret");
                    tcp::delete_md5_key(s, peer(network)).expect("deleted");
                    tcp::delete_md5_key(s, peer(network)).expect("absent is no error");
                };
                connect(address, removed, |_| {}).expect("connects without keys");
            }
            connect(address, |_| {}, |s| key(s, host, b"secret")).expect_err("listener without");
        }
    });
}

#[test]
fn md5_keys_are_1_to_80_bytes() {
    isolated(|| {
        let socket = socket("127.0.0.1:0".parse().expect("address"));
        let peer = Md5Peer::from("127.0.0.1".parse::<IpAddr>().expect("address"));
        tcp::set_md5_key(&socket, peer, &[7; tcp::MD5_KEY_MAX]).expect("80 bytes");
        let too_long = tcp::set_md5_key(&socket, peer, &[7; tcp::MD5_KEY_MAX + 1]).expect_err("81 bytes");
        let empty = tcp::set_md5_key(&socket, peer, &[]).expect_err("no bytes");
        let invalid = nix::errno::Errno::EINVAL as i32;
        assert_eq!((too_long.errno(), empty.errno()), (Some(invalid), Some(invalid)));
    });
}

#[test]
fn segments_below_the_minimum_ttl_are_dropped() {
    isolated(|| {
        for (address, ..) in LOOPBACKS {
            let secured = |socket: &Socket| {
                tcp::set_ttl(socket, 255).expect("set");
                tcp::set_min_ttl(socket, 255).expect("set");
            };
            connect(address, secured, secured).expect("both send 255");
            connect(address, secured, |s| tcp::set_ttl(s, 254).expect("set")).expect_err("one hop too far");
        }
    });
}

#[test]
fn class_freebind_and_device_apply_to_both_families() {
    isolated(|| {
        for (address, elsewhere) in [("127.0.0.1:0", "192.0.2.1:0"), ("[::1]:0", "[2001:db8::1]:0")] {
            let address: SocketAddr = address.parse().expect("address");
            let elsewhere: SocketAddr = elsewhere.parse().expect("address");
            let one = socket(address);
            tcp::set_tos(&one, tcp::TOS_CS6).expect("set");
            let tos = if address.is_ipv4() { one.tos_v4() } else { one.tclass_v6() };
            assert_eq!(tos.expect("get"), tcp::TOS_CS6);
            one.bind(&elsewhere.into()).expect_err("no interface has it");
            tcp::set_freebind(&one).expect("set");
            one.bind(&elsewhere.into()).expect("free");
            tcp::bind_device(&one, Some(&name("lo"))).expect("bound");
            assert_eq!(one.device().expect("get").as_deref(), Some(&b"lo"[..]));
            tcp::bind_device(&one, None).expect("unbound");
            let error = tcp::bind_device(&one, Some(&name("gone"))).expect_err("no such device");
            assert_eq!(error.errno(), Some(nix::errno::Errno::ENODEV as i32));
        }
    });
}
