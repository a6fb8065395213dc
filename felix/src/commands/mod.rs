//! What a person types: one call to the running felix each, or an offline judgement of files.

mod check;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use daemon::{exit::Exit, output::Format};

pub(crate) use check::check;
pub(crate) use show::Show;

/// Options of every command that asks the running felix.
#[derive(Args, Debug)]
pub(crate) struct ClientOptions {
    /// felix's socket.
    #[arg(long, global = true, env = "TORTIE_FELIX_SOCKET", default_value = daemon::config::FELIX_SOCKET)]
    pub(crate) socket: PathBuf,
    /// table, json or jsonl.
    #[arg(short, long, global = true, default_value = "table")]
    pub(crate) output: Format,
}

/// Read verbs.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Health, sync, what is broken: exit 1 unless everything is good.
    Status,
    /// Endpoints, policies or addresses as they are in the kernel.
    #[command(subcommand)]
    Show(Show),
}

/// Runs a command.
pub(crate) async fn run(verb: Verb, options: &ClientOptions) -> Exit {
    let channel = match daemon::rpc::connect(&options.socket).await {
        Ok(channel) => channel,
        Err(error) => {
            eprintln!("felix: {error}");
            return Exit::Unreachable;
        }
    };
    let answered = match verb {
        Verb::Status => show::status(channel, options.output).await,
        Verb::Show(what) => show::show(channel, what, options.output).await,
    };
    answered.unwrap_or_else(|status| {
        eprintln!("felix: {}", status.message());
        daemon::exit::of_status(&status)
    })
}
