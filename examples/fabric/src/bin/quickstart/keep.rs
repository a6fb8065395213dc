//! The fabric after the show: a shell on every node, or a live picture.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use fabric::{Node, outer_pid};

use crate::{options::Options, picture, rack::Rack};

/// Keeps everything running until the person has had enough.
pub(crate) fn keep(rack: &mut Rack, options: &Options) -> Result<()> {
    if options.watch {
        return watch(rack);
    }
    help(rack);
    let interactive = io::stdin().is_terminal();
    let mut lines = io::stdin().lock().lines();
    loop {
        print!("fabric> ");
        io::stdout().flush().context("writing to the terminal")?;
        let Some(line) = lines.next() else { return Ok(()) };
        match line.context("reading from the terminal")?.trim() {
            "quit" | "exit" => return Ok(()),
            "picture" => print!("{}", picture::draw(rack)),
            "" | "help" => help(rack),
            name => match place(rack, name) {
                Some(node) if interactive => shell(rack, &node)?,
                Some(_) => println!("a shell needs a terminal"),
                None => println!("there is no {name}"),
            },
        }
    }
}

fn help(rack: &Rack) {
    let pods: Vec<_> = rack.pods().keys().map(String::as_str).collect();
    println!("\nEverything keeps running. Type one of");
    println!("   tor-1 client node-a node-b node-c {}", pods.join(" "));
    println!("for a shell there, `picture`, or `quit`. The manifests are in {}:", rack.manifests().folder().display());
    println!("edit them in a shell and they take effect at once.");
    if let Some(pid) = outer_pid() {
        println!("From another terminal: nsenter --target {pid} --all ip netns exec node-a bash");
    }
}

fn place(rack: &Rack, name: &str) -> Option<Node> {
    match name {
        "tor-1" => Some(rack.tor.clone()),
        "client" => Some(rack.client.clone()),
        _ => rack.node(name).ok().or_else(|| rack.pod(name).ok().map(|pod| pod.inside())).cloned(),
    }
}

/// bgpd and felix find their sockets and themselves there.
fn shell(rack: &Rack, node: &Node) -> Result<()> {
    // With a terminal of its own: from inside the PID namespace bash could not give ours back.
    let mut command = Command::new("script");
    let bash = format!("PS1='{}# ' exec bash --norc -i", node.name());
    command.args(["--quiet", "--command", &bash, "/dev/null"]).env("HISTFILE", "");
    if let Ok(daemons) = rack.daemons(node.name()) {
        command.env("TORTIE_BGPD_SOCKET", daemons.socket("bgpd")).env("TORTIE_FELIX_SOCKET", daemons.socket("felix"));
        println!(
            "try: bgpd show peers, bgpd show routes, felix show endpoints, felix show ipam, nft list table inet tortie"
        );
    }
    let folder = fabric::binary("felix")?.parent().map(ToOwned::to_owned).unwrap_or_default();
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display())).current_dir(rack.manifests().folder());
    node.inside(|| command.status().context("running script (bsdutils)")).map(drop)
}

fn watch(rack: &Rack) -> Result<()> {
    loop {
        print!("\x1b[2J\x1b[H{}\nCtrl-C ends it\n", picture::draw(rack));
        io::stdout().flush().context("writing to the terminal")?;
        thread::sleep(Duration::from_secs(1));
    }
}
