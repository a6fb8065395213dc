//! `bgpd`: a BGP speaker for a node, or for a router.

mod advertising;
mod api;
mod bfd_metrics;
mod clock;
mod cluster;
mod commands;
mod connection;
mod driver;
mod events;
mod farewell;
mod fib;
mod input;
mod listener;
mod liveness;
mod metrics;
mod nexthops;
mod node_status;
mod password;
mod peer_options;
mod peer_routes;
mod recorded;
mod run;
mod sockets;
mod source;
mod static_config;
mod static_file;
mod view;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand};
use commands::{ClientOptions, Verb};
use daemon::{config, exit::Exit, log};

/// The BGP speaker of tortie.
#[derive(Parser, Debug)]
#[command(version, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    client: ClientOptions,
}

const EXAMPLES: &str = "Examples:
  bgpd run -c /etc/tortie/node.yaml     speaker of a node
  bgpd run --static router.yaml         speaker of a router
  bgpd show peers                       all sessions
  bgpd explain 10.65.3.64/26            why a prefix goes where it goes
  bgpd drain                            before maintenance: traffic moves away, sessions stay
  bgpd replay FILE                      a recording (run --record FILE) once more";

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs the speaker.
    Run(RunOptions),
    /// Plays a recording, or a case of the conformance tests, and says what differs.
    Replay {
        /// What `run --record` wrote, or a `.case`.
        file: PathBuf,
    },
    #[command(flatten)]
    Client(Verb),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("source").required(true))]
struct RunOptions {
    /// The node's configuration file.
    #[arg(short, long, group = "source")]
    config: Option<PathBuf>,
    /// A router's configuration file.
    #[arg(long = "static", value_name = "FILE", group = "source")]
    static_file: Option<PathBuf>,
    /// At the end (SIGTERM), tell peers for this many seconds that traffic shall find another way, then leave for good.
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u16>,
    /// Writes everything that goes into the speaker and comes out of it into a new file, for `bgpd replay`. Without a bound.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

// One thread for sockets and speaker: what one hands to the other stays in its caches, and its memory in one arena.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let line = CommandLine::parse();
    match line.command {
        Command::Client(verb) => commands::run(verb, &line.client).await.into(),
        Command::Replay { file } => commands::replay(&file).into(),
        Command::Run(options) => match run_daemon(options).await {
            Ok(()) => Exit::Good.into(),
            Err(error) => {
                eprintln!("bgpd: {error:#}");
                Exit::Bad.into()
            }
        },
    }
}

async fn run_daemon(options: RunOptions) -> anyhow::Result<()> {
    let wishes = run::Wishes {
        drain_time: options.drain.map(|seconds| Duration::from_secs(seconds.into())),
        recording: options.record.as_deref().map(recorded::Recording::create).transpose()?,
    };
    if let Some(path) = options.config {
        let config: config::NodeConfig = config::read(&path)?;
        log::start(config.log())?;
        return run::node(config, wishes).await;
    }
    let Some(path) = options.static_file else { return Ok(()) };
    let config = static_file::read(&path)?;
    log::start(&config.log)?;
    run::router(path, config, wishes).await
}
