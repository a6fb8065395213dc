//! `tortie`, the CNI plugin: takes what the runtime says, makes one call to felix, and gives back what felix answers. It
//! holds no state and no credential (CNI specification 1.1.0).

mod arguments;
mod client;
mod config;
mod error;
mod result;
mod section;
mod version;

use std::{
    env,
    io::{self, Read, Write},
    process::ExitCode,
};

use proto::cni::Attachment;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    arguments::{Arguments, Verb},
    client::Client,
    config::Config,
    error::Error,
    version::Version,
};

fn main() -> ExitCode {
    let mut stdin = Vec::new();
    let verb = Verb::parse(&variable("CNI_COMMAND").unwrap_or_default());
    let is_status = matches!(verb, Ok(Verb::Status));
    // Read whatever the verb is: a runtime that finds the pipe closed reports that, and not our answer.
    let read = io::stdin().lock().read_to_end(&mut stdin).map_err(Error::Stdin);
    let outcome = verb.and_then(|verb| read.and_then(|_| run(verb, &stdin)));
    let printed = match &outcome {
        Ok(None) => Ok(()),
        Ok(Some(result)) => print(result),
        Err(error) => print(&error.object(config::version_of(&stdin).unwrap_or(Version::NEWEST), is_status)),
    };
    match (outcome, printed) {
        (Ok(_), Ok(())) => ExitCode::SUCCESS,
        (_, Err(error)) => {
            eprintln!("tortie: {error}");
            ExitCode::FAILURE
        }
        (Err(_), Ok(())) => ExitCode::FAILURE,
    }
}

fn variable(name: &str) -> Option<String> {
    // A value that is no UTF-8 must not pass as an absent one.
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn print(object: &impl Serialize) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, object).map_err(|error| Error::Stdout(error.into()))?;
    stdout.write_all(b"\n").map_err(Error::Stdout)
}

/// Serves one verb. The value is what goes to stdout.
fn run(verb: Verb, stdin: &[u8]) -> Result<Option<Value>, Error> {
    match verb {
        Verb::Version => {
            // A runtime asks in its own version, which need not be one of ours.
            let asked = serde_json::from_slice::<Value>(stdin).ok().and_then(|asked| asked.get("cniVersion").cloned());
            let version = asked.unwrap_or_else(|| json!(Version::NEWEST));
            Ok(Some(json!({"cniVersion": version, "supportedVersions": Version::ALL})))
        }
        Verb::Gc => {
            read_config(verb, stdin, None)?;
            Err(Error::GarbageCollection)
        }
        Verb::Status => {
            let config = read_config(verb, stdin, None)?;
            block_on(async { Client::connect(verb, &config.socket).await?.status().await })?;
            Ok(None)
        }
        Verb::Add | Verb::Del | Verb::Check => {
            let arguments = Arguments::read(verb, variable)?;
            let config = read_config(verb, stdin, Some(&arguments))?;
            attach(verb, &arguments, &config)
        }
    }
}

fn read_config(verb: Verb, stdin: &[u8], arguments: Option<&Arguments>) -> Result<Config, Error> {
    let none = Default::default();
    let config = Config::read(verb, stdin, arguments.map_or(&none, |arguments| &arguments.args))?;
    for warning in &config.warnings {
        eprintln!("tortie: {warning}");
    }
    Ok(config)
}

/// The verbs about one container.
fn attach(verb: Verb, arguments: &Arguments, config: &Config) -> Result<Option<Value>, Error> {
    let attachment = Attachment {
        container_id: arguments.container_id.clone(),
        netns: arguments.netns.clone(),
        if_name: arguments.if_name.clone(),
        args: arguments.args.clone().into_iter().collect(),
        network: config.network.clone(),
    };
    match verb {
        Verb::Add => {
            let added = block_on(async {
                Client::connect(verb, &config.socket).await?.add(attachment, config.felix.clone()).await
            })?;
            result::add(config, arguments, &added).map(Some)
        }
        Verb::Check => {
            let promised = result::promised(config, arguments)?;
            block_on(async { Client::connect(verb, &config.socket).await?.check(attachment, promised).await })?;
            Ok(None)
        }
        _ => {
            block_on(async { Client::connect(verb, &config.socket).await?.del(attachment).await })?;
            Ok(None)
        }
    }
}

fn block_on<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(call)
}
