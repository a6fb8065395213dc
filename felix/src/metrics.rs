//! Prometheus metrics. Names that Calico has with the same meaning are Calico's.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use daemon::metrics::SharedRegistry;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};
use tokio::sync::watch;

use crate::{dataplane::Unapplied, published::Published};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CommandLabels {
    command: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabels {
    command: &'static str,
    code: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DriverLabels {
    driver: &'static str,
}

/// The agent's measurements. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    cni: Family<CommandLabels, Histogram>,
    cni_errors: Family<CodeLabels, Counter>,
    apply: Histogram,
    apply_errors: Family<DriverLabels, Counter>,
    drift: Counter,
    endpoints: Gauge,
    policies: Gauge,
    all_policies: Gauge,
    desired_revision: Gauge,
    kernel_revision: Gauge,
    routes: Gauge,
    refused: Gauge,
}

/// 0.5 ms to about 8 s.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 15))
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            cni: Family::new_with_constructor(durations),
            cni_errors: Family::default(),
            apply: durations(),
            apply_errors: Family::default(),
            drift: Counter::default(),
            endpoints: Gauge::default(),
            policies: Gauge::default(),
            all_policies: Gauge::default(),
            desired_revision: Gauge::default(),
            kernel_revision: Gauge::default(),
            routes: Gauge::default(),
            refused: Gauge::default(),
        }
    }
}

impl Metrics {
    /// A CNI command was served, with this error code if it failed.
    pub(crate) fn cni(&self, command: &'static str, took: Duration, error: Option<u32>) {
        self.cni.get_or_create(&CommandLabels { command }).observe(took.as_secs_f64());
        if let Some(code) = error {
            self.cni_errors.get_or_create(&CodeLabels { command, code }).inc();
        }
    }

    /// The kernel was written to.
    pub(crate) fn applied(&self, took: Duration, unapplied: &[Unapplied]) {
        self.apply.observe(took.as_secs_f64());
        for failure in unapplied {
            self.apply_errors.get_or_create(&DriverLabels { driver: failure.part }).inc();
        }
    }

    /// Somebody else changed a ruleset.
    pub(crate) fn drift(&self) {
        self.drift.inc();
    }

    /// Serves them on `address`; a failure is logged.
    pub(crate) fn start(&self, address: SocketAddr, published: watch::Receiver<Published>) {
        let registry: SharedRegistry = Arc::new(Mutex::new(self.registry()));
        let metrics = self.clone();
        let refresh = move || {
            metrics.take(&published.borrow());
            std::future::ready(())
        };
        tokio::spawn(async move {
            if let Err(error) = daemon::metrics::serve(address, registry, refresh).await {
                tracing::error!(%address, %error, "cannot serve metrics");
            }
        });
    }

    fn take(&self, published: &Published) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.kernel_revision.set(i64::try_from(published.kernel_revision).unwrap_or(i64::MAX));
        self.routes.set(number(published.routes));
        self.refused.set(number(published.refusals.len()));
        if let Some(desired) = &published.desired {
            self.desired_revision.set(i64::try_from(desired.revision).unwrap_or(i64::MAX));
            self.endpoints.set(number(desired.endpoints.len()));
            self.policies.set(number(desired.policies.iter().filter(|p| !p.endpoints.is_empty()).count()));
            self.all_policies.set(number(desired.policies.len()));
        }
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register(
            "felix_build",
            "The program that runs",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("felix_cni_seconds", "Time of a CNI command", self.cni.clone());
        registry.register("felix_cni_errors", "CNI commands that failed", self.cni_errors.clone());
        registry.register("felix_apply_seconds", "Time of writing a change to the kernel", self.apply.clone());
        registry.register("felix_apply_errors", "Writes to the kernel that failed", self.apply_errors.clone());
        registry.register("felix_nft_drift", "Times that others changed a ruleset of the kernel", self.drift.clone());
        registry.register("felix_active_local_endpoints", "Pods on this node", self.endpoints.clone());
        registry.register(
            "felix_active_local_policies",
            "Policies that select a pod on this node",
            self.policies.clone(),
        );
        registry.register("felix_cluster_num_policies", "All policies", self.all_policies.clone());
        registry.register("felix_desired_revision", "Newest revision computed", self.desired_revision.clone());
        registry.register("felix_kernel_revision", "Newest revision in the kernel", self.kernel_revision.clone());
        registry.register("felix_routes", "Routes of this agent in the kernel", self.routes.clone());
        registry.register("felix_resources_refused", "Objects and files that are not admitted", self.refused.clone());
        registry
    }
}
