//! A folder that people edit: what is refused, what stays in force, what is noticed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::symlink,
    path::Path,
    time::Duration,
};

use datastore::{Datastore, Directory, Error, Event, Origin, Reason, Watch, Write};
use resources::{Key, Kind, Resource};

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}

fn labelled(name: &str, label: &str) -> String {
    format!("{}  labels: {{label: {label}}}\n", namespace(name))
}

const BROKEN: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: [\n";
const POOL: &str =
    "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: pool\nspec:\n  cidr: 10.0.0.0/16\n";

async fn names(directory: &Directory) -> Vec<String> {
    directory.list(Kind::Namespace).await.unwrap().iter().map(describe).collect()
}

fn describe(resource: &Resource) -> String {
    let metadata = resource.metadata();
    match metadata.labels.get("label") {
        Some(label) => format!("{}={label}", metadata.name),
        None => metadata.name.clone(),
    }
}

fn refusals(directory: &Directory) -> Vec<String> {
    directory.refusals().iter().map(ToString::to_string).collect()
}

/// Reads take in what the kernel told of, so that no waiting is needed.
async fn refused(directory: &Directory) -> Vec<String> {
    directory.list(Kind::Namespace).await.unwrap();
    refusals(directory)
}

async fn next(watch: &mut Watch) -> Event {
    tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("an event within ten seconds")
}

#[tokio::test]
async fn every_object_of_a_tree_is_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    fs::write(folder.path().join("one.yaml"), format!("{}---\n{}", namespace("a"), namespace("b"))).unwrap();
    fs::write(folder.path().join("a/b/two.yml"), namespace("c")).unwrap();
    let json = r#"{"apiVersion":"v1","kind":"NamespaceList","items":[{"metadata":{"name":"x"}},
        {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"d"}}]}"#;
    fs::write(folder.path().join("three.json"), json).unwrap();
    fs::write(folder.path().join(".hidden.yaml"), namespace("hidden")).unwrap();
    fs::write(folder.path().join("notes.txt"), namespace("notes")).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    assert_eq!(names(&directory).await, ["a", "b", "c", "d", "x"]);
    assert_eq!(refusals(&directory), Vec::<String>::new());
}

#[tokio::test]
async fn kinds_that_are_not_used_are_named_and_are_no_errors() {
    let folder = tempfile::tempdir().unwrap();
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec: {anything: goes}\n";
    fs::write(folder.path().join("a.yaml"), format!("{deployment}---\n{}", namespace("a"))).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    assert_eq!(names(&directory).await, ["a"]);
    assert_eq!(refusals(&directory), Vec::<String>::new());
    let [(file, ignored)] = directory.ignored().try_into().unwrap();
    assert_eq!(
        (file.as_path(), ignored.kind.as_str(), ignored.name.as_str()),
        (Path::new("a.yaml"), "Deployment", "web")
    );
}

#[tokio::test]
async fn changes_are_noticed_in_old_and_new_folders() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    fs::write(folder.path().join("a.yaml"), namespace("a")).unwrap();
    assert_eq!(names(&directory).await, ["a"]);
    fs::create_dir_all(folder.path().join("x/y/z")).unwrap();
    fs::write(folder.path().join("x/y/z/b.yaml"), namespace("b")).unwrap();
    assert_eq!(names(&directory).await, ["a", "b"]);
    fs::write(folder.path().join("x/y/z/b.yaml"), namespace("c")).unwrap();
    assert_eq!(names(&directory).await, ["a", "c"]);
    fs::rename(folder.path().join("x/y"), folder.path().join("moved")).unwrap();
    assert_eq!(names(&directory).await, ["a", "c"]);
    fs::write(folder.path().join("moved/z/d.yaml"), namespace("d")).unwrap();
    assert_eq!(names(&directory).await, ["a", "c", "d"]);
    fs::remove_dir_all(folder.path().join("moved")).unwrap();
    assert_eq!(names(&directory).await, ["a"]);
    let elsewhere = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
    fs::write(elsewhere.path(), namespace("e")).unwrap();
    elsewhere.persist(folder.path().join("a.yaml")).unwrap();
    assert_eq!(names(&directory).await, ["e"]);
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    assert_eq!(names(&directory).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_watch_tells_of_edits_without_any_read() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let mut watch = directory.watch(&[Kind::Namespace]);
    assert_eq!(next(&mut watch).await, Event::Init);
    assert_eq!(next(&mut watch).await, Event::InitDone);
    fs::write(folder.path().join("a.yaml"), namespace("a")).unwrap();
    assert!(matches!(next(&mut watch).await, Event::Apply(r) if r.metadata().name == "a"));
    fs::write(folder.path().join("a.yaml"), BROKEN).unwrap();
    assert_eq!(next(&mut watch).await, Event::RefusalCleared(Origin::File("a.yaml".into())));
    assert!(matches!(next(&mut watch).await, Event::Refused(refusal) if refusal.last_version_in_force));
    fs::write(folder.path().join("a.yaml"), namespace("a")).unwrap();
    assert_eq!(next(&mut watch).await, Event::RefusalCleared(Origin::File("a.yaml".into())));
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    assert_eq!(next(&mut watch).await, Event::Delete(Key::cluster(Kind::Namespace, "a")));
}

#[tokio::test]
async fn an_edit_that_changes_nothing_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), namespace("a")).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let mut watch = directory.watch(&[Kind::Namespace]);
    let version = directory.list(Kind::Namespace).await.unwrap();
    for _ in 0..3 {
        next(&mut watch).await;
    }
    fs::write(folder.path().join("a.yaml"), format!("# a comment\n{}", namespace("a"))).unwrap();
    assert_eq!(directory.list(Kind::Namespace).await.unwrap(), version);
    fs::write(folder.path().join("b.yaml"), namespace("b")).unwrap();
    assert!(matches!(next(&mut watch).await, Event::Apply(r) if r.metadata().name == "b"));
}

#[tokio::test]
async fn an_edit_gives_another_version() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), namespace("a")).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let key = Key::cluster(Kind::Namespace, "a");
    let before = directory.get(&key).await.unwrap().unwrap();
    assert!(before.metadata().resource_version.is_some());
    fs::write(folder.path().join("a.yaml"), labelled("a", "x")).unwrap();
    let after = directory.get(&key).await.unwrap().unwrap();
    assert_ne!(before.metadata().resource_version, after.metadata().resource_version);
}

#[tokio::test]
async fn an_invalid_object_is_refused_and_its_last_version_stays_in_force_while_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, format!("{POOL}---\n{}---\n{}", namespace("a"), namespace("b"))).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    fs::write(&file, format!("{POOL}  blockSize: 40\n---\n{}", labelled("a", "new"))).unwrap();
    assert_eq!(names(&directory).await, ["a=new"]);
    let pools = directory.list(Kind::IpPool).await.unwrap();
    assert_eq!(pools.len(), 1);
    assert_eq!(
        refusals(&directory),
        ["a.yaml:7:14, document 1, IPPool pool: spec.blockSize: \"40\" is not allowed, must be from 20 to 32 \
          (the version before stays in force)"]
    );
    fs::write(&file, POOL).unwrap();
    assert_eq!(names(&directory).await, Vec::<String>::new());
    assert_eq!(refusals(&directory), Vec::<String>::new());
    assert_eq!(directory.list(Kind::IpPool).await.unwrap(), pools);
}

#[tokio::test]
async fn what_does_not_tell_its_name_keeps_everything_of_its_file_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, format!("{}---\n{}", namespace("a"), namespace("b"))).unwrap();
    fs::write(folder.path().join("c.yaml"), namespace("c")).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    fs::write(&file, format!("{}---\n{BROKEN}", labelled("a", "new"))).unwrap();
    fs::write(folder.path().join("c.yaml"), namespace("d")).unwrap();
    assert_eq!(names(&directory).await, ["a=new", "b", "d"]);
    let [refusal] = refusals(&directory).try_into().unwrap();
    assert!(refusal.starts_with("a.yaml:10:9, document 2: metadata.name: "), "{refusal}");
    assert!(refusal.ends_with("(the version before stays in force)"), "{refusal}");
}

#[tokio::test]
async fn the_last_admitted_version_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, labelled("a", "good")).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    fs::write(&file, BROKEN).unwrap();
    fs::write(folder.path().join("b.yaml"), BROKEN).unwrap();
    let before = directory.list(Kind::Namespace).await.unwrap();
    drop(directory);
    let directory = Directory::open(folder.path()).unwrap();
    assert_eq!(directory.list(Kind::Namespace).await.unwrap(), before);
    assert_eq!(names(&directory).await, ["a=good"]);
    let refusals = directory.refusals();
    let kept: Vec<_> = refusals.iter().map(|r| (r.origin.to_string(), r.last_version_in_force)).collect();
    assert_eq!(kept, [("a.yaml".to_owned(), true), ("b.yaml".to_owned(), false)]);
}

#[tokio::test]
async fn what_was_broken_while_nobody_looked_has_its_last_admitted_version() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, labelled("a", "good")).unwrap();
    drop(Directory::open(folder.path()).unwrap());
    fs::write(&file, BROKEN).unwrap();
    assert_eq!(names(&Directory::open(folder.path()).unwrap()).await, ["a=good"]);
    fs::remove_file(&file).unwrap();
    assert_eq!(names(&Directory::open(folder.path()).unwrap()).await, Vec::<String>::new());
    fs::write(&file, BROKEN).unwrap();
    assert_eq!(names(&Directory::open(folder.path()).unwrap()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_spoilt_copy_of_the_last_version_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), namespace("a")).unwrap();
    drop(Directory::open(folder.path()).unwrap());
    fs::write(folder.path().join("a.yaml"), BROKEN).unwrap();
    fs::write(folder.path().join(".tortie/admitted/a.yaml.json"), "{\"apiVers").unwrap();
    assert_eq!(names(&Directory::open(folder.path()).unwrap()).await, Vec::<String>::new());
}

#[tokio::test]
async fn of_two_files_with_one_object_the_first_in_order_of_paths_counts() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.yaml"), format!("{}---\n{}", namespace("x"), labelled("a", "b"))).unwrap();
    fs::write(folder.path().join("c.yaml"), labelled("a", "c")).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    assert_eq!(names(&directory).await, ["a=b", "x"]);
    assert_eq!(refusals(&directory), ["c.yaml, document 1, Namespace a: is already defined in b.yaml"]);
    fs::write(folder.path().join("a.yaml"), labelled("a", "a")).unwrap();
    assert_eq!(names(&directory).await, ["a=a", "x"]);
    assert_eq!(
        refusals(&directory),
        [
            "b.yaml, document 2, Namespace a: is already defined in a.yaml",
            "c.yaml, document 1, Namespace a: is already defined in a.yaml"
        ]
    );
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    fs::remove_file(folder.path().join("b.yaml")).unwrap();
    assert_eq!(names(&directory).await, ["a=c"]);
    assert_eq!(refusals(&directory), Vec::<String>::new());
}

#[tokio::test]
async fn of_two_documents_with_one_object_the_first_counts() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), format!("{}---\n{}", labelled("a", "1"), labelled("a", "2"))).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    assert_eq!(names(&directory).await, ["a=1"]);
    let refused: Vec<_> = directory.refusals().into_iter().map(|r| (r.document, r.reason)).collect();
    assert_eq!(refused, [(1, Reason::Duplicate { first: "a.yaml".into() })]);
}

#[tokio::test]
async fn a_file_being_written_counts_when_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, format!("{}---\n{}", namespace("a"), namespace("b"))).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let mut file = File::create(&path).unwrap();
    assert_eq!(names(&directory).await, ["a", "b"], "truncated");
    file.write_all(namespace("a").as_bytes()).unwrap();
    assert_eq!(names(&directory).await, ["a", "b"], "half written");
    fs::create_dir(folder.path().join("sub")).unwrap();
    assert_eq!(names(&directory).await, ["a", "b"], "looked through meanwhile");
    file.write_all(format!("---\n{}", namespace("c")).as_bytes()).unwrap();
    drop(file);
    assert_eq!(names(&directory).await, ["a", "c"], "closed");
}

#[tokio::test]
async fn an_empty_file_keeps_its_objects_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, namespace("a")).unwrap();
    fs::write(folder.path().join("new.yaml"), "").unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    assert_eq!(refusals(&directory), Vec::<String>::new());
    fs::write(&path, "").unwrap();
    assert_eq!(names(&directory).await, ["a"]);
    assert_eq!(
        refusals(&directory),
        ["a.yaml, document 1: is empty; to remove its objects, remove the file (the version before stays in force)"]
    );
    fs::write(&path, "# nothing wanted\n").unwrap();
    assert_eq!(names(&directory).await, Vec::<String>::new());
    assert_eq!(refusals(&directory), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_is_not_text_keeps_its_objects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, namespace("a")).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(names(&directory).await, ["a"]);
    assert_eq!(refused(&directory).await, ["a.yaml, document 1: is not UTF-8 (the version before stays in force)"]);
}

#[tokio::test]
async fn links_are_followed_and_a_projected_volume_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    for (version, name) in [("..1", "a"), ("..2", "b")] {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(folder.path().join(version).join("file.yaml"), namespace(name)).unwrap();
    }
    symlink("..1", folder.path().join("..data")).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    symlink("..data/file.yaml", folder.path().join("file.yaml")).unwrap();
    assert_eq!(names(&directory).await, ["a"]);
    symlink("..2", folder.path().join("..tmp")).unwrap();
    fs::rename(folder.path().join("..tmp"), folder.path().join("..data")).unwrap();
    assert_eq!(names(&directory).await, ["b"]);
}

#[tokio::test]
async fn nothing_changes_when_the_folder_vanishes() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, away) = (parent.path().join("folder"), parent.path().join("away"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.yaml"), namespace("a")).unwrap();
    let directory = Directory::open(&folder).unwrap();
    fs::rename(&folder, &away).unwrap();
    assert_eq!(names(&directory).await, ["a"]);
    fs::create_dir(&folder).unwrap();
    assert_eq!(names(&directory).await, ["a"], "an empty place of a mount");
    let write = directory.create(resources::Namespace { metadata: resources::ObjectMeta::named("x") }.into()).await;
    assert!(matches!(write, Err(Error::File { .. })), "{write:?}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[tokio::test]
async fn what_people_wrote_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), namespace("a")).unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let object = directory.get(&Key::cluster(Kind::Namespace, "a")).await.unwrap().unwrap();
    assert_eq!(directory.create(object.clone()).await.unwrap(), Write::Exists);
    assert!(matches!(directory.update(object.clone()).await, Err(Error::ByHand { .. })));
    assert!(matches!(directory.delete(&object.key(), None).await, Err(Error::ByHand { .. })));
    assert_eq!(fs::read_to_string(folder.path().join("a.yaml")).unwrap(), namespace("a"));
}

#[tokio::test]
async fn what_the_datastore_wrote_wins_over_a_later_file() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    directory.create(resources::Namespace { metadata: resources::ObjectMeta::named("a") }.into()).await.unwrap();
    fs::write(folder.path().join("a.yaml"), labelled("a", "file")).unwrap();
    assert_eq!(names(&directory).await, ["a"]);
    assert_eq!(
        refusals(&directory),
        ["a.yaml, document 1, Namespace a: is already defined in .tortie/state/namespace/a.json"]
    );
    directory.delete(&Key::cluster(Kind::Namespace, "a"), None).await.unwrap();
    assert_eq!(names(&directory).await, ["a=file"]);
}

#[tokio::test]
async fn a_state_file_under_another_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    directory.create(resources::Namespace { metadata: resources::ObjectMeta::named("a") }.into()).await.unwrap();
    let state = folder.path().join(".tortie/state/namespace");
    fs::copy(state.join("a.json"), state.join("b.json")).unwrap();
    assert_eq!(names(&directory).await, ["a"]);
    let [refusal] = refusals(&directory).try_into().unwrap();
    assert!(refusal.ends_with("Namespace a: belongs in .tortie/state/namespace/a.json"), "{refusal}");
}

#[tokio::test]
async fn a_state_file_edited_by_hand_has_another_version() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let created = directory.create(resources::Namespace { metadata: resources::ObjectMeta::named("a") }.into()).await;
    let Write::Done(created) = created.unwrap() else { panic!() };
    let path = folder.path().join(".tortie/state/namespace/a.json");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("\"name\": \"a\"", "\"name\": \"a\", \"labels\": {\"label\": \"x\"}");
    fs::write(&path, text).unwrap();
    assert_eq!(directory.update(created).await.unwrap(), Write::Conflict);
    assert_eq!(names(&directory).await, ["a=x"]);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_an_error() {
    assert!(matches!(Directory::open("/nonexistent/folder"), Err(Error::File { .. })));
}

#[tokio::test]
async fn a_lost_notification_is_made_good_by_looking_through_everything() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    // Whether the queue overflows depends on how fast it is emptied; the result must not.
    let noise = [folder.path().join("noise-1.yaml"), folder.path().join("noise-2.yaml")];
    for change in 0..limit.min(20_000) * 2 {
        File::create(&noise[change % 2]).unwrap();
    }
    fs::write(folder.path().join("a.yaml"), namespace("a")).unwrap();
    assert_eq!(names(&directory).await, ["a"]);
}
