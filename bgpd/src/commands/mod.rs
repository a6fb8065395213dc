//! What a person types: one call to the running bgpd each.

mod bfd;
mod explain;
mod replay;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use daemon::{exit::Exit, output::Format};
use proto::bgp::{DrainRequest, bgp_client::BgpClient};
use tonic::transport::Channel;

pub(crate) use replay::replay;
pub(crate) use show::Show;

/// Options of every command that asks the running bgpd.
#[derive(Args, Debug)]
pub(crate) struct ClientOptions {
    /// bgpd's socket.
    #[arg(long, global = true, env = "TORTIE_BGPD_SOCKET", default_value = daemon::config::BGPD_SOCKET)]
    pub(crate) socket: PathBuf,
    /// table, json or jsonl.
    #[arg(short, long, global = true, default_value = "table")]
    pub(crate) output: Format,
}

/// Everything a running bgpd is asked.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Sessions and tables.
    #[command(subcommand)]
    Show(Show),
    /// Every candidate for a prefix, why it won or lost, whether it is in the kernel, to whom it goes.
    Explain {
        /// A prefix, or an address whose longest match is explained.
        prefix: String,
    },
    /// Moves traffic away before maintenance (GRACEFUL_SHUTDOWN, RFC 8326). Sessions and routes stay.
    Drain {
        /// Traffic may come back.
        #[arg(long)]
        undo: bool,
    },
    /// State changes as they happen, until interrupted.
    Watch {
        /// Route changes of this prefix; without it session changes.
        prefix: Option<String>,
    },
}

/// Runs a command.
pub(crate) async fn run(verb: Verb, options: &ClientOptions) -> Exit {
    let channel = match daemon::rpc::connect(&options.socket).await {
        Ok(channel) => channel,
        Err(error) => {
            eprintln!("bgpd: {error}");
            return Exit::Unreachable;
        }
    };
    let answered = match verb {
        Verb::Show(what) => show::show(channel, what, options.output).await,
        Verb::Explain { prefix } => explain::explain(channel, prefix, options.output).await,
        Verb::Drain { undo } => drain(channel, !undo).await,
        Verb::Watch { prefix } => show::watch(channel, prefix, options.output).await,
    };
    answered.unwrap_or_else(|status| {
        eprintln!("bgpd: {}", status.message());
        daemon::exit::of_status(&status)
    })
}

async fn drain(channel: Channel, on: bool) -> Result<Exit, tonic::Status> {
    BgpClient::new(channel).drain(DrainRequest { on }).await?;
    Ok(Exit::Good)
}

fn printed(result: Result<(), serde_json::Error>) -> Result<(), tonic::Status> {
    result.map_err(|error| tonic::Status::internal(error.to_string()))
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
