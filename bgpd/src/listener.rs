//! Listening sockets that follow the configured port and are tried again until they can be had.

use std::{io, time::Duration};

use tokio::{net::TcpListener, sync::mpsc, task::AbortHandle};

use crate::{input::Input, sockets};

const RETRY: Duration = Duration::from_secs(1);

/// Keeps sockets open on one port.
pub(crate) struct Supervisor {
    inputs: mpsc::Sender<Input>,
    listening: Option<(u16, AbortHandle)>,
}

impl Supervisor {
    /// Connections go to `inputs`.
    pub(crate) const fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs, listening: None }
    }

    /// Listens on `port`, and nowhere else.
    pub(crate) fn listen(&mut self, port: u16) {
        if self.listening.as_ref().is_some_and(|(current, _)| *current == port) {
            return;
        }
        if let Some((_, task)) = self.listening.take() {
            task.abort();
        }
        let task = tokio::spawn(serve(port, self.inputs.clone()));
        self.listening = Some((port, task.abort_handle()));
    }
}

async fn serve(port: u16, inputs: mpsc::Sender<Input>) {
    let mut said = false;
    let listeners = loop {
        match sockets::listen(port) {
            Ok(listeners) => break listeners,
            Err(error) if !said => {
                tracing::error!(port, %error, "{}; trying on", advice(&error));
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    };
    tracing::info!(port, "listening for BGP");
    let accepting = listeners.into_iter().map(|listener: TcpListener| sockets::accept(listener, inputs.clone()));
    futures_util::future::join_all(accepting).await;
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another BGP speaker listens on this port; stop it, or set BGPConfiguration listenPort"
        }
        io::ErrorKind::PermissionDenied => "listening needs CAP_NET_BIND_SERVICE",
        _ => "cannot listen for BGP",
    }
}
