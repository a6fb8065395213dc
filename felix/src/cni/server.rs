//! The gRPC side of the CNI server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proto::cni::{
    AddReply, AddRequest, CheckReply, CheckRequest, CniError, DelReply, DelRequest, StatusReply, StatusRequest,
    cni_server::Cni,
};
use tonic::{Request, Response, Status};

use super::{CniFailure, Wiring};

const NOT_AVAILABLE: u32 = 50;
/// Longest wait for an answer: shorter than the plugin's patience, so that the runtime hears the reason and the code that
/// says to come again.
const ANSWER_WITHIN: Duration = Duration::from_secs(50);

/// Serves the plugin.
pub(crate) struct CniService {
    wiring: Arc<Wiring>,
}

impl CniService {
    /// Serves with this wiring.
    pub(crate) fn new(wiring: Arc<Wiring>) -> Self {
        Self { wiring }
    }

    /// Runs to the end whatever becomes of the caller, and counts. What takes too long goes on, holding its interface: the
    /// same ADD again gets its answer, and a DEL takes back what it did.
    async fn finish<T: Send + 'static>(
        &self,
        command: &'static str,
        work: impl Future<Output = Result<T, CniFailure>> + Send + 'static,
    ) -> Result<Result<T, CniError>, Status> {
        let begun = Instant::now();
        let result = match tokio::time::timeout(ANSWER_WITHIN, tokio::spawn(work)).await {
            Ok(ended) => ended.map_err(|error| Status::internal(error.to_string()))?,
            Err(_) => Err(CniFailure::Late { within: ANSWER_WITHIN }),
        };
        let result = result.map_err(CniError::from);
        if let Err(error) = &result {
            tracing::warn!(command, code = error.code, "{}", error.message);
        }
        self.wiring.metrics.cni(command, begun.elapsed(), result.as_ref().err().map(|error| error.code));
        Ok(result)
    }
}

#[tonic::async_trait]
impl Cni for CniService {
    async fn add(&self, request: Request<AddRequest>) -> Result<Response<AddReply>, Status> {
        let wiring = Arc::clone(&self.wiring);
        let reply = match self.finish("ADD", async move { wiring.add(request.into_inner()).await }).await? {
            Ok(result) => AddReply { result: Some(result), error: None },
            Err(error) => AddReply { result: None, error: Some(error) },
        };
        Ok(Response::new(reply))
    }

    async fn del(&self, request: Request<DelRequest>) -> Result<Response<DelReply>, Status> {
        let wiring = Arc::clone(&self.wiring);
        let attachment = request.into_inner().attachment.unwrap_or_default();
        let result = self.finish("DEL", async move { wiring.del(&attachment).await }).await?;
        Ok(Response::new(DelReply { error: result.err() }))
    }

    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckReply>, Status> {
        let wiring = Arc::clone(&self.wiring);
        let result = self.finish("CHECK", async move { wiring.check(request.into_inner()).await }).await?;
        Ok(Response::new(CheckReply { error: result.err() }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let error = |text: &str| CniError { code: NOT_AVAILABLE, message: text.to_owned(), details: String::new() };
        let usable = self.wiring.inventory.borrow().pools().any(|pool| !pool.spec.disabled);
        let error = if !self.wiring.published.borrow().in_sync {
            Some(error("felix has not read the whole datastore yet; see felix status"))
        } else if !usable {
            Some(error("there is no IPPool that is not disabled: create one"))
        } else {
            None
        };
        Ok(Response::new(StatusReply { error }))
    }
}
