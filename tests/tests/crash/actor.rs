//! A container runtime and a user at one node, who do things at random while parts of tortie are killed.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use fabric::{
    Lab, Node, PodSpec,
    cni::{Added, Attachment},
    probe::connect,
    wait_until,
};
use tests::cluster::{Cluster, SOON, Worker};

use crate::{
    dice::Dice,
    plugin::{Crash, Failure, Victim, invoke, is_settled},
};

/// Pods that come and go on a node.
const NAMES: usize = 8;
/// The first SYN must do it: the second comes after a second.
const FIRST_SYN: Duration = Duration::from_millis(900);
const DENIED_FOR: Duration = Duration::from_millis(30);

/// Who has which address, on all nodes.
#[derive(Default)]
pub(crate) struct Owners(Mutex<BTreeMap<IpAddr, String>>);

impl Owners {
    fn lock(&self) -> Result<std::sync::MutexGuard<'_, BTreeMap<IpAddr, String>>> {
        self.0.lock().map_err(|_| anyhow!("another thread panicked"))
    }

    fn take(&self, addresses: &[IpAddr], owner: &str) -> Result<()> {
        let mut owners = self.lock()?;
        for address in addresses {
            if let Some(other) = owners.insert(*address, owner.to_owned()).filter(|other| other != owner) {
                bail!("{address} was given to {owner} while {other} had it");
            }
        }
        Ok(())
    }

    /// Before the address is released: the next may have it before that has been said.
    fn give_back(&self, owner: &str) -> Result<()> {
        self.lock()?.retain(|_, other| other != owner);
        Ok(())
    }
}

/// A container whose ADD was begun and whose DEL has not succeeded.
struct Container {
    pod: usize,
    inside: Node,
    attachment: Attachment,
    /// Given by the ADD, if it succeeded.
    added: Option<Added>,
    may: bool,
}

/// What happens at one node.
pub(crate) struct Actor<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) cluster: &'a Cluster<'a>,
    pub(crate) worker: &'a mut Worker,
    pub(crate) owners: &'a Owners,
    /// A pod on this node that only pods with `role: friend` reach, at port 7.
    pub(crate) server: IpAddr,
    pub(crate) dice: Dice,
    containers: Vec<Container>,
    made: usize,
    log: Vec<String>,
}

impl<'a> Actor<'a> {
    pub(crate) fn new(
        (lab, cluster): (&'a Lab, &'a Cluster<'a>),
        worker: &'a mut Worker,
        owners: &'a Owners,
        server: IpAddr,
        dice: Dice,
    ) -> Self {
        Self { lab, cluster, worker, owners, server, dice, containers: Vec::new(), made: 0, log: Vec::new() }
    }

    /// Does things, then takes everything away.
    pub(crate) fn run(mut self, operations: usize) -> Result<()> {
        let outcome = (0..operations).try_for_each(|_| self.operation()).and_then(|()| self.finish());
        outcome.with_context(|| {
            let tail = self.log.len().saturating_sub(12);
            format!("on {}, after {:#?}", self.worker.node().name(), &self.log[tail..])
        })
    }

    fn operation(&mut self) -> Result<()> {
        match self.dice.below(100) {
            0..42 => self.add(),
            42..65 => self.del(),
            65..75 => self.change_policy(),
            75..85 => self.change_label(),
            85..92 => self.check(),
            _ => self.kill(),
        }
    }

    fn say(&mut self, text: String) {
        self.log.push(text);
    }

    fn pod_name(&self, pod: usize) -> String {
        format!("{}-{pod}", self.worker.node().name())
    }

    fn add(&mut self) -> Result<()> {
        let pod = self.dice.below(NAMES);
        let may = self.dice.percent(50);
        self.made += 1;
        let name = self.pod_name(pod);
        let id = format!("{name}-{}", self.made);
        let inside = self.lab.host(&id)?;
        let spec = PodSpec::new(&name, &[("role", if may { "friend" } else { "foe" })]);
        let mut attachment = spec.attachment(inside.namespace().path());
        attachment.container_id = id;
        // What the pod had goes; its own DEL comes later, or never changes anything.
        for former in self.containers.iter_mut().filter(|former| former.pod == pod) {
            former.added = None;
            self.owners.give_back(&former.attachment.container_id)?;
        }
        self.containers.push(Container { pod, inside, attachment, added: None, may });
        self.wire(self.containers.len() - 1)
    }

    /// ADD, again and again until it succeeds, or is given up.
    fn wire(&mut self, index: usize) -> Result<()> {
        let mut refused = true;
        for attempt in 0..3 {
            let crash = Crash::perhaps(&mut self.dice, if attempt == 0 { 45 } else { 10 });
            let Some(container) = self.containers.get_mut(index) else { return Ok(()) };
            let id = container.attachment.container_id.clone();
            let outcome = invoke(self.worker, "ADD", &container.attachment, crash)?;
            if let Ok(result) = &outcome {
                let added = Added { result: result.clone(), took: Duration::ZERO };
                self.owners.take(&added.addresses(), &id)?;
                let (inside, may) = (container.inside.clone(), container.may);
                container.added = Some(added);
                self.say(format!("ADD {id} {crash:?}"));
                return self.try_at_once(&inside, may).with_context(|| format!("right after the ADD of {id}"));
            }
            self.say(format!("ADD {id} {crash:?}: {outcome:?}"));
            refused &= outcome != Err(Failure::Killed);
            if self.dice.percent(30) {
                break;
            }
        }
        // What was refused each time has left nothing: the runtime need not come back to it.
        if refused && self.dice.percent(50) {
            self.containers.remove(index);
        }
        Ok(())
    }

    /// The first packet of a pod is judged as every other.
    fn try_at_once(&self, inside: &Node, may: bool) -> Result<()> {
        let server = SocketAddr::new(self.server, 7);
        let connected = connect(inside.namespace(), server, if may { FIRST_SYN } else { DENIED_FOR })?;
        match connected {
            Ok(_) => ensure!(may, "a foe was let through"),
            Err(error) => ensure!(!may, "a friend was not let through: {error}"),
        }
        Ok(())
    }

    fn del(&mut self) -> Result<()> {
        if self.containers.is_empty() {
            return Ok(());
        }
        let index = self.dice.below(self.containers.len());
        let crash = Crash::perhaps(&mut self.dice, 45);
        self.unwire(index, crash)
    }

    /// DEL, until it succeeds: a runtime does not give up.
    fn unwire(&mut self, index: usize, crash: Option<Crash>) -> Result<()> {
        let mut container = self.containers.swap_remove(index);
        let id = container.attachment.container_id.clone();
        self.owners.give_back(&id)?;
        if self.dice.percent(20) {
            container.attachment.netns.clear();
        }
        let mut crash = crash;
        for _ in 0..10 {
            let outcome = invoke(self.worker, "DEL", &container.attachment, crash)?;
            self.say(format!("DEL {id} {crash:?}: {outcome:?}"));
            if outcome.is_ok() {
                return Ok(());
            }
            crash = Crash::perhaps(&mut self.dice, 10);
        }
        bail!("DEL of {id} does not succeed")
    }

    /// Policies that nothing that is measured depends upon, but that its chains are made of.
    fn change_policy(&mut self) -> Result<()> {
        let node = self.worker.node().name().to_owned();
        let mut text = String::new();
        for number in 0..self.dice.below(4) {
            let port = 1000 + self.dice.below(4);
            let subject = if self.dice.percent(50) { "server" } else { "friend" };
            text += &format!(
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: random-{node}-{number}, \
                 namespace: default}}\nspec: {{podSelector: {{matchLabels: {{role: {subject}}}}}, ingress: [{{from: \
                 [{{podSelector: {{matchLabels: {{role: friend}}}}}}], ports: [{{port: {port}}}]}}]}}\n---\n"
            );
        }
        self.say(format!("policies {}", text.matches("kind").count()));
        let file = format!("random-{node}.yaml");
        if text.is_empty() {
            // It may be gone already.
            let _ = self.cluster.remove(&file);
            return Ok(());
        }
        self.cluster.write(&file, &text)
    }

    /// A manifest turns a friend into a foe, or the other way round, until it is removed.
    fn change_label(&mut self) -> Result<()> {
        let wired: Vec<_> = self.containers.iter().filter(|container| container.added.is_some()).collect();
        let Some(container) = self.dice.pick(&wired) else { return Ok(()) };
        let (name, inside, may) = (self.pod_name(container.pod), container.inside.clone(), container.may);
        let role = if may { "foe" } else { "friend" };
        let file = format!("pod-{name}.yaml");
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default, labels: {{role: {role}}}}}\n"
        );
        self.say(format!("label of {name}: {role}"));
        self.cluster.write(&file, &text)?;
        if self.dice.percent(40) {
            self.worker.daemons.felix.restart()?;
        }
        wait_until(&format!("{name} to be a {role}"), SOON, || Ok(self.try_at_once(&inside, !may).is_ok()))?;
        self.cluster.remove(&file)?;
        wait_until(&format!("{name} to be itself"), SOON, || Ok(self.try_at_once(&inside, may).is_ok()))?;
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        let wired: Vec<_> = self.containers.iter().filter(|container| container.added.is_some()).collect();
        let Some(container) = self.dice.pick(&wired) else { return Ok(()) };
        let (attachment, added) = (container.attachment.clone(), container.added.clone());
        let Some(added) = added else { return Ok(()) };
        self.say(format!("CHECK {}", attachment.container_id));
        wait_until("CHECK to be served", SOON, || {
            self.worker.network.check(self.worker.node(), &attachment, &added.result)?;
            Ok(true)
        })?;
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let victim = self.dice.pick(&Victim::ALL).copied();
        self.say(format!("kill {victim:?}"));
        match victim {
            Some(Victim::Bgpd) => {
                wait_until("bgpd's restart to be over", SOON, || Ok(is_settled(self.worker)))?;
                self.worker.daemons.bgpd.restart()
            }
            _ => self.worker.daemons.felix.restart(),
        }
    }

    fn finish(&mut self) -> Result<()> {
        while !self.containers.is_empty() {
            let crash = Crash::perhaps(&mut self.dice, 20);
            self.unwire(self.containers.len() - 1, crash)?;
        }
        let name = self.worker.node().name();
        // Written or not, it must go.
        let _ = self.cluster.remove(&format!("random-{name}.yaml"));
        self.worker.daemons.wait_ready(SOON)?;
        Ok(())
    }
}
