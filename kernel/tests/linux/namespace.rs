//! A network namespace per test.

use std::future::Future;
use std::process::Command;

use kernel::{InterfaceName, LinkChange, NetNs, Netlink, VethPair};
use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread in a new network namespace whose loopback interface is up. Threads and processes that it
/// starts are in there too.
pub(crate) fn isolated(test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        return again_as_root();
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace");
            ip("link set lo up");
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// As [`isolated`], for async tests.
pub(crate) fn isolated_async<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    isolated(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(test());
    });
}

/// A user namespace needs a process with a single thread, so the test is run again in one.
fn again_as_root() {
    let name = std::thread::current().name().expect("the test harness names threads after tests").to_owned();
    let status = Command::new("unshare")
        .arg("-rn")
        .arg(std::env::current_exe().expect("own path"))
        .args(["--exact", &name, "--nocapture"])
        .status()
        .expect("unshare runs");
    assert!(status.success(), "{name} failed in a user namespace");
}

/// Runs `ip` with blank-separated arguments and returns what it prints.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn name(name: &str) -> InterfaceName {
    InterfaceName::new(name).expect("a valid name")
}

/// Makes a veth pair in this namespace, both ends up, and returns their indices.
pub(crate) async fn veth(netlink: &Netlink, one: &str, other: &str) -> (u32, u32) {
    let (one, other) = (name(one), name(other));
    let pair = VethPair { name: &one, mac: None, mtu: 1500, peer_namespace: None, peer_name: &other, peer_mac: None };
    netlink.create_veth(&pair).await.expect("a veth pair");
    let mut indices = Vec::new();
    for end in [&one, &other] {
        let link = netlink.link_by_name(end).await.expect("an answer").expect("the end");
        netlink.change_link(link.index, &LinkChange { up: Some(true), ..Default::default() }).await.expect("up");
        indices.push(link.index);
    }
    (indices[0], indices[1])
}

pub(crate) fn other_namespace() -> NetNs {
    NetNs::create().expect("another network namespace")
}
