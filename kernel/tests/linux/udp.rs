use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use kernel::udp::{self, Datagram};
use kernel::{priority, tcp};
use socket2::{Domain, Socket, Type};

use crate::namespace::isolated;

fn bound(address: IpAddr) -> UdpSocket {
    let socket = Socket::new(Domain::for_address((address, 0).into()), Type::DGRAM, None).expect("socket");
    udp::tell_headers(&socket).expect("options");
    socket.bind(&SocketAddr::new(address, 0).into()).expect("bind");
    socket.into()
}

fn received(socket: &UdpSocket, buffer: &mut [u8]) -> Datagram {
    let begun = Instant::now();
    loop {
        match udp::receive(socket, buffer) {
            Ok(datagram) => return datagram.expect("headers"),
            Err(_) if begun.elapsed() < Duration::from_secs(5) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_datagram_comes_with_its_addresses_interface_and_ttl() {
    isolated(|| {
        for (any, loopback) in [("0.0.0.0", "127.0.0.1"), ("::", "::1")] {
            let socket = bound(any.parse().expect("address"));
            let loopback: IpAddr = loopback.parse().expect("address");
            let sender = UdpSocket::bind((loopback, 0)).expect("bind");
            for ttl in [255, 254, 1] {
                tcp::set_ttl(&sender, ttl).expect("TTL");
                let port = socket.local_addr().expect("address").port();
                sender.send_to(b"hello", (loopback, port)).expect("send");
                let mut buffer = [0; 64];
                let datagram = received(&socket, &mut buffer);
                let source = sender.local_addr().expect("address");
                let expected = Datagram { length: 5, source, destination: loopback, interface: 1, ttl };
                assert_eq!(datagram, expected);
                assert_eq!(&buffer[..5], b"hello");
            }
            let nothing = udp::receive(&socket, &mut [0; 8]).map_err(|error| error.kind());
            assert_eq!(nothing, Err(std::io::ErrorKind::WouldBlock));
        }
    });
}

#[test]
fn a_thread_is_raised_or_told_why_not_and_its_children_stay_ordinary() {
    let policy = |line: &str| line.rsplit(' ').next().map(ToOwned::to_owned);
    let of_this_thread = move || {
        let text = std::fs::read_to_string("/proc/thread-self/sched").unwrap_or_default();
        text.lines().find(|line| line.starts_with("policy")).and_then(policy)
    };
    let thread = std::thread::spawn(move || {
        let raised = priority::raise();
        (raised, of_this_thread(), std::thread::spawn(of_this_thread).join().expect("joins"))
    });
    let (raised, own, childs) = thread.join().expect("joins");
    match raised {
        // Without /proc/…/sched in the kernel nothing can be compared.
        Ok(priority::Priority::RealTime) if own.is_some() => {
            assert_eq!((own.as_deref(), childs.as_deref()), (Some("1"), Some("0")));
        }
        Ok(_) => {}
        Err(error) => assert!(error.to_string().contains("priority"), "{error}"),
    }
}
