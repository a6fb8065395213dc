//! Several processes on one folder, some of which are killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Instant,
};

use datastore::{Datastore, Directory, Write};
use resources::{IpamHandle, IpamHandleSpec, Key, Kind, Object, ObjectMeta, Resource};

const FOLDER: &str = "TORTIE_TEST_FOLDER";
const WRITER: &str = "TORTIE_TEST_WRITER";
/// Objects that all writers write.
const OBJECTS: u64 = 4;

/// Starts this test binary again as a writer.
fn writer(test: &str, folder: &Path, number: u64) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(WRITER, number.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn handle(number: u64) -> Resource {
    let spec = IpamHandleSpec { handle_id: format!("handle-{number}"), ..IpamHandleSpec::default() };
    IpamHandle { metadata: ObjectMeta::named(format!("handle-{number}")), spec }.into()
}

fn blocks(resource: &Resource) -> &BTreeMap<String, u64> {
    &IpamHandle::of(resource).unwrap().spec.block
}

/// Counts one up in one object. True if it happened.
async fn count(directory: &Directory, object: u64, writer: u64) -> bool {
    let key = Key::cluster(Kind::IpamHandle, format!("handle-{object}"));
    let (mut resource, exists) = match directory.get(&key).await.unwrap() {
        Some(found) => (found, true),
        None => (handle(object), false),
    };
    let Resource::IpamHandle(changed) = &mut resource else { panic!() };
    *changed.spec.block.entry(writer.to_string()).or_default() += 1;
    let write = if exists { directory.update(resource).await } else { directory.create(resource).await };
    matches!(write.unwrap(), Write::Done(_))
}

#[tokio::test]
#[ignore = "a part of the tests below, run as a process of its own"]
async fn counting_writer() {
    let (Ok(folder), Ok(number)) = (env::var(FOLDER), env::var(WRITER)) else { return };
    let (directory, number) = (Directory::open(folder).unwrap(), number.parse().unwrap());
    let mut done = BTreeMap::<u64, u64>::new();
    for round in 0_u64.. {
        let object = round % OBJECTS;
        if count(&directory, object, number).await {
            let count = done.entry(object).or_default();
            *count += 1;
            println!("\ndone {object} {count}");
        }
        if done.values().sum::<u64>() == 200 {
            return;
        }
    }
}

/// The last count that a writer said was written, per object.
fn said(output: BufReader<ChildStdout>) -> BTreeMap<u64, u64> {
    let lines = output.lines().map_while(Result::ok);
    let words = lines.filter_map(|line| {
        let mut words = line.strip_prefix("done ")?.split(' ').map(str::parse);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    });
    words.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_count_of_several_processes_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let watcher = Directory::open(folder.path()).unwrap();
    let writers: Vec<_> = (0..3).map(|number| writer("counting_writer", folder.path(), number)).collect();
    for (number, (mut child, output)) in writers.into_iter().enumerate() {
        let said = said(output);
        assert!(child.wait().unwrap().success());
        assert_eq!(said.values().sum::<u64>(), 200);
        for (object, count) in said {
            let key = Key::cluster(Kind::IpamHandle, format!("handle-{object}"));
            let found = watcher.get(&key).await.unwrap().unwrap();
            assert_eq!(blocks(&found)[&number.to_string()], count);
        }
    }
    assert_eq!(watcher.refusals(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_at_any_moment_leaves_whole_objects_and_everything_it_was_told_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let watcher = Directory::open(folder.path()).unwrap();
    for number in 0..25 {
        let (mut child, mut output) = writer("counting_writer", folder.path(), number);
        let mut line = String::new();
        // Killed after another number of writes each time, in the middle of the next.
        for _ in 0..number % 7 + 1 {
            while !line.starts_with("done") {
                line.clear();
                assert_ne!(output.read_line(&mut line).unwrap(), 0, "the writer ended");
            }
            if number % 7 > 0 {
                line.clear();
                output.read_line(&mut line).unwrap();
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let fresh = Directory::open(folder.path()).unwrap();
        assert_eq!(fresh.refusals(), [], "after {number}");
        assert_eq!(fresh.list(Kind::IpamHandle).await.unwrap(), watcher.list(Kind::IpamHandle).await.unwrap());
        for (object, count) in said(output) {
            let key = Key::cluster(Kind::IpamHandle, format!("handle-{object}"));
            let found = fresh.get(&key).await.unwrap().expect("what was told done is there");
            let found = blocks(&found)[&number.to_string()];
            assert!(found == count || found == count + 1, "object {object}: told {count}, found {found}");
        }
    }
    let state = folder.path().join(".tortie/state/ipamhandle");
    let names: Vec<_> = fs::read_dir(state).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| !name.starts_with('.')).count(), names.len(), "left over: {names:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test -p datastore --release --test processes -- --ignored --nocapture cost"]
async fn cost_of_a_write_and_of_a_read() {
    let folder = tempfile::tempdir_in(env::var("TORTIE_TEST_DISK").unwrap_or_else(|_| ".".to_owned())).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let micros = |start: Instant, times: u32| start.elapsed().as_micros() / u128::from(times);
    let start = Instant::now();
    for number in 0..1000 {
        directory.create(handle(number)).await.unwrap();
    }
    println!("create {} µs", micros(start, 1000));
    let start = Instant::now();
    for number in 0..1000 {
        count(&directory, number, 0).await;
    }
    println!("get and update {} µs", micros(start, 1000));
    let key = Key::cluster(Kind::IpamHandle, "handle-7");
    let start = Instant::now();
    for _ in 0..1000 {
        directory.get(&key).await.unwrap();
    }
    println!("get {} µs", micros(start, 1000));
    let start = Instant::now();
    for number in 0..1000 {
        directory.delete(&Key::cluster(Kind::IpamHandle, format!("handle-{number}")), None).await.unwrap();
    }
    println!("delete {} µs", micros(start, 1000));
}
