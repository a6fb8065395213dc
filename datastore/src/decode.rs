//! Text to objects, with the place of everything that is wrong.

mod list;
mod locate;
mod split;

use std::{collections::BTreeMap, marker::PhantomData, path::PathBuf};

use resources::{Key, Kind, Recognition, Resource, recognize};
use serde::{Deserialize, Deserializer};

use crate::{Position, Reason};

/// The notation of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2, any number of documents.
    Yaml,
    /// JSON, any number of values.
    Json,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// Valid objects, each with the document that holds it.
    pub objects: BTreeMap<Key, (usize, Resource)>,
    /// What is not admitted.
    pub problems: Vec<Problem>,
    /// What tortie has no use for.
    pub ignored: Vec<Ignored>,
}

/// Something that is not admitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Which document, from 0. Documents without content do not count.
    pub document: usize,
    /// The object, where that much could be read.
    pub key: Option<Key>,
    /// Where, as far as known.
    pub position: Option<Position>,
    /// Why. A duplicate names no file: the first is in the same.
    pub reason: Reason,
}

/// An object of a kind that tortie does not use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ignored {
    /// Which document, from 0.
    pub document: usize,
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// One document of a file.
#[derive(Clone, Copy, Debug)]
struct Document<'t> {
    index: usize,
    text: &'t str,
    /// Lines of the file before the text.
    line: usize,
    format: Format,
}

/// What tells what an object is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<HeaderMetadata>,
    items: Option<Vec<Header>>,
}

#[derive(Default, Deserialize)]
struct HeaderMetadata {
    name: Option<String>,
    namespace: Option<String>,
}

/// Reads every object of a text and validates it. Nothing that is wrong in one keeps another from being read, except
/// within a document that does not parse at all.
pub fn decode(text: &str, format: Format) -> Decoded {
    let mut decoded = Decoded::default();
    for document in split::documents(text, format) {
        document.decode(&mut decoded);
    }
    decoded
}

impl Header {
    fn recognition(&self) -> Recognition {
        recognize(self.api_version.as_deref().unwrap_or_default(), self.kind.as_deref().unwrap_or_default())
    }

    /// The kind of an item; `unnamed` if it names none.
    fn kind_in_list(&self, unnamed: Option<Kind>) -> Option<Kind> {
        match self.recognition() {
            Recognition::Kind(kind) => Some(kind),
            _ if self.kind.is_none() && self.api_version.is_none() => unnamed,
            _ => None,
        }
    }

    fn key(&self, kind: Kind) -> Option<Key> {
        let metadata = self.metadata.as_ref()?;
        let name = metadata.name.as_ref()?;
        let namespace = metadata.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or("default");
        Some(if kind.is_namespaced() { Key::namespaced(kind, namespace, name) } else { Key::cluster(kind, name) })
    }

    fn ignored(self, document: usize) -> Ignored {
        Ignored {
            document,
            api_version: self.api_version.unwrap_or_default(),
            kind: self.kind.unwrap_or_default(),
            name: self.metadata.and_then(|metadata| metadata.name).unwrap_or_default(),
        }
    }

    /// The field that every manifest must have and this one has not.
    fn missing(&self) -> Option<&'static str> {
        let absent = |field: &Option<String>| field.as_deref().is_none_or(str::is_empty);
        match (absent(&self.api_version), absent(&self.kind)) {
            (true, _) => Some("apiVersion"),
            (_, true) => Some("kind"),
            _ => None,
        }
    }
}

impl Document<'_> {
    fn decode(self, decoded: &mut Decoded) {
        let header = match self.read(Root(PhantomData::<Header>)) {
            Ok(header) => header,
            Err(failure) => return self.refuse(None, failure, decoded),
        };
        if let Some(field) = header.missing() {
            let reason = Reason::Malformed { field: Some(field.to_owned()), message: "is missing".to_owned() };
            return self.problem(None, self.locate(""), reason, decoded);
        }
        match header.recognition() {
            Recognition::Ignored => decoded.ignored.push(header.ignored(self.index)),
            Recognition::Kind(kind) => match self.read(list::Object(kind)) {
                Ok(resource) => self.admit(resource, "", decoded),
                Err(failure) => self.refuse(header.key(kind), failure, decoded),
            },
            Recognition::List(kind) => self.decode_list(kind, header.items.unwrap_or_default(), decoded),
        }
    }

    /// Reads the items of a list. One that has not the form of its kind is left out, and the rest is read again.
    fn decode_list(self, unnamed: Option<Kind>, headers: Vec<Header>, decoded: &mut Decoded) {
        let mut kinds: Vec<Option<Kind>> = headers.iter().map(|header| header.kind_in_list(unnamed)).collect();
        let keys: Vec<Option<Key>> = headers.iter().zip(&kinds).map(|(h, kind)| kind.and_then(|k| h.key(k))).collect();
        let unknown = headers.into_iter().zip(&kinds).filter(|(_, kind)| kind.is_none());
        decoded.ignored.extend(unknown.map(|(header, _)| header.ignored(self.index)));
        for _ in 0..=list::REFUSED_ITEMS {
            let failure = match self.read(list::List(&kinds)) {
                Ok(items) => {
                    for (index, resource) in items {
                        self.admit(resource, &format!("items[{index}]."), decoded);
                    }
                    return;
                }
                Err(failure) => failure,
            };
            let item = failure.field.as_deref().and_then(list::item_of);
            let key = item.and_then(|item| keys.get(item).cloned().flatten());
            let skip = item.and_then(|item| kinds.get_mut(item)).is_some_and(|kind| kind.take().is_some());
            self.refuse(key, failure, decoded);
            if !skip {
                return;
            }
        }
        let message = format!("more than {} items are wrong; the others are not looked at", list::REFUSED_ITEMS);
        self.problem(None, None, Reason::Malformed { field: Some("items".to_owned()), message }, decoded);
    }

    fn admit(self, mut resource: Resource, prefix: &str, decoded: &mut Decoded) {
        resource.normalize();
        let key = resource.key();
        if decoded.objects.contains_key(&key) {
            let position = self.locate(&format!("{prefix}metadata.name"));
            let reason = Reason::Duplicate { first: PathBuf::new() };
            return self.problem(Some(key), position, reason, decoded);
        }
        match resource.validate() {
            Ok(()) => {
                decoded.objects.insert(key, (self.index, resource));
            }
            Err(invalid) => {
                for mut invalid in invalid {
                    invalid.field.insert_str(0, prefix);
                    let position = self.locate(&invalid.field);
                    self.problem(Some(key.clone()), position, Reason::Invalid(invalid), decoded);
                }
            }
        }
    }

    fn refuse(self, key: Option<Key>, failure: Failure, decoded: &mut Decoded) {
        let Failure { field, message, position } = failure;
        self.problem(key, position, Reason::Malformed { field, message }, decoded);
    }

    fn problem(self, key: Option<Key>, position: Option<Position>, reason: Reason, decoded: &mut Decoded) {
        decoded.problems.push(Problem { document: self.index, key, position, reason });
    }

    /// Where a field is, or the nearest one around it.
    fn locate(self, field: &str) -> Option<Position> {
        locate::locate(self.text, field).map(|position| self.in_file(position))
    }

    fn in_file(self, position: Position) -> Position {
        Position { line: position.line + self.line, ..position }
    }
}

/// Why a document could not be read.
struct Failure {
    field: Option<String>,
    message: String,
    position: Option<Position>,
}

/// What can be read from any deserializer.
trait Shape {
    type Value;

    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error>;
}

struct Root<T>(PhantomData<T>);

impl<T: for<'de> Deserialize<'de>> Shape for Root<T> {
    type Value = T;

    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }
}

impl Document<'_> {
    fn read<S: Shape>(self, shape: S) -> Result<S::Value, Failure> {
        match self.format {
            Format::Yaml => self.read_yaml(shape),
            Format::Json => self.read_json(shape),
        }
    }

    fn read_yaml<S: Shape>(self, shape: S) -> Result<S::Value, Failure> {
        let mut field = None;
        let read = serde_saphyr::with_deserializer_from_str_with_options(self.text, options(), |deserializer| {
            let mut track = serde_path_to_error::Track::new();
            let read = shape.read(serde_path_to_error::Deserializer::new(deserializer, &mut track));
            read.inspect_err(|_| field = path(track))
        });
        read.map_err(|error| {
            let error = error.without_snippet();
            let location = error.location().filter(|location| location.line() > 0);
            let position = location.map(|at| Position { line: whole(at.line()), column: whole(at.column()) });
            Failure { field, message: message(&error.to_string()), position: position.map(|at| self.in_file(at)) }
        })
    }

    fn read_json<S: Shape>(self, shape: S) -> Result<S::Value, Failure> {
        let mut deserializer = serde_json::Deserializer::from_str(self.text);
        let mut track = serde_path_to_error::Track::new();
        let read = shape.read(serde_path_to_error::Deserializer::new(&mut deserializer, &mut track));
        read.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| {
            let position = Position { line: error.line(), column: error.column().max(1) };
            let position = Some(position).filter(|at| at.line > 0).map(|at| self.in_file(at));
            Failure { field: path(track), message: message(&error.to_string()), position }
        })
    }
}

fn path(track: serde_path_to_error::Track) -> Option<String> {
    let path = track.path().to_string();
    // A step that could not be read.
    let path = path.strip_suffix(".?").unwrap_or(&path);
    Some(path.to_owned()).filter(|path| path != "." && path != "?")
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Both parsers append the position, which is reported beside the message, and one of them advice for programmers.
fn message(text: &str) -> String {
    let text = text.split(", set DuplicateKeyPolicy").next().unwrap_or(text);
    let cut = [" at line ", " at <input>:"].iter().filter_map(|mark| text.rfind(mark)).min();
    cut.and_then(|at| text.get(..at)).unwrap_or(text).to_owned()
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 50_000_000,
            max_nodes: 50_000_000,
            max_total_scalar_bytes: 1 << 30,
        },
        emit_comments: false,
    }
}
