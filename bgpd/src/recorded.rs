//! A speaker, and a file of what goes in and comes out if one is wanted (`bgpd run --record FILE`).
//!
//! Whatever changes a speaker has a method here, so that nothing passes unrecorded; whatever only reads is the speaker's.

use std::{
    fs::File,
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Deref,
    path::Path,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use engine::{
    Action, BfdReport, ConnId, ConnectError, Event, FibUpdate, Guards, InstallResult, Instant, NextHopUpdate,
    OriginAttributes, PeerConfig, Prefix, Reachability, Shutdown, Speaker, SpeakerConfig,
    case::{Input, Output, Recorder},
};

/// A file that is being written.
pub(crate) struct Recording {
    file: File,
    recorder: Recorder,
}

impl Recording {
    /// Begins a new file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("recording {}", path.display()))?;
        Ok(Self { file, recorder: Recorder::default() })
    }
}

/// A speaker that may be recorded.
pub(crate) struct Recorded {
    speaker: Speaker,
    recording: Option<Recording>,
}

impl Deref for Recorded {
    type Target = Speaker;

    fn deref(&self) -> &Speaker {
        &self.speaker
    }
}

impl Recorded {
    /// A new speaker. It goes on with the recording of the one before it.
    pub(crate) fn new(config: SpeakerConfig, seed: u64, now: Instant, recording: Option<Recording>) -> Self {
        let mut recording = recording;
        if let Some(recording) = &mut recording {
            recording.recorder.input(Some(now), &Input::Speaker { config: Box::new(config.clone()), seed });
        }
        Self { speaker: Speaker::new(config, seed, now), recording }
    }

    /// The recording, for the speaker that follows this one.
    pub(crate) fn into_recording(self) -> Option<Recording> {
        self.recording
    }

    fn note(&mut self, now: impl Into<Option<Instant>>, input: impl FnOnce() -> Input) {
        if let Some(recording) = &mut self.recording {
            recording.recorder.input(now.into(), &input());
        }
    }

    /// Writes out what was recorded. A file that cannot be written is given up, and nothing else.
    pub(crate) fn save(&mut self) {
        let Some(recording) = &mut self.recording else { return };
        let text = recording.recorder.take();
        if let Err(error) = recording.file.write_all(text.as_bytes()) {
            tracing::error!(%error, "the recording ends here");
            self.recording = None;
        }
    }

    pub(crate) fn set_peer_gently(&mut self, now: Instant, config: PeerConfig, linger: Duration) {
        self.note(now, || match linger.is_zero() {
            true => Input::SetPeer(Box::new(config.clone())),
            false => Input::SetPeerGently { config: Box::new(config.clone()), linger },
        });
        self.speaker.set_peer_gently(now, config, linger);
    }

    pub(crate) fn retire_peer(&mut self, now: Instant, name: &str, bound: Duration) {
        self.note(now, || Input::RetirePeer { peer: name.to_owned(), bound });
        self.speaker.retire_peer(now, name, bound);
    }

    pub(crate) fn set_cluster_id(&mut self, now: Instant, cluster_id: Option<Ipv4Addr>) {
        if self.speaker.cluster_id() != cluster_id {
            self.note(now, || Input::SetClusterId(cluster_id));
            self.speaker.set_cluster_id(now, cluster_id);
        }
    }

    pub(crate) fn remove_peer(&mut self, now: Instant, name: &str) {
        self.note(now, || Input::RemovePeer { peer: name.to_owned() });
        self.speaker.remove_peer(now, name);
    }

    pub(crate) fn set_guards(&mut self, now: Instant, guards: Guards) {
        self.note(now, || Input::SetGuards(Box::new(guards.clone())));
        self.speaker.set_guards(now, guards);
    }

    pub(crate) fn set_reachability(&mut self, now: Instant, next_hop: IpAddr, reachability: Option<Reachability>) {
        self.note(now, || Input::SetReachability { next_hop, reachability });
        self.speaker.set_reachability(now, next_hop, reachability);
    }

    pub(crate) fn drain(&mut self, now: Instant, on: bool) {
        self.note(now, || Input::Drain { on });
        self.speaker.drain(now, on);
    }

    pub(crate) fn shutdown(&mut self, now: Instant, how: Shutdown) {
        self.note(now, || Input::Shutdown(how.clone()));
        self.speaker.shutdown(now, how);
    }

    pub(crate) fn originate(&mut self, now: Instant, source: &str, prefix: Prefix, attributes: OriginAttributes) {
        self.note(now, || Input::Originate { source: source.to_owned(), prefix, attributes: attributes.clone() });
        self.speaker.originate(now, source, prefix, attributes);
    }

    pub(crate) fn set_origin_attributes(
        &mut self,
        now: Instant,
        source: &str,
        prefix: Prefix,
        attributes: OriginAttributes,
    ) {
        let given = attributes.clone();
        self.note(now, || Input::SetOriginAttributes { source: source.to_owned(), prefix, attributes: given });
        self.speaker.set_origin_attributes(now, source, prefix, attributes);
    }

    pub(crate) fn withdraw(&mut self, now: Instant, source: &str, prefix: Prefix) {
        self.note(now, || Input::Withdraw { source: source.to_owned(), prefix });
        self.speaker.withdraw(now, source, prefix);
    }

    pub(crate) fn origin_connected(&mut self, now: Instant, source: &str) {
        self.note(now, || Input::OriginConnected { source: source.to_owned() });
        self.speaker.origin_connected(now, source);
    }

    pub(crate) fn origin_in_sync(&mut self, now: Instant, source: &str) {
        self.note(now, || Input::OriginInSync { source: source.to_owned() });
        self.speaker.origin_in_sync(now, source);
    }

    pub(crate) fn origin_lost(&mut self, now: Instant, source: &str) {
        self.note(now, || Input::OriginLost { source: source.to_owned() });
        self.speaker.origin_lost(now, source);
    }

    pub(crate) fn handle_accepted(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        interface: Option<u32>,
    ) -> Option<ConnId> {
        let conn = self.speaker.handle_accepted(now, local, remote, interface);
        self.note(now, || Input::Accepted { conn, local, remote, interface });
        conn
    }

    pub(crate) fn handle_connected(&mut self, now: Instant, conn: ConnId, local: SocketAddr) {
        self.note(now, || Input::Connected { conn, local });
        self.speaker.handle_connected(now, conn, local);
    }

    pub(crate) fn handle_connect_failed(&mut self, now: Instant, conn: ConnId, error: ConnectError) {
        self.note(now, || Input::ConnectFailed { conn, error });
        self.speaker.handle_connect_failed(now, conn, error);
    }

    pub(crate) fn handle_received(&mut self, now: Instant, conn: ConnId, bytes: &Bytes) {
        self.note(now, || Input::Received { conn, bytes: bytes.clone() });
        self.speaker.handle_received(now, conn, bytes);
    }

    pub(crate) fn handle_sent(&mut self, now: Instant, conn: ConnId, count: usize) {
        self.note(now, || Input::Sent { conn, count });
        self.speaker.handle_sent(now, conn, count);
    }

    pub(crate) fn handle_closed(&mut self, now: Instant, conn: ConnId) {
        self.note(now, || Input::Closed { conn });
        self.speaker.handle_closed(now, conn);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.note(now, || Input::Timeout);
        self.speaker.handle_timeout(now);
    }

    pub(crate) fn handle_bfd(&mut self, now: Instant, peer: &str, report: BfdReport) {
        self.note(now, || Input::Bfd { peer: peer.to_owned(), report });
        self.speaker.handle_bfd(now, peer, report);
    }

    pub(crate) fn handle_installed(&mut self, prefix: Prefix, result: InstallResult) {
        self.note(None, || Input::Installed { prefix, result });
        self.speaker.handle_installed(prefix, result);
    }

    fn noted<T>(&mut self, polled: Option<T>, output: impl FnOnce(&T) -> Output<'_>) -> Option<T> {
        if let Some(recording) = &mut self.recording {
            recording.recorder.output(polled.as_ref().map(output));
        }
        polled
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        let polled = self.speaker.poll_action();
        self.noted(polled, |it| Output::Action(it))
    }

    pub(crate) fn poll_fib(&mut self) -> Option<FibUpdate> {
        let polled = self.speaker.poll_fib();
        self.noted(polled, |it| Output::Fib(it))
    }

    pub(crate) fn poll_next_hop(&mut self) -> Option<NextHopUpdate> {
        let polled = self.speaker.poll_next_hop();
        self.noted(polled, |it| Output::NextHop(it))
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        let polled = self.speaker.poll_event();
        self.noted(polled, |it| Output::Event(it))
    }
}
