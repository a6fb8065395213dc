//! Tells bgpd which prefixes this node originates, for as long as both live.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnetwork::IpNetwork;
use proto::bgp::{OriginPrefix, OriginUpdate, origin_client::OriginClient};
use tokio::sync::{mpsc, watch};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// What to originate: prefix → why. `None` until the first complete picture is known.
pub(crate) type Origins = Option<Arc<BTreeMap<IpNetwork, String>>>;

const SOURCE: &str = "felix";
const RETRY: Duration = Duration::from_millis(200);
const QUEUE: usize = 16;

/// Keeps a stream to bgpd open and sends what changes. Returns when the sender of `origins` is gone.
pub(crate) async fn announce(socket: PathBuf, mut origins: watch::Receiver<Origins>) {
    let mut said = false;
    while origins.has_changed().is_ok() {
        match session(&socket, &mut origins).await {
            Ok(()) => return,
            Err(error) if !said => tracing::warn!(%error, "bgpd does not take our prefixes; trying on"),
            Err(error) => tracing::debug!(%error, "bgpd does not take our prefixes yet"),
        }
        said = true;
        tokio::time::sleep(RETRY).await;
    }
}

/// Why a stream to bgpd ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Connect(#[from] daemon::rpc::Error),
    #[error("bgpd: {0}")]
    Status(#[from] tonic::Status),
    #[error("bgpd closed the stream")]
    Closed,
}

async fn session(socket: &Path, origins: &mut watch::Receiver<Origins>) -> Result<(), Ended> {
    let mut client = OriginClient::new(daemon::rpc::connect(socket).await?);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut replies = client.announce(ReceiverStream::new(receiver)).await?.into_inner();
    let mut sent = BTreeMap::new();
    let mut in_sync = false;
    loop {
        let wanted = origins.borrow_and_update().clone();
        if let Some(wanted) = wanted
            && (!in_sync || *wanted != sent)
        {
            let update = difference(&sent, &wanted);
            sender.send(update).await.map_err(|_| Ended::Closed)?;
            sent.clone_from(&wanted);
            in_sync = true;
        }
        tokio::select! {
            changed = origins.changed() => if changed.is_err() { return Ok(()) },
            reply = replies.next() => match reply {
                Some(Ok(status)) if !status.refused.is_empty() => tracing::warn!(reason = status.refused, "bgpd refused a prefix"),
                Some(Ok(_)) => {}
                Some(Err(status)) => return Err(status.into()),
                None => return Err(Ended::Closed),
            },
        }
    }
}

fn difference(sent: &BTreeMap<IpNetwork, String>, wanted: &BTreeMap<IpNetwork, String>) -> OriginUpdate {
    OriginUpdate {
        source: SOURCE.to_owned(),
        announce: wanted
            .iter()
            .filter(|(prefix, cause)| sent.get(*prefix) != Some(*cause))
            .map(|(prefix, cause)| OriginPrefix { prefix: prefix.to_string(), cause: cause.clone() })
            .collect(),
        withdraw: sent.keys().filter(|prefix| !wanted.contains_key(*prefix)).map(ToString::to_string).collect(),
        in_sync: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<IpNetwork, String> {
        entries.iter().map(|(p, c)| (p.parse().unwrap(), (*c).to_owned())).collect()
    }

    #[test]
    fn only_what_changed_is_sent() {
        let update = difference(
            &map(&[("10.65.0.0/26", "a"), ("10.65.1.0/26", "b"), ("10.65.2.0/26", "c")]),
            &map(&[("10.65.0.0/26", "a"), ("10.65.1.0/26", "x"), ("10.65.3.0/26", "d")]),
        );
        let announced: Vec<_> = update.announce.iter().map(|p| p.prefix.as_str()).collect();
        assert_eq!(announced, ["10.65.1.0/26", "10.65.3.0/26"]);
        assert_eq!(update.withdraw, ["10.65.2.0/26"]);
        assert!(update.in_sync);
    }
}
