//! Listening sockets that follow the configured port, addresses and passwords and are tried again until they can be had.

use std::{io, time::Duration};

use futures_util::future::{join, join_all};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    input::Input,
    password::{Passwords, unsign},
    sockets::{self, Listen},
};

const RETRY: Duration = Duration::from_secs(1);

/// Keeps sockets open.
pub(crate) struct Supervisor {
    inputs: mpsc::Sender<Input>,
    passwords: watch::Sender<Passwords>,
    listening: Option<(Listen, JoinHandle<()>)>,
}

impl Supervisor {
    /// Connections go to `inputs`.
    pub(crate) fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs, passwords: watch::Sender::default(), listening: None }
    }

    /// Listens there, and nowhere else.
    pub(crate) fn listen(&mut self, listen: Listen) {
        if self.listening.as_ref().is_some_and(|(current, _)| *current == listen) {
            return;
        }
        let before = self.listening.take().map(|(_, task)| task);
        before.iter().for_each(JoinHandle::abort);
        let (passwords, inputs) = (self.passwords.subscribe(), self.inputs.clone());
        let wanted = listen.clone();
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // Its sockets are closed when it has ended.
                let _ = before.await;
            }
            serve(&wanted, passwords, inputs).await;
        });
        self.listening = Some((listen, task));
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

async fn serve(listen: &Listen, passwords: watch::Receiver<Passwords>, inputs: mpsc::Sender<Input>) {
    let (mut said, port) = (false, listen.port);
    let listeners = loop {
        match sockets::listen(listen) {
            Ok(listeners) => break listeners,
            Err(error) if !said => {
                tracing::error!(port, %error, "{}; trying on", advice(&error));
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    };
    tracing::info!(port, addresses = ?listen.addresses, "listening for BGP");
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
