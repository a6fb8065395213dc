//! The one call to felix.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use proto::cni::{
    AddReply, AddRequest, AddResult, Attachment, CheckRequest, CniError, DelRequest, NetworkConfig, StatusRequest,
    cni_client::CniClient,
};
use tokio::{
    net::UnixStream,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::{arguments::Verb, error::Error, result::Promised};

/// How long a felix that restarts is waited for.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const CONNECT_RETRY: Duration = Duration::from_millis(50);
/// Under the two minutes that kubelet gives a sandbox, so that the reason reaches the pod's events.
const CALL_DEADLINE: Duration = Duration::from_secs(60);
/// STATUS is asked often, and an answer that takes long is one.
const STATUS_DEADLINE: Duration = Duration::from_secs(2);

/// A connection to felix for one verb.
pub(crate) struct Client {
    verb: Verb,
    rpc: CniClient<Channel>,
}

impl Client {
    /// Connects, and waits a little for a felix that is not there: longer would only hide the reason from the runtime.
    pub(crate) async fn connect(verb: Verb, socket: &Path) -> Result<Self, Error> {
        let patience = if verb == Verb::Status { Duration::ZERO } else { CONNECT_DEADLINE };
        let give_up = Instant::now() + patience;
        loop {
            match dial(socket.to_owned()).await {
                Ok(channel) => return Ok(Self { verb, rpc: CniClient::new(channel) }),
                Err(source) if Instant::now() >= give_up => {
                    return Err(Error::Unreachable { socket: socket.to_owned(), source });
                }
                Err(_) => sleep(CONNECT_RETRY).await,
            }
        }
    }

    pub(crate) async fn add(mut self, attachment: Attachment, config: NetworkConfig) -> Result<AddResult, Error> {
        let request = AddRequest { attachment: Some(attachment), config: Some(config) };
        match finish(self.verb, self.rpc.add(request)).await? {
            AddReply { error: Some(refusal), .. } => Err(Error::Refused(refusal)),
            AddReply { result: Some(result), .. } => Ok(result),
            AddReply { .. } => Err(Error::EmptyReply { verb: self.verb.name() }),
        }
    }

    pub(crate) async fn del(mut self, attachment: Attachment) -> Result<(), Error> {
        let request = DelRequest { attachment: Some(attachment) };
        accepted(finish(self.verb, self.rpc.del(request)).await?.error)
    }

    pub(crate) async fn check(mut self, attachment: Attachment, promised: Promised) -> Result<(), Error> {
        let Promised { addresses, host_interfaces } = promised;
        let request = CheckRequest { attachment: Some(attachment), addresses, host_interfaces };
        accepted(finish(self.verb, self.rpc.check(request)).await?.error)
    }

    pub(crate) async fn status(mut self) -> Result<(), Error> {
        accepted(finish(self.verb, self.rpc.status(StatusRequest {})).await?.error)
    }
}

async fn dial(socket: PathBuf) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    // The address is never resolved: the connector ignores it.
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await
}

async fn finish<T>(verb: Verb, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Error> {
    let limit = if verb == Verb::Status { STATUS_DEADLINE } else { CALL_DEADLINE };
    match timeout(limit, call).await {
        Err(_) => Err(Error::Deadline { verb: verb.name(), seconds: limit.as_secs() }),
        Ok(Err(status)) => Err(Error::Call { verb: verb.name(), status: Box::new(status) }),
        Ok(Ok(response)) => Ok(response.into_inner()),
    }
}

fn accepted(refusal: Option<CniError>) -> Result<(), Error> {
    refusal.map_or(Ok(()), |refusal| Err(Error::Refused(refusal)))
}
