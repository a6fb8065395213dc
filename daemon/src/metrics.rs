//! Prometheus metrics over HTTP.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use prometheus_client::registry::Registry;

/// A registry shared between those who measure and the endpoint that serves it.
pub type SharedRegistry = Arc<Mutex<Registry>>;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry in the text format of OpenMetrics.
///
/// # Errors
/// Never in practice: only when writing to a string fails.
pub fn render(registry: &SharedRegistry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry.lock().unwrap_or_else(PoisonError::into_inner))?;
    Ok(text)
}

/// Serves `/metrics` until the task is dropped. `refresh` is called before each answer, so that gauges read from live
/// state are current.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve<F, Fut>(address: SocketAddr, registry: SharedRegistry, refresh: F) -> std::io::Result<()>
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let app = Router::new().route(
        "/metrics",
        get(move || {
            let (registry, refresh) = (registry.clone(), refresh.clone());
            async move {
                refresh().await;
                match render(&registry) {
                    Ok(text) => ([("content-type", CONTENT_TYPE)], text).into_response(),
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                }
            }
        }),
    );
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, app).await
}
