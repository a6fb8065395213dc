//! `felix`: the node agent of tortie.

mod addresses;
mod agent;
mod cni;
mod commands;
mod dataplane;
mod inventory;
mod metrics;
mod origin;
mod published;
mod record;
mod run;
mod status;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use commands::{ClientOptions, Verb};
use daemon::{config, exit::Exit, log};

/// The node agent of tortie: policy, pod routes, addresses, the CNI server.
#[derive(Parser, Debug)]
#[command(version, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    client: ClientOptions,
}

const EXAMPLES: &str = "Examples:
  felix run -c /etc/tortie/node.yaml    agent of a node
  felix status                          is everything as it should be
  felix check policy.yaml               is a manifest right
  felix show endpoints                  pods on this node
  felix show policy default/web-1       what applies to a pod";

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs the agent.
    Run {
        /// The node's configuration file.
        #[arg(short, long)]
        config: PathBuf,
    },
    /// Judges manifests before they are put into the folder: exit 1 if one is not valid.
    Check {
        /// YAML or JSON files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    #[command(flatten)]
    Client(Verb),
}

#[tokio::main]
async fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command {
        Command::Client(verb) => commands::run(verb, &line.client).await.into(),
        Command::Check { files } => commands::check(&files).into(),
        Command::Run { config } => match run_daemon(config).await {
            Ok(()) => Exit::Good.into(),
            Err(error) => {
                eprintln!("felix: {error:#}");
                Exit::Bad.into()
            }
        },
    }
}

async fn run_daemon(path: PathBuf) -> anyhow::Result<()> {
    let config: config::NodeConfig = config::read(&path)?;
    log::start(config.log())?;
    run::run(config).await
}
