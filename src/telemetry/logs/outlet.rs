//! Lines on their way to a sink that may be slow, full or stuck. Who writes a line never waits: a thread of the outlet's own
//! carries it on, and when too many wait, the newest are dropped, counted and told.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::system::meters::Meters;

/// Lines that may wait; one is a few hundred bytes.
const WAITING: usize = 4096;

/// How often a flush looks whether a full queue has room.
const LOOK: Duration = Duration::from_millis(5);

/// Takes lines. Clones share one.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    queue: SyncSender<Message>,
    loss: Arc<Loss>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Answered when all before it are written.
    Flush(SyncSender<()>),
}

/// What is dropped, and whether that was told.
#[derive(Debug)]
struct Loss {
    sink: &'static str,
    meters: Meters,
    /// Since it was last told how many.
    lost: AtomicU64,
    /// It was told that lines are lost, and not yet that they are written again.
    told: AtomicBool,
}

impl Outlet {
    /// Starts the thread that hands each line to `write`. A line that `write` refuses is dropped.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start<W>(sink: &'static str, meters: Meters, write: W) -> io::Result<Self>
    where
        W: FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    {
        let (queue, lines) = sync_channel(WAITING);
        let loss = Arc::new(Loss { sink, meters, lost: AtomicU64::new(0), told: AtomicBool::new(false) });
        let ours = Arc::clone(&loss);
        thread::Builder::new().name(format!("log-{sink}")).spawn(move || carry(&lines, &ours, write))?;
        Ok(Self { queue, loss })
    }

    /// Waits until everything taken so far is written, at most so long.
    pub(super) fn flush(&self, within: Duration) {
        let (done, all_written) = sync_channel(1);
        let mut flush = Message::Flush(done);
        let left = crate::system::clock::stopwatch();
        while let Err(TrySendError::Full(back)) = self.queue.try_send(flush) {
            if left() >= within {
                return;
            }
            thread::sleep(LOOK);
            flush = back;
        }
        // What is not written by then is lost with the process.
        let _ = all_written.recv_timeout(within.saturating_sub(left()));
    }
}

/// Writes until the last outlet is dropped.
fn carry(lines: &Receiver<Message>, loss: &Loss, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
    let mut written = true;
    loop {
        let message = match lines.try_recv() {
            Err(TryRecvError::Empty) => {
                // Only now: a sink that is merely too slow would be told to be back again and again.
                if written {
                    loss.is_over();
                }
                lines.recv().ok()
            }
            other => other.ok(),
        };
        match message {
            Some(Message::Line(line)) => {
                let result = write(&line);
                written = result.is_ok();
                if let Err(error) = result {
                    loss.of_a_line(&error);
                }
            }
            Some(Message::Flush(done)) => {
                let _nobody_waits = done.try_send(());
            }
            None => return,
        }
    }
}

impl Loss {
    fn of_a_line(&self, why: &dyn std::fmt::Display) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.meters.lost_lines(self.sink, 1);
        if !self.told.swap(true, Ordering::Relaxed) {
            // Goes to every outlet; this one may lose it, and says no more until it is well.
            tracing::error!(sink = self.sink, "log lines are lost: {why}");
        }
    }

    fn is_over(&self) {
        if self.told.swap(false, Ordering::Relaxed) {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            tracing::warn!(sink = self.sink, lost, "log lines are written again");
        }
    }
}

impl<'a> MakeWriter<'a> for Outlet {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Outlet {
    /// Takes a whole line at a time, which is how the formatter writes.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_owned())).is_err() {
            self.loss.of_a_line(&format_args!("{WAITING} lines wait for a sink that takes none"));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use crate::system::clock::Clock;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl Seen {
        fn take(&self, line: &[u8]) -> io::Result<()> {
            self.0.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
            Ok(())
        }
        fn all(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    fn put(outlet: &Outlet, line: &str) {
        let mut writer = outlet;
        writer.write_all(line.as_bytes()).unwrap();
    }

    fn lost(meters: &Meters) -> u64 {
        meters.readings().lost_lines.get("test").copied().unwrap_or_default()
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let (seen, meters) = (Seen::default(), Meters::new(Clock::new()));
        let ours = seen.clone();
        let outlet = Outlet::start("test", meters.clone(), move |line| ours.take(line)).unwrap();
        let lines: Vec<String> = (0..1000).map(|number| format!("line {number}\n")).collect();
        lines.iter().for_each(|line| put(&outlet, line));
        outlet.flush(Duration::from_secs(60));
        assert_eq!((seen.all(), lost(&meters)), (lines, 0));
    }

    #[test]
    fn a_stuck_sink_stops_nobody_and_each_lost_line_is_counted() {
        let (seen, meters) = (Seen::default(), Meters::new(Clock::new()));
        let (go_on, stuck) = channel();
        let (tell, entered) = channel();
        let ours = seen.clone();
        let outlet = Outlet::start("test", meters.clone(), move |line| {
            if line == b"stuck\n" {
                tell.send(()).unwrap();
                stuck.recv().unwrap();
            }
            ours.take(line)
        })
        .unwrap();
        put(&outlet, "stuck\n");
        entered.recv().unwrap();
        (0..WAITING + 10).for_each(|_| put(&outlet, "more\n"));
        assert_eq!(lost(&meters), 10);
        outlet.flush(Duration::from_millis(20));
        go_on.send(()).unwrap();
        outlet.flush(Duration::from_secs(60));
        put(&outlet, "after\n");
        outlet.flush(Duration::from_secs(60));
        let seen = seen.all();
        assert_eq!((seen.len(), lost(&meters)), (1 + WAITING + 1, 10));
        assert_eq!(seen.last().unwrap(), "after\n");
    }

    #[test]
    fn a_refused_line_is_counted_and_the_next_is_tried() {
        let (seen, meters) = (Seen::default(), Meters::new(Clock::new()));
        let ours = seen.clone();
        let outlet = Outlet::start("test", meters.clone(), move |line| match line {
            b"refused\n" => Err(io::Error::other("full")),
            line => ours.take(line),
        })
        .unwrap();
        ["one\n", "refused\n", "two\n"].iter().for_each(|line| put(&outlet, line));
        outlet.flush(Duration::from_secs(60));
        assert_eq!((seen.all(), lost(&meters)), (vec!["one\n".to_owned(), "two\n".to_owned()], 1));
    }
}
