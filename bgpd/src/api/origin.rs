//! `Origin`: how prefixes of our own come in.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use engine::Prefix;
use ipnetwork::IpNetwork;
use proto::bgp::{OriginStatus, OriginUpdate, origin_server::Origin};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use crate::input::{Input, OriginInput};

const REPLIES: usize = 16;

/// Takes streams of prefixes. A source has one stream: a newer one of the same name takes its place.
pub(crate) struct OriginService {
    inputs: mpsc::Sender<Input>,
    streams: Arc<Streams>,
}

#[derive(Default)]
struct Streams {
    next: AtomicU64,
    current: Mutex<BTreeMap<String, u64>>,
}

impl Streams {
    fn begin(&self, source: &str) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.current.lock().unwrap_or_else(PoisonError::into_inner).insert(source.to_owned(), number);
        number
    }

    fn is_current(&self, source: &str, number: u64) -> bool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).get(source) == Some(&number)
    }
}

impl OriginService {
    /// Hands what sources say to the loop.
    pub(crate) fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs, streams: Arc::default() }
    }
}

#[tonic::async_trait]
impl Origin for OriginService {
    type AnnounceStream = Pin<Box<dyn Stream<Item = Result<OriginStatus, Status>> + Send>>;

    async fn announce(
        &self,
        request: Request<Streaming<OriginUpdate>>,
    ) -> Result<Response<Self::AnnounceStream>, Status> {
        let mut updates = request.into_inner();
        let (replies, stream) = mpsc::channel(REPLIES);
        let (inputs, streams) = (self.inputs.clone(), self.streams.clone());
        tokio::spawn(async move {
            let Some(Ok(first)) = updates.next().await else { return };
            if first.source.is_empty() {
                let _ = replies
                    .send(Err(Status::invalid_argument("source: must name the source in the first message")))
                    .await;
                return;
            }
            let source = first.source.clone();
            let number = streams.begin(&source);
            if inputs.send(Input::Origin(OriginInput::Connected { source: source.clone() })).await.is_err() {
                return;
            }
            let mut held = 0_u32;
            let mut next = Some(first);
            while let Some(update) = next {
                if !streams.is_current(&source, number) {
                    let _ = replies.send(Err(Status::aborted("a newer stream of this source took its place"))).await;
                    return;
                }
                let (input, refused) = read(&source, update);
                if let OriginInput::Update { announce, withdraw, .. } = &input {
                    held = held.saturating_add(count(announce)).saturating_sub(count(withdraw));
                }
                if inputs.send(Input::Origin(input)).await.is_err() {
                    return;
                }
                let _ = replies.send(Ok(OriginStatus { prefixes: held, refused })).await;
                next = updates.next().await.and_then(Result::ok);
            }
            if streams.is_current(&source, number) {
                let _ = inputs.send(Input::Origin(OriginInput::Lost { source })).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

fn count<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

/// What the message says, and a sentence about the prefixes in it that are none.
fn read(source: &str, update: OriginUpdate) -> (OriginInput, String) {
    let mut refused = Vec::new();
    let mut parse = |text: &str| match text.parse::<IpNetwork>() {
        Ok(network) => Some(Prefix::from(network)),
        Err(_) => {
            refused.push(text.to_owned());
            None
        }
    };
    let announce = update.announce.into_iter().filter_map(|p| Some((parse(&p.prefix)?, p.cause))).collect();
    let withdraw = update.withdraw.iter().filter_map(|p| parse(p)).collect();
    let input = OriginInput::Update { source: source.to_owned(), announce, withdraw, in_sync: update.in_sync };
    let refused = if refused.is_empty() { String::new() } else { format!("no prefixes: {}", refused.join(", ")) };
    (input, refused)
}
