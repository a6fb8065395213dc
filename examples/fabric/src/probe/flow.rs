//! A TCP connection that is used all the time.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{Namespace, wait_until};

const CONNECT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_millis(50);

/// Opens a TCP connection and closes it again; says how long it took. The inner error is the target's (or a rule's) no.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn connect(namespace: &Namespace, target: SocketAddr, timeout: Duration) -> Result<io::Result<Duration>> {
    namespace.inside(|| {
        let start = Instant::now();
        Ok(TcpStream::connect_timeout(&target, timeout).map(|_| start.elapsed()))
    })
}

#[derive(Debug)]
struct State {
    exchanged: u64,
    last_answer: Instant,
    error: Option<String>,
}

/// A connection to an [`crate::probe::Echo`] on which a byte goes out per interval and is waited for.
#[derive(Debug)]
pub struct Flow {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

impl Flow {
    /// Opens the connection; when this returns, it is established.
    ///
    /// # Errors
    /// When it cannot be opened within five seconds.
    pub fn open(namespace: &Namespace, target: SocketAddr, interval: Duration) -> Result<Self> {
        let stream = namespace.inside(|| Ok(TcpStream::connect_timeout(&target, CONNECT)?))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE))?;
        let state = Arc::new(Mutex::new(State { exchanged: 0, last_answer: Instant::now(), error: None }));
        let stop = Arc::new(AtomicBool::new(false));
        {
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            thread::spawn(move || exchange(stream, interval, &state, &stop));
        }
        Ok(Self { state, stop })
    }

    /// Bytes that went out and came back.
    #[must_use]
    pub fn exchanged(&self) -> u64 {
        self.state.lock().map_or(0, |state| state.exchanged)
    }

    /// How long ago the last answer came (or the connection was opened).
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.state.lock().map_or(Duration::MAX, |state| state.last_answer.elapsed())
    }

    /// What ended the connection, if something did.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.state.lock().ok().and_then(|state| state.error.clone())
    }

    /// Waits until more bytes come back: the connection lives.
    ///
    /// # Errors
    /// When none does before the deadline, or the connection has ended.
    pub fn wait_alive(&self, deadline: Duration) -> Result<Duration> {
        let before = self.exchanged();
        wait_until("an answer on the connection", deadline, || match self.error() {
            Some(error) => anyhow::bail!("{error}"),
            None => Ok(self.exchanged() > before),
        })
    }

    /// Waits until nothing came back for `silence`, or the connection ended: it is cut. Says how long ago the last answer
    /// came.
    ///
    /// # Errors
    /// When answers still come at the deadline.
    pub fn wait_cut(&self, silence: Duration, deadline: Duration) -> Result<Duration> {
        wait_until("the end of the connection", deadline, || Ok(self.error().is_some() || self.silence() > silence))?;
        Ok(self.silence())
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn exchange(mut stream: TcpStream, interval: Duration, state: &Mutex<State>, stop: &AtomicBool) {
    let mut byte = [0];
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = stream.write_all(&[1]) {
            return fail(state, &error.to_string());
        }
        loop {
            match stream.read(&mut byte) {
                Ok(0) => return fail(state, "closed by the other end"),
                Ok(_) => break,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
                Err(error) => return fail(state, &error.to_string()),
            }
        }
        if let Ok(mut state) = state.lock() {
            state.exchanged += 1;
            state.last_answer = Instant::now();
        }
        thread::sleep(interval);
    }
}

fn fail(state: &Mutex<State>, error: &str) {
    if let Ok(mut state) = state.lock() {
        state.error = Some(error.to_owned());
    }
}
