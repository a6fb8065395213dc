//! Networks for tests and demonstrations: nodes, links, switches, routers of other makers, pods and probes, all of them
//! real, inside namespaces that vanish with the process that made them.
//!
//! [`enter`] moves the process into its own PID, mount and network namespaces (with a user namespace when it is not
//! root). Whatever is started afterwards dies with the process, even when it is killed: no daemon, namespace, mount or
//! file is left behind.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! fabric::enter()?;
//! let lab = fabric::Lab::new("two-nodes")?;
//! let (a, b) = (lab.node("a")?, lab.node("b")?);
//! lab.link(&a.port("eth0", &["192.0.2.1/24"]), &b.port("eth0", &["192.0.2.2/24"]))?;
//! assert!(a.ping("192.0.2.2".parse()?)?);
//! # Ok(())
//! # }
//! ```

mod capture;
pub mod cni;
mod daemons;
mod enter;
mod lab;
mod manifests;
mod namespace;
mod node;
mod pod;
pub mod probe;
mod process;
mod require;
pub mod router;
mod wait;

pub use capture::Capture;
pub use daemons::{Daemons, DaemonsConfig, binary};
pub use enter::{enter, outer_pid};
pub use lab::{Lab, Switch};
pub use manifests::Manifests;
pub use namespace::Namespace;
pub use node::{Node, Port};
pub use pod::{Pod, PodSpec};
pub use process::Process;
pub use require::{Missing, Need, require};
pub use wait::{wait_for, wait_until};
