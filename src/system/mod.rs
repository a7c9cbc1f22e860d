//! The operating system: clock, tasks, names, TLS, signals, the service manager. Every edge may use it; it uses none.

pub mod build;
pub mod clock;
pub mod disk;
pub mod heartbeat;
pub mod meters;
pub mod queue;
pub mod resolver;
pub mod retry;
pub mod run_as;
pub mod signals;
pub mod systemd;
pub mod tasks;
pub mod tls;
pub mod trust;

/// For a test that listens to log lines on its own thread: with a single listener in the process, `tracing` asks the thread that
/// first comes by a line whether anybody listens, and would keep its "no" for all.
#[cfg(test)]
pub(crate) fn others_listen_too() {
    use std::sync::LazyLock;
    use tracing::Dispatch;

    static OTHERS: LazyLock<[Dispatch; 2]> =
        LazyLock::new(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));
    LazyLock::force(&OTHERS);
}
