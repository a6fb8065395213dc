//! Listening sockets that follow the configured port and passwords and are tried again until they can be had.

use std::{io, time::Duration};

use futures_util::future::{join, join_all};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::AbortHandle,
};

use crate::{
    input::Input,
    password::{Passwords, unsign},
    sockets,
};

const RETRY: Duration = Duration::from_secs(1);

/// Keeps sockets open on one port.
pub(crate) struct Supervisor {
    inputs: mpsc::Sender<Input>,
    passwords: watch::Sender<Passwords>,
    listening: Option<(u16, AbortHandle)>,
}

impl Supervisor {
    /// Connections go to `inputs`.
    pub(crate) fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs, passwords: watch::Sender::default(), listening: None }
    }

    /// Listens on `port`, and nowhere else.
    pub(crate) fn listen(&mut self, port: u16) {
        if self.listening.as_ref().is_some_and(|(current, _)| *current == port) {
            return;
        }
        if let Some((_, task)) = self.listening.take() {
            task.abort();
        }
        let task = tokio::spawn(serve(port, self.passwords.subscribe(), self.inputs.clone()));
        self.listening = Some((port, task.abort_handle()));
    }

    /// From these peers, only what is signed with their password is heard.
    pub(crate) fn sign(&self, passwords: &Passwords) {
        self.passwords.send_if_modified(|current| {
            let modified = current != passwords;
            if modified {
                current.clone_from(passwords);
            }
            modified
        });
    }
}

async fn serve(port: u16, passwords: watch::Receiver<Passwords>, inputs: mpsc::Sender<Input>) {
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
    let accepting = join_all(listeners.iter().map(|listener| sockets::accept(listener, inputs.clone())));
    // In this order: passwords are set before anybody is heard.
    join(follow(&listeners, passwords), accepting).await;
}

/// Keeps the passwords of the sockets what they should be.
async fn follow(listeners: &[TcpListener], mut passwords: watch::Receiver<Passwords>) {
    let mut current = Passwords::new();
    loop {
        let wanted = passwords.borrow_and_update().clone();
        for listener in listeners {
            let Ok(own) = listener.local_addr() else { continue };
            for peer in current.keys().filter(|peer| peer.is_ipv4() == own.is_ipv4() && !wanted.contains_key(peer)) {
                if let Err(error) = unsign(listener, *peer) {
                    tracing::warn!(%peer, %error, "cannot take the password of a peer off the listening socket");
                }
            }
            for (peer, password) in wanted.iter().filter(|(peer, _)| peer.is_ipv4() == own.is_ipv4()) {
                if current.get(peer) != Some(password)
                    && let Err(error) = password.sign(listener, *peer)
                {
                    tracing::error!(%peer, %error, "cannot set the password of a peer on the listening socket; \
                                    with many peers net.core.optmem_max must be larger");
                }
            }
        }
        current = wanted;
        if passwords.changed().await.is_err() {
            return;
        }
    }
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
