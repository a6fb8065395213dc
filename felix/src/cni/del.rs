//! DEL, and what an ADD's undo shares with it.

use kernel::{InterfaceName, pod::unwire_pod};
use proto::cni::{Attachment, CheckRequest};
use tokio::task::spawn_blocking;

use super::{CniFailure, Link, Wiring, names};
use crate::{agent::Command, dataplane, record::Record};

impl Wiring {
    /// Takes a container's network away. Nothing that is not there is an error.
    pub(super) async fn del(&self, attachment: &Attachment) -> Result<(), CniFailure> {
        self.in_sync().await?;
        let id =
            calc::EndpointId { container_id: attachment.container_id.clone(), if_name: attachment.if_name.clone() };
        let (namespace, pod) = names::pod_of(attachment);
        let interface = names::interface_of(&namespace, &pod, &attachment.if_name);
        let known = self.attached().get(&id).map(|record| record.interface.clone());
        let _held = self.locks.hold(known.as_ref().unwrap_or(&interface)).await?;
        let record = self.attached().get(&id).cloned();
        match record {
            Some(record) => self.detach(&record).await,
            None => {
                // Without a record nothing of it is wired here, but a former node state may hold an address for it.
                let handle = names::handle_id(&attachment.network, &attachment.container_id, &attachment.if_name);
                self.addresses.release(handle).await?;
                Ok(())
            }
        }
    }

    /// Takes back all that an ADD did, in reverse order. May be repeated, and may be cut short anywhere: the record goes
    /// last.
    pub(super) async fn detach(&self, record: &Record) -> Result<(), CniFailure> {
        let name = InterfaceName::new(&record.interface)?;
        let alias = record.id().to_string();
        let (id, interface) = (record.id(), record.interface.clone());
        // The kernel takes tens of milliseconds for an interface, in which it waits for all that may still see it. The
        // policy may go first: what the table does not know, it drops, so that no connection comes after those that are
        // forgotten.
        let unwired = spawn_blocking(move || unwire_pod(&name, &alias));
        let detached = async {
            self.in_kernel(|done| Command::Detach(id, interface, done)).await?;
            let addresses = record.addresses.iter().copied().collect();
            Ok::<_, CniFailure>(spawn_blocking(move || dataplane::forget_connections(&addresses)).await??)
        };
        let (unwired, detached) = tokio::join!(unwired, detached);
        match unwired? {
            // Another container's by now: its own DEL will remove it.
            Ok(_) | Err(kernel::Error::InterfaceTaken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        detached?;
        self.addresses.release(record.handle_id()).await?;
        self.records.remove(&record.container_id, &record.if_name)?;
        self.attached().remove(&record.id());
        Ok(())
    }

    /// Compares a container's network with what its ADD made.
    pub(super) async fn check(&self, request: CheckRequest) -> Result<(), CniFailure> {
        let attachment = request.attachment.unwrap_or_default();
        let id =
            calc::EndpointId { container_id: attachment.container_id.clone(), if_name: attachment.if_name.clone() };
        let record = self.attached().get(&id).cloned().filter(|r| r.complete).ok_or(CniFailure::NotAttached)?;
        let mut differences = Vec::new();
        for promised in &request.addresses {
            let held = record.addresses.iter().any(|a| promised.split('/').next() == Some(a.to_string().as_str()));
            if !held {
                differences.push(format!("prevResult has address {promised}, the container was given others"));
            }
        }
        if !request.host_interfaces.is_empty() && !request.host_interfaces.contains(&record.interface) {
            differences.push(format!("prevResult does not have the host interface {}", record.interface));
        }
        let policed =
            self.published.borrow().desired.as_ref().is_some_and(|desired| desired.endpoints.contains_key(&id));
        if !policed {
            differences.push("its policy is not in the kernel".to_owned());
        }
        let netns = if attachment.netns.is_empty() { record.netns.clone() } else { attachment.netns };
        let link = Link::of(&Record { netns, ..record }, false)?;
        let found = spawn_blocking(move || link.with(kernel::check_pod)).await??;
        differences.extend(found.iter().map(ToString::to_string));
        if differences.is_empty() { Ok(()) } else { Err(CniFailure::Differs(differences.join("; "))) }
    }
}
