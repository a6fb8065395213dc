//! gRPC over unix sockets: the server around a daemon's services, and the client of its commands.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    service::Routes,
    transport::{Channel, Endpoint, Server},
};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const SOCKET_MODE: u32 = 0o660;

/// Why a server or a client could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be made.
    #[error("socket {}: {source}", path.display())]
    Bind {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process answers on the socket.
    #[error("socket {}: another process answers there", path.display())]
    Taken {
        /// The socket's path.
        path: PathBuf,
    },
    /// The server or the connection failed.
    #[error("socket {}: {source}", path.display())]
    Transport {
        /// The socket's path.
        path: PathBuf,
        /// What the transport said.
        source: tonic::transport::Error,
    },
    /// The reflection service could not be made from the descriptors.
    #[error("server reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A bound socket, not yet served: binding first lets a daemon say early that another one runs.
pub struct Listener {
    path: PathBuf,
    listener: UnixListener,
}

impl Listener {
    /// Binds the socket with mode 0660. A socket file that nobody listens on is replaced, one that is answered is not.
    ///
    /// # Errors
    /// When another process answers there, or the socket cannot be made.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Bind { path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        if fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(Error::Taken { path: path.to_owned() });
            }
            fs::remove_file(path).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Serves the services with health and reflection until `stop` resolves.
    ///
    /// # Errors
    /// When the transport fails.
    pub async fn serve(self, services: Routes, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let (health_reporter, health) = tonic_health::server::health_reporter();
        health_reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let path = self.path.clone();
        Server::builder()
            .add_routes(services)
            .add_service(health)
            .add_service(reflection)
            .serve_with_incoming_shutdown(UnixListenerStream::new(self.listener), stop)
            .await
            .map_err(|source| Error::Transport { path, source })
    }
}

/// A channel to the daemon that listens on `path`. Connects at once.
///
/// # Errors
/// When nobody answers there within five seconds.
pub async fn connect(path: &Path) -> Result<Channel, Error> {
    let target = path.to_owned();
    let dial = tower::service_fn(move |_| {
        let target = target.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(target).await?)) }
    });
    // The address is never resolved: the connector ignores it.
    Endpoint::from_static("http://localhost")
        .connect_timeout(CONNECT_DEADLINE)
        .connect_with_connector(dial)
        .await
        .map_err(|source| Error::Transport { path: path.to_owned(), source })
}
