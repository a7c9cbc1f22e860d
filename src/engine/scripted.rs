//! An engine that does what a unit test says, hanging included, so that virtual time can pass it by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use iaso_policy::input::{EngineHealth, RestartPolicy};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::{
    Change, Changed, ContainerDetail, ContainerId, ContainerState, Engine, EngineError, EngineEvent, EngineInfo,
    EventAction, EventStream, ExecOutput,
};
use crate::config::secret::Secret;

/// What can hang.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Ping,
    List,
    Inspect(ContainerId),
    Change,
}

type Told = Result<EngineEvent, EngineError>;

#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) containers: Mutex<BTreeMap<ContainerId, ContainerDetail>>,
    hangs: Mutex<BTreeSet<Call>>,
    pub(crate) hello: Mutex<Option<EngineError>>,
    pub(crate) answer: Mutex<Option<EngineError>>,
    pub(crate) asked: Mutex<Vec<Change>>,
    pub(crate) hellos: Mutex<u32>,
    released: Notify,
    stream: Mutex<Option<mpsc::UnboundedSender<Told>>>,
}

impl Scripted {
    pub(crate) fn tell(&self, event: EngineEvent) {
        self.stream.lock().unwrap().as_ref().unwrap().send(Ok(event)).unwrap();
    }

    pub(crate) fn end_events(&self) {
        *self.stream.lock().unwrap() = None;
    }

    pub(crate) fn hang(&self, call: Call) {
        self.hangs.lock().unwrap().insert(call);
    }

    pub(crate) fn release(&self, call: &Call) {
        self.hangs.lock().unwrap().remove(call);
        self.released.notify_waiters();
    }

    /// Goes on unless this call hangs; then once it is released.
    async fn pass(&self, call: Call) {
        loop {
            let released = self.released.notified();
            if !self.hangs.lock().unwrap().contains(&call) {
                return;
            }
            released.await;
        }
    }

    fn find(&self, id: &ContainerId) -> Result<ContainerDetail, EngineError> {
        self.containers.lock().unwrap().get(id).cloned().ok_or(EngineError::NotFound)
    }
}

impl Engine for Scripted {
    fn hello(&self) -> BoxFuture<'_, Result<EngineInfo, EngineError>> {
        *self.hellos.lock().unwrap() += 1;
        let refusal = self.hello.lock().unwrap().clone();
        let info = EngineInfo { version: "scripted".to_owned(), api: (1, 41), id: None, data_root: None };
        async move { refusal.map_or(Ok(info), Err) }.boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        async {
            self.pass(Call::Ping).await;
            self.hello.lock().unwrap().clone().map_or(Ok(()), Err)
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ContainerDetail>, EngineError>> {
        async {
            self.pass(Call::List).await;
            Ok(self.containers.lock().unwrap().values().cloned().collect())
        }
        .boxed()
    }

    fn inspect<'a>(&'a self, container: &'a ContainerId) -> BoxFuture<'a, Result<ContainerDetail, EngineError>> {
        async {
            self.pass(Call::Inspect(container.clone())).await;
            self.find(container)
        }
        .boxed()
    }

    fn events(&self) -> BoxFuture<'_, Result<EventStream, EngineError>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.stream.lock().unwrap() = Some(sender);
        let told = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
        async move { Ok(told.boxed()) }.boxed()
    }

    fn change<'a>(
        &'a self,
        _container: &'a ContainerId,
        change: &'a Change,
        _grace: Option<Duration>,
    ) -> BoxFuture<'a, Result<Changed, EngineError>> {
        async {
            self.asked.lock().unwrap().push(change.clone());
            self.pass(Call::Change).await;
            self.answer.lock().unwrap().clone().map_or(Ok(Changed::Done), Err)
        }
        .boxed()
    }

    fn exec<'a>(
        &'a self,
        container: &'a ContainerId,
        command: &'a [String],
        bound: Duration,
    ) -> BoxFuture<'a, Result<ExecOutput, EngineError>> {
        async move {
            let change = Change::Exec(command.to_vec());
            let changed = timeout(bound, self.change(container, &change, None)).await;
            let code = match changed.unwrap_or(Err(EngineError::CommandGoesOn(bound)))? {
                Changed::CommandFailed(code) => code,
                Changed::Done | Changed::Already => 0,
            };
            Ok(ExecOutput { code, output: String::new() })
        }
        .boxed()
    }

    fn exec_with_input<'a>(
        &'a self,
        container: &'a ContainerId,
        command: &'a [String],
        _input: &'a Secret,
        bound: Duration,
    ) -> BoxFuture<'a, Result<ExecOutput, EngineError>> {
        self.exec(container, command, bound)
    }

    fn logs<'a>(&'a self, _container: &'a ContainerId, _lines: u16) -> BoxFuture<'a, Result<String, EngineError>> {
        async { Ok(String::new()) }.boxed()
    }
}

/// A container's id, from a digit.
pub(crate) fn id(digit: char) -> ContainerId {
    ContainerId::new(&digit.to_string().repeat(64)).unwrap()
}

/// A container that runs since `started`.
pub(crate) fn running(id: ContainerId, started: i64) -> ContainerDetail {
    ContainerDetail {
        id,
        name: "web".to_owned(),
        image: "web:1".to_owned(),
        labels: BTreeMap::new(),
        state: ContainerState::Running(EngineHealth::None),
        started,
        finished: 0,
        oom_killed: false,
        restart: RestartPolicy::No,
        restart_count: 0,
        auto_remove: false,
        healthcheck: None,
        stop_signal: 15,
        stop_grace: None,
        networks: BTreeMap::new(),
        network_mode: "bridge".to_owned(),
        links: BTreeSet::new(),
        ports: Vec::new(),
        mounts: Vec::new(),
    }
}

pub(crate) fn event(container: ContainerId, action: EventAction) -> EngineEvent {
    EngineEvent { container, name: None, labels: BTreeMap::new(), time: 1, action }
}
