//! The signals that a person or a service manager sends.

use std::io;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::heartbeat::end_process;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// End in order (`SIGTERM`, `SIGINT`). Sent once: a second one ends the process at once.
    Stop,
    /// Read the configuration again (`SIGHUP`).
    Reload,
}

/// Listens from now on, on a thread of its own, so that a second `SIGTERM` or `SIGINT` ends the process at once (128 plus
/// the signal's number) even when the daemon's own runtime hangs.
///
/// # Errors
/// When the operating system gives no thread, or does not let signals be caught.
pub fn listen() -> io::Result<mpsc::UnboundedReceiver<Signal>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt, mut hangup) = {
        let _entered = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?)
    };
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let mut stopping = false;
            loop {
                let number = tokio::select! {
                    Some(()) = terminate.recv() => SignalKind::terminate().as_raw_value(),
                    Some(()) = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
                    Some(()) = hangup.recv() => {
                        // Nobody listening any more is no reason to miss the second stop.
                        let _ = sender.send(Signal::Reload);
                        continue;
                    }
                    else => return,
                };
                if stopping {
                    end_process(128 + number);
                }
                stopping = true;
                let _ = sender.send(Signal::Stop);
            }
        });
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, Signal as Sent, kill_process};

    /// Run by the test below in a process of its own; it tells each signal, and never ends by itself.
    #[test]
    #[ignore = "never ends: the test below runs it in a process of its own and ends it"]
    fn child_that_listens() {
        let mut signals = listen().unwrap();
        let mut out = io::stdout();
        writeln!(out, "\nlistening").unwrap();
        while let Some(signal) = signals.blocking_recv() {
            writeln!(out, "{signal:?}").unwrap();
        }
    }

    #[test]
    fn each_signal_has_its_meaning_and_a_second_stop_ends_the_process() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "system::signals::tests::child_that_listens", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let pid = Pid::from_child(&child);
        let mut until = |wanted: &str| assert!(lines.any(|line| line == wanted), "no `{wanted}`");
        until("listening");
        kill_process(pid, Sent::HUP).unwrap();
        until("Reload");
        kill_process(pid, Sent::TERM).unwrap();
        until("Stop");
        kill_process(pid, Sent::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
}
