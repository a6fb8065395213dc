//! The plugin as a runtime runs it, against a felix that is only a gRPC server.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use proto::cni::{
    AddReply, AddRequest, AddResult, CheckReply, CheckRequest, CniError, DelReply, DelRequest, PodRoute, StatusReply,
    StatusRequest,
    cni_server::{Cni, CniServer},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::UnixListener, sync::oneshot};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// What the stub was asked.
#[derive(Default)]
struct Asked {
    add: Option<AddRequest>,
    del: Option<DelRequest>,
    check: Option<CheckRequest>,
}

#[derive(Clone, Default)]
struct Stub {
    asked: Arc<Mutex<Asked>>,
    refusal: Option<CniError>,
}

#[tonic::async_trait]
impl Cni for Stub {
    async fn add(&self, request: Request<AddRequest>) -> Result<Response<AddReply>, Status> {
        self.asked.lock().unwrap().add = Some(request.into_inner());
        let result = AddResult {
            host_interface: "cali0123456789a".into(),
            host_mac: "ee:ee:ee:ee:ee:ee".into(),
            container_mac: "02:00:00:00:00:07".into(),
            addresses: vec!["10.65.0.7/32".into()],
            routes: vec![PodRoute { destination: "0.0.0.0/0".into(), gateway: "169.254.1.1".into() }],
            mtu: 1500,
        };
        let result = self.refusal.is_none().then_some(result);
        Ok(Response::new(AddReply { result, error: self.refusal.clone() }))
    }

    async fn del(&self, request: Request<DelRequest>) -> Result<Response<DelReply>, Status> {
        self.asked.lock().unwrap().del = Some(request.into_inner());
        Ok(Response::new(DelReply { error: self.refusal.clone() }))
    }

    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckReply>, Status> {
        self.asked.lock().unwrap().check = Some(request.into_inner());
        Ok(Response::new(CheckReply { error: self.refusal.clone() }))
    }

    async fn status(&self, _request: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        Ok(Response::new(StatusReply { error: self.refusal.clone() }))
    }
}

/// A stub that serves until it is dropped.
struct Felix {
    _directory: TempDir,
    socket: PathBuf,
    asked: Arc<Mutex<Asked>>,
    _stop: oneshot::Sender<()>,
}

fn felix(refusal: Option<CniError>) -> Felix {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("felix.sock");
    let stub = Stub { refusal, ..Stub::default() };
    let asked = Arc::clone(&stub.asked);
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let path = socket.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let incoming = UnixListenerStream::new(UnixListener::bind(path).unwrap());
            ready.send(()).unwrap();
            let server = tonic::transport::Server::builder().add_service(CniServer::new(stub));
            let until = async {
                let _dropped = stopped.await;
            };
            server.serve_with_incoming_shutdown(incoming, until).await.unwrap();
        });
    });
    is_ready.recv().unwrap();
    Felix { _directory: directory, socket, asked, _stop: stop }
}

fn config(version: &str, socket: &Path, extra: Value) -> Value {
    let mut config = json!({"cniVersion": version, "name": "k8s-pod-network", "type": "tortie", "socket": socket});
    config.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap_or_default());
    config
}

const CONTAINER: [(&str, &str); 4] = [
    ("CNI_CONTAINERID", "c0ffee"),
    ("CNI_NETNS", "/run/netns/x"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"),
];

fn run(verb: &str, variables: &[(&str, &str)], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tortie"))
        .env_clear()
        .env("CNI_COMMAND", verb)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn add_asks_felix_and_prints_its_result() {
    let felix = felix(None);
    let stdin = config("1.0.0", &felix.socket, json!({"mtu": 1400, "log_level": "info"}));
    let output = run("ADD", &CONTAINER, &stdin.to_string());
    assert!(output.status.success());
    assert_eq!(
        stdout(&output),
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                {"name": "cali0123456789a", "mac": "ee:ee:ee:ee:ee:ee"},
                {"name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/x"},
            ],
            "ips": [{"address": "10.65.0.7/32", "interface": 1}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
            "dns": {},
        })
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("log_level has no meaning here"));
    let request = felix.asked.lock().unwrap().add.take().unwrap();
    let attachment = request.attachment.unwrap();
    assert_eq!((attachment.container_id.as_str(), attachment.network.as_str()), ("c0ffee", "k8s-pod-network"));
    assert_eq!(attachment.args["K8S_POD_NAME"], "web");
    assert_eq!(request.config.unwrap().mtu, 1400);
}

#[test]
fn a_refusal_of_felix_is_the_error_object_and_the_exit_code_is_not_zero() {
    let felix = felix(Some(CniError { code: 11, message: "pool full".into(), details: String::new() }));
    for verb in ["ADD", "DEL"] {
        let output = run(verb, &CONTAINER, &config("1.1.0", &felix.socket, json!({})).to_string());
        assert!(!output.status.success());
        assert_eq!(stdout(&output), json!({"cniVersion": "1.1.0", "code": 11, "msg": "tortie: pool full"}));
    }
}

#[test]
fn del_works_without_a_namespace_and_prints_nothing() {
    let felix = felix(None);
    let without = [CONTAINER[0], CONTAINER[2]];
    let output = run("DEL", &without, &config("0.4.0", &felix.socket, json!({})).to_string());
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
    assert_eq!(felix.asked.lock().unwrap().del.take().unwrap().attachment.unwrap().netns, "");
}

#[test]
fn check_tells_felix_what_add_promised() {
    let felix = felix(None);
    let added = stdout(&run("ADD", &CONTAINER, &config("1.1.0", &felix.socket, json!({})).to_string()));
    let output = run("CHECK", &CONTAINER, &config("1.1.0", &felix.socket, json!({"prevResult": added})).to_string());
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty());
    let check = felix.asked.lock().unwrap().check.take().unwrap();
    assert_eq!(check.addresses, ["10.65.0.7/32"]);
    assert_eq!(check.host_interfaces, ["cali0123456789a"]);
}

#[test]
fn status_is_silent_when_felix_serves_and_an_error_when_it_does_not() {
    let ready = felix(None);
    let output = run("STATUS", &[], &config("1.1.0", &ready.socket, json!({})).to_string());
    assert!(output.status.success() && output.stdout.is_empty());
    let full = felix(Some(CniError { code: 51, message: "not in sync".into(), details: String::new() }));
    let output = run("STATUS", &[], &config("1.1.0", &full.socket, json!({})).to_string());
    assert_eq!(stdout(&output)["code"], 51);
}

#[test]
fn status_says_at_once_that_felix_is_away() {
    let began = Instant::now();
    let output = run("STATUS", &[], &config("1.1.0", Path::new("/nonexistent/felix.sock"), json!({})).to_string());
    assert_eq!(stdout(&output)["code"], 50);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn add_and_del_without_felix_are_try_again_later_within_a_bounded_time() {
    let began = Instant::now();
    let verbs = ["ADD", "DEL"].map(|verb| {
        thread::spawn(move || {
            run(verb, &CONTAINER, &config("1.0.0", Path::new("/nonexistent/felix.sock"), json!({})).to_string())
        })
    });
    for verb in verbs {
        let output = verb.join().unwrap();
        assert!(!output.status.success());
        assert_eq!(stdout(&output)["code"], 11);
        assert!(stdout(&output)["msg"].as_str().unwrap().contains("/nonexistent/felix.sock"));
    }
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn version_lists_what_is_supported_whatever_the_runtime_speaks() {
    for asked in ["1.0.0", "9.9.9"] {
        let output = run("VERSION", &[], &json!({"cniVersion": asked}).to_string());
        assert!(output.status.success());
        assert_eq!(
            stdout(&output),
            json!({"cniVersion": asked, "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]})
        );
    }
}

#[test]
fn gc_is_refused_with_a_code_of_our_own() {
    let output = run("GC", &[], &config("1.1.0", Path::new("/x"), json!({})).to_string());
    assert!(!output.status.success());
    assert_eq!(stdout(&output)["code"], 100);
}

#[test]
fn wrong_input_has_the_codes_of_the_specification() {
    let good = config("1.0.0", Path::new("/x"), json!({})).to_string();
    let slashed = [("CNI_CONTAINERID", "../etc"), CONTAINER[1], CONTAINER[2]];
    let cases = [
        ("NOPE", &CONTAINER[..], good.as_str(), 4),
        ("ADD", &slashed[..], &good, 4),
        ("ADD", &CONTAINER[..1], &good, 4),
        ("ADD", &CONTAINER[..], "not json", 6),
        ("ADD", &CONTAINER[..], r#"{"cniVersion": "0.1.0", "name": "n"}"#, 1),
        ("CHECK", &CONTAINER[..], r#"{"cniVersion": "1.0.0", "name": "n"}"#, 7),
    ];
    for (verb, variables, stdin, code) in cases {
        let output = run(verb, variables, stdin);
        assert!(!output.status.success());
        assert_eq!(stdout(&output)["code"], code, "{verb} {stdin}");
    }
}
