//! `Bgp`: status for people and programs.

use std::{net::IpAddr, pin::Pin};

use engine::{Family, Prefix, RouteQuery, RouteTable};
use ipnetwork::IpNetwork;
use proto::bgp::{
    DrainReply, DrainRequest, Event, ExplainReply, ExplainRequest, ListBfdReply, ListBfdRequest, ListPeersReply,
    ListPeersRequest, ListRoutesReply, ListRoutesRequest, WatchRequest, bgp_server::Bgp,
};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_stream::{Stream, StreamExt, wrappers::BroadcastStream};
use tonic::{Request, Response, Status};

use super::{bfd, convert};
use crate::{input::Input, liveness::Liveness, view::View};

/// Answers questions by asking the loop.
pub(crate) struct StatusService {
    inputs: mpsc::Sender<Input>,
    events: broadcast::Sender<Event>,
    liveness: Liveness,
}

impl StatusService {
    /// Asks over `inputs` and `liveness`; what is sent to `events` reaches watchers.
    pub(crate) fn new(inputs: mpsc::Sender<Input>, events: broadcast::Sender<Event>, liveness: Liveness) -> Self {
        Self { inputs, events, liveness }
    }

    async fn ask<T: Send + 'static>(&self, question: impl FnOnce(View<'_>) -> T + Send + 'static) -> Result<T, Status> {
        let (answer, answered) = oneshot::channel();
        let ask = Input::Ask(Box::new(move |view| {
            // Whoever asked may have gone away meanwhile.
            let _ = answer.send(question(view));
        }));
        self.inputs.send(ask).await.map_err(|_| Status::unavailable("bgpd is stopping"))?;
        answered.await.map_err(|_| Status::unavailable("bgpd is stopping"))
    }
}

#[tonic::async_trait]
impl Bgp for StatusService {
    async fn list_peers(&self, _: Request<ListPeersRequest>) -> Result<Response<ListPeersReply>, Status> {
        self.ask(|view| convert::list_peers(&view)).await.map(Response::new)
    }

    async fn list_bfd(&self, _: Request<ListBfdRequest>) -> Result<Response<ListBfdReply>, Status> {
        Ok(Response::new(bfd::list(&self.liveness.overview().await)))
    }

    async fn list_routes(&self, request: Request<ListRoutesRequest>) -> Result<Response<ListRoutesReply>, Status> {
        let query = query(request.into_inner())?;
        let reply = self.ask(move |view| {
            let speaker = view.speaker.ok_or_else(|| Status::unavailable(view.waiting_for.to_owned()))?;
            if let Some(peer) = peer_of(&query.table)
                && speaker.peer(peer).is_none()
            {
                return Err(Status::not_found(format!("no peer {peer}; `bgpd show peers` lists them")));
            }
            let routes = speaker.routes(&query).iter().map(convert::route).collect();
            Ok(ListRoutesReply { routes })
        });
        reply.await?.map(Response::new)
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainReply>, Status> {
        let text = request.into_inner().prefix;
        let wanted = text.parse::<IpAddr>().map_err(|_| ()).map(Target::Address);
        let wanted = wanted.or_else(|()| prefix(&text).map(Target::Prefix))?;
        let reply = self.ask(move |view| {
            let speaker = view.speaker.ok_or_else(|| Status::unavailable(view.waiting_for.to_owned()))?;
            let prefix = match wanted {
                Target::Prefix(prefix) => Some(prefix),
                Target::Address(address) => speaker.longest_match(address),
            };
            let explanation = prefix.and_then(|prefix| speaker.explain(prefix));
            explanation
                .map(|e| convert::explanation(&e))
                .ok_or_else(|| Status::not_found(format!("nothing is known of {text}")))
        });
        reply.await?.map(Response::new)
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainReply>, Status> {
        let (done, is_done) = oneshot::channel();
        let input = Input::Drain { on: request.into_inner().on, done };
        let stopping = || Status::unavailable("bgpd is stopping");
        self.inputs.send(input).await.map_err(|_| stopping())?;
        is_done.await.map_err(|_| stopping())?;
        Ok(Response::new(DrainReply {}))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let text = request.into_inner().prefix;
        let subject = if text.is_empty() { None } else { Some(prefix(&text)?.to_string()) };
        let events = BroadcastStream::new(self.events.subscribe()).filter_map(move |event| match event {
            Ok(event)
                if subject.as_ref().is_none_or(|s| *s == event.subject)
                    && (subject.is_some() || event.kind == "session") =>
            {
                Some(Ok(event))
            }
            Ok(_) => None,
            Err(_) => Some(Err(Status::data_loss("the watcher was too slow and missed events"))),
        });
        Ok(Response::new(Box::pin(events)))
    }
}

enum Target {
    Prefix(Prefix),
    Address(IpAddr),
}

fn peer_of(table: &RouteTable) -> Option<&str> {
    match table {
        RouteTable::LocRib => None,
        RouteTable::Received(peer)
        | RouteTable::Accepted(peer)
        | RouteTable::Rejected(peer)
        | RouteTable::Advertised(peer)
        | RouteTable::Withheld(peer) => Some(peer),
    }
}

fn prefix(text: &str) -> Result<Prefix, Status> {
    let network = text.parse::<IpNetwork>();
    network.map(Prefix::from).map_err(|_| Status::invalid_argument(format!("prefix {text:?}: must be ADDRESS/LENGTH")))
}

fn query(request: ListRoutesRequest) -> Result<RouteQuery, Status> {
    let table = match request.table.as_str() {
        "" | "loc-rib" => RouteTable::LocRib,
        "received" => RouteTable::Received(request.peer),
        "accepted" => RouteTable::Accepted(request.peer),
        "rejected" => RouteTable::Rejected(request.peer),
        "advertised" => RouteTable::Advertised(request.peer),
        "withheld" => RouteTable::Withheld(request.peer),
        other => {
            let allowed = "loc-rib, received, accepted, rejected, advertised, withheld";
            return Err(Status::invalid_argument(format!("table {other:?}: must be one of {allowed}")));
        }
    };
    let family = match request.family.as_str() {
        "" => None,
        "ipv4" => Some(Family::Ipv4Unicast),
        "ipv6" => Some(Family::Ipv6Unicast),
        other => return Err(Status::invalid_argument(format!("family {other:?}: must be ipv4 or ipv6"))),
    };
    let prefix = if request.prefix.is_empty() { None } else { Some(prefix(&request.prefix)?) };
    Ok(RouteQuery { table, prefix, longer: request.longer, family })
}
