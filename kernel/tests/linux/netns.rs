use std::net::UdpSocket;

use kernel::{Error, NetNs};

use crate::namespace::{isolated, other_namespace};

#[test]
fn a_missing_namespace_is_none() {
    assert!(NetNs::open("/run/netns/surely-not-there").expect("no error").is_none());
}

#[test]
fn a_file_that_is_no_namespace_is_refused() {
    assert!(matches!(NetNs::open("/proc/self/status"), Err(Error::Namespace { .. })));
}

#[test]
fn identity_tells_namespaces_apart() {
    isolated(|| {
        let here = NetNs::current().expect("current");
        let same = NetNs::current().expect("current");
        let other = other_namespace();
        assert_eq!(here.identity(), same.identity());
        assert_ne!(here.identity(), other.identity());
        let seen = other.run(|| NetNs::current().expect("current").identity()).expect("runs");
        assert_eq!(seen, other.identity());
        assert_eq!(NetNs::current().expect("current").identity(), here.identity());
    });
}

#[test]
fn a_socket_opened_inside_keeps_working_outside() {
    isolated(|| {
        let other = other_namespace();
        let here = UdpSocket::bind("127.0.0.1:4000").expect("bind here");
        let there = other.run(|| UdpSocket::bind("127.0.0.1:4000")).expect("runs").expect("the port is free there");
        assert_eq!(here.local_addr().expect("address"), there.local_addr().expect("address"));
    });
}

#[test]
fn a_namespace_lives_as_long_as_its_value() {
    isolated(|| {
        let other = other_namespace();
        let before = other.identity();
        let again = other.run(|| NetNs::current().expect("current").identity()).expect("runs");
        assert_eq!(again, before);
    });
}

#[test]
fn the_thread_is_gone_when_run_returns() {
    isolated(|| {
        let other = other_namespace();
        let thread = other.run(|| nix::unistd::gettid().as_raw()).expect("runs");
        assert!(!std::path::Path::new(&format!("/proc/self/task/{thread}")).exists());
    });
}

#[test]
fn a_panic_inside_is_an_error() {
    isolated(|| {
        let result = other_namespace().run(|| panic!("on purpose"));
        assert!(matches!(result, Err(Error::Panicked { .. })));
    });
}
