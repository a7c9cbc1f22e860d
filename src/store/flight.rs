//! The flight recorder: every input of the policy with its time, so that a night can be replayed.
//!
//! A recording is a folder of segments, each a file of JSON lines whose first line is a [`Header`] with everything that a
//! replay of the following [`Line`]s begins with. Inputs carry no secrets, so neither does a recording. The caller never
//! waits: what cannot be written is dropped and counted, and a new segment begins after the gap.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use iaso_policy::{Input, Now};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::system::clock::stopwatch;

/// Lines that may wait.
const QUEUE: usize = 8192;
/// After a failed write, before a new segment is tried.
const PAUSE: Duration = Duration::from_secs(10);

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in all segments; the oldest are removed. One input may overshoot it.
    pub bytes: u64,
    /// Segments; at least 2.
    pub segments: usize,
}

impl Default for Limits {
    /// 64 MiB in 16 segments.
    fn default() -> Self {
        Self { bytes: 64 << 20, segments: 16 }
    }
}

/// The first line of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<S> {
    /// Iaso's version: another one may decide otherwise.
    pub version: String,
    /// The policy's seed.
    pub seed: u64,
    /// The policy's state before the first line.
    pub state: S,
}

/// One input, and when it was handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub now: Now,
    /// What.
    pub input: Input,
}

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FlightError {
    /// The file could not be read.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A line is not what this version writes there.
    #[error("{path}, line {line}: expected {expected}: {error}")]
    Malformed {
        /// The file.
        path: String,
        /// From 1.
        line: u64,
        /// What should be there.
        expected: &'static str,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// Another version wrote it.
    #[error("{path} was recorded by iaso {found}; this is {expected}")]
    OtherVersion {
        /// The file.
        path: String,
        /// Its version.
        found: String,
        /// Ours.
        expected: &'static str,
    },
}

/// Writes the first line of a segment.
type State = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// Records inputs. Dropping it ends the recording once the queue is written.
#[derive(Debug)]
pub struct Recorder {
    jobs: mpsc::Sender<Job>,
    seed: u64,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The next line must bring a header.
    segment_due: AtomicBool,
    /// The queue was full when the newest line came.
    gap: AtomicBool,
    dropped: AtomicU64,
}

impl Shared {
    fn drop_line(&self) {
        if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("the flight recorder drops inputs: its queue or the disk is full");
        }
    }
}

enum Job {
    Line { header: Option<State>, line: Box<Line> },
    Close(oneshot::Sender<()>),
}

impl Recorder {
    /// Begins a recording in `dir` (`data_dir/flight`). A folder that cannot be written costs the recording only.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(dir: &Path, seed: u64, limits: Limits) -> io::Result<Self> {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared { segment_due: AtomicBool::new(true), ..Shared::default() });
        let writer = Writer { dir: dir.to_owned(), limits, segment: None, failed: None, shared: Arc::clone(&shared) };
        thread::Builder::new().name("flight-recorder".to_owned()).spawn(move || writer.run(receiver))?;
        Ok(Self { jobs, seed, shared })
    }

    /// Records an input that is about to be handed to the policy. When a new segment is due, `state` gives the policy's
    /// state before that input; it is turned into text by the recorder's own thread.
    pub fn record<S: Serialize + Send + 'static>(&self, now: Now, input: &Input, state: impl FnOnce() -> S) {
        // After a gap comes a whole state, which takes its time: not before there is room for what comes meanwhile.
        let is_room = self.jobs.capacity() >= if self.shared.gap.load(Ordering::Relaxed) { QUEUE / 2 } else { 1 };
        let Some(place) = self.jobs.try_reserve().ok().filter(|_| is_room) else {
            self.shared.segment_due.store(true, Ordering::Relaxed);
            self.shared.gap.store(true, Ordering::Relaxed);
            self.shared.drop_line();
            return;
        };
        self.shared.gap.store(false, Ordering::Relaxed);
        let header = self.shared.segment_due.swap(false, Ordering::Relaxed).then(|| {
            let header = Header { version: env!("CARGO_PKG_VERSION").to_owned(), seed: self.seed, state: state() };
            let write: State = Box::new(move |out| Ok(serde_json::to_writer(out, &header)?));
            write
        });
        place.send(Job::Line { header, line: Box::new(Line { now, input: input.clone() }) });
    }

    /// Inputs that were not recorded, since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends the recording.
    pub async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).await.is_ok() {
            // An error means that the thread is gone already.
            let _ = wait.await;
        }
    }
}

struct Writer {
    dir: PathBuf,
    limits: Limits,
    segment: Option<Segment>,
    /// Tells how long ago a write failed, until a new segment is asked for.
    failed: Option<Box<dyn Fn() -> Duration + Send>>,
    shared: Arc<Shared>,
}

struct Segment {
    file: BufWriter<File>,
    bytes: u64,
    /// Of its first line.
    header: u64,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut queue = Vec::new();
        while jobs.blocking_recv_many(&mut queue, 256) > 0 {
            for job in queue.drain(..) {
                match job {
                    Job::Line { header, line } => self.line(header, &line),
                    Job::Close(done) => {
                        self.flush();
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(());
                        return;
                    }
                }
            }
            self.flush();
        }
    }

    fn line(&mut self, header: Option<State>, line: &Line) {
        if let Some(header) = header {
            match self.begin_segment(header, line.now) {
                Ok(segment) => self.segment = Some(segment),
                Err(error) => self.fail(&error),
            }
        }
        if self.failed.as_ref().is_some_and(|elapsed| elapsed() >= PAUSE) {
            self.failed = None;
            self.shared.segment_due.store(true, Ordering::Relaxed);
        }
        let Some(segment) = &mut self.segment else {
            self.shared.drop_line();
            return;
        };
        match segment.write(line) {
            // A header is made anew only for at least as many bytes of lines.
            Ok(()) if segment.bytes >= self.limits.segment_bytes().max(2 * segment.header) => {
                // Lines that are queued already still belong to this one: the next header's state comes after them.
                if !self.shared.segment_due.swap(true, Ordering::Relaxed) {
                    segment.bytes = 0;
                }
            }
            Ok(()) => {}
            Err(error) => {
                self.shared.drop_line();
                self.fail(&error);
            }
        }
    }

    fn flush(&mut self) {
        if let Some(segment) = &mut self.segment
            && let Err(error) = segment.file.flush()
        {
            self.fail(&error);
        }
    }

    /// Gives the segment up: what follows a gap would replay otherwise.
    fn fail(&mut self, error: &io::Error) {
        tracing::debug!(%error, "the flight recorder could not write");
        if let Some(segment) = self.segment.take() {
            // Without another try to write what is buffered.
            drop(segment.file.into_parts());
        }
        self.failed = Some(Box::new(stopwatch()));
    }

    fn begin_segment(&mut self, header: State, now: Now) -> io::Result<Segment> {
        if let Some(mut old) = self.segment.take() {
            old.file.flush()?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let mut present = segments(&self.dir)?;
        let mut sizes: Vec<u64> = present.iter().map(|old| fs::metadata(old).map_or(0, |old| old.len())).collect();
        // Large headers make large segments: there has to be room for one more.
        let largest = sizes.iter().copied().max().unwrap_or_default();
        let next = if largest > 2 * self.limits.segment_bytes() { largest } else { 0 };
        let room = self.limits.bytes.saturating_sub(next);
        while !present.is_empty() && (present.len() >= self.limits.segments || sizes.iter().sum::<u64>() > room) {
            fs::remove_file(present.remove(0))?;
            sizes.remove(0);
        }
        let ordinal = present.last().and_then(|path| ordinal(path)).map_or(1, |last| last + 1);
        let stamp = jiff::Timestamp::from_millisecond(now.wall.0).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ");
        let path = self.dir.join(format!("{ordinal:010}-{stamp}.jsonl"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut segment = Segment { file: BufWriter::new(file), bytes: 0, header: 0 };
        header(&mut segment.file)?;
        segment.file.write_all(b"\n")?;
        segment.header = segment.file.stream_position()?;
        segment.bytes = segment.header;
        self.failed = None;
        Ok(segment)
    }
}

impl Segment {
    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.bytes += text.len() as u64;
        self.file.write_all(&text)
    }
}

impl Limits {
    fn segment_bytes(self) -> u64 {
        self.bytes / u64::try_from(self.segments).unwrap_or(u64::MAX).max(1)
    }
}

/// The segments of a recording, oldest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn segments(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if ordinal(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The number in a segment's name; none for other files.
fn ordinal(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
    name.split_once('-')?.0.parse().ok()
}

/// Opens a segment.
///
/// # Errors
/// When it cannot be read, another version wrote it (unless `any_version`), or its first line is no [`Header`].
pub fn read<S: DeserializeOwned>(path: &Path, any_version: bool) -> Result<(Header<S>, Lines), FlightError> {
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    let name = path.display().to_string();
    let fail = |error| FlightError::Io { path: name.clone(), error };
    let malformed =
        |error| FlightError::Malformed { path: name.clone(), line: 1, expected: "a recording's header", error };
    let mut file = BufReader::new(File::open(path).map_err(fail)?);
    let mut text = Vec::new();
    file.read_until(b'\n', &mut text).map_err(fail)?;
    // The version first: another one's state may well be unreadable.
    let Version { version } = serde_json::from_slice(&text).map_err(malformed)?;
    let expected = env!("CARGO_PKG_VERSION");
    if version != expected && !any_version {
        return Err(FlightError::OtherVersion { path: name, found: version, expected });
    }
    let header = serde_json::from_slice(&text).map_err(malformed)?;
    Ok((header, Lines { file, path: name, line: 1, ended: false }))
}

/// The lines of a segment. A last line that was cut off, by a kill or a full disk, ends it without an error; after an error
/// it yields nothing more.
#[derive(Debug)]
pub struct Lines {
    file: BufReader<File>,
    path: String,
    line: u64,
    ended: bool,
}

impl Iterator for Lines {
    type Item = Result<Line, FlightError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.line += 1;
        let mut text = Vec::new();
        let item = match self.file.read_until(b'\n', &mut text) {
            Ok(0) => None,
            Err(error) => Some(Err(FlightError::Io { path: self.path.clone(), error })),
            Ok(_) => match serde_json::from_slice(&text) {
                Ok(line) => Some(Ok(line)),
                Err(_) if !text.ends_with(b"\n") => None,
                Err(error) => Some(Err(FlightError::Malformed {
                    path: self.path.clone(),
                    line: self.line,
                    expected: "an input with its time",
                    error,
                })),
            },
        };
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iaso_policy::time::{Boot, Mono, Wall};

    fn now(n: i64) -> Now {
        Now { mono: Mono(n), wall: Wall(n), boot: Boot(u64::MAX) }
    }

    /// Records ticks; the state is the number of inputs before it.
    async fn record(dir: &Path, limits: Limits, ticks: i64) {
        let recorder = Recorder::start(dir, 7, limits).unwrap();
        for n in 0..ticks {
            recorder.record(now(n), &Input::Tick, || n);
            tokio::task::yield_now().await;
            // Let the writer keep up, so that nothing is dropped.
            while recorder.jobs.capacity() < QUEUE {
                tokio::task::yield_now().await;
            }
        }
        recorder.close().await;
        assert_eq!(recorder.dropped(), 0);
    }

    #[tokio::test]
    async fn segments_are_bounded_and_each_begins_with_the_state_before_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        record(dir.path(), Limits { bytes: 4000, segments: 4 }, 500).await;
        let found = segments(dir.path()).unwrap();
        assert_eq!(found.len(), 4);
        let bytes: u64 = found.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(bytes < 6000, "{bytes}");
        let mut next = None;
        for path in found {
            let (header, lines) = read::<i64>(&path, false).unwrap();
            assert_eq!(header.seed, 7);
            assert!(next.is_none_or(|next| next == header.state));
            let mut expected = header.state;
            for line in lines {
                assert_eq!(line.unwrap(), Line { now: now(expected), input: Input::Tick });
                expected += 1;
            }
            next = Some(expected);
        }
        assert_eq!(next, Some(500));
    }

    #[tokio::test]
    async fn a_large_state_is_written_for_as_many_lines_and_within_the_same_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { bytes: 64_000, segments: 16 };
        let recorder = Recorder::start(dir.path(), 7, limits).unwrap();
        let (made, state) = (std::cell::Cell::new(0), "x".repeat(8_000));
        for n in 0..1_000 {
            recorder.record(now(n), &Input::Tick, || {
                made.set(made.get() + 1);
                state.clone()
            });
            while recorder.jobs.capacity() < QUEUE {
                tokio::task::yield_now().await;
            }
        }
        recorder.close().await;
        let found = segments(dir.path()).unwrap();
        let bytes: u64 = found.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        let of_lines = fs::metadata(&found[0]).unwrap().len() - 8_000;
        assert!(of_lines >= 8_000, "{of_lines} bytes of lines follow a state of 8,000");
        assert!((2..=12).contains(&made.get()), "a state was made {} times", made.get());
        assert!(bytes <= limits.bytes, "{bytes}");
    }

    #[tokio::test]
    async fn a_cut_last_line_is_forgiven_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        record(dir.path(), Limits::default(), 3).await;
        let path = segments(dir.path()).unwrap().remove(0);
        let whole = fs::read(&path).unwrap();
        let count = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read::<i64>(&path, false).unwrap().1.collect::<Result<Vec<_>, _>>()
        };
        assert_eq!(count(&whole).unwrap().len(), 3);
        assert_eq!(count(&whole[..whole.len() - 1]).unwrap().len(), 3);
        assert_eq!(count(&whole[..whole.len() - 2]).unwrap().len(), 2);
        let broken = String::from_utf8(whole).unwrap().replacen("Tick", "Tock", 1);
        let error = count(broken.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("line 2: expected an input with its time") && error.contains("Tock"), "{error}");
    }

    #[tokio::test]
    async fn another_version_is_refused_unless_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0000000001-x.jsonl");
        fs::write(&path, "{\"version\":\"0.0.0\",\"seed\":1,\"state\":5}\n").unwrap();
        let error = read::<i64>(&path, false).unwrap_err().to_string();
        assert!(error.contains("recorded by iaso 0.0.0"), "{error}");
        assert_eq!(read::<i64>(&path, true).unwrap().0.state, 5);
        fs::write(&path, "hello\n").unwrap();
        assert!(read::<i64>(&path, false).unwrap_err().to_string().contains("line 1: expected a recording's header"));
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_costs_only_the_recording() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let recorder = Recorder::start(&file.join("flight"), 1, Limits::default()).unwrap();
        for n in 0..10 {
            recorder.record(now(n), &Input::Tick, || n);
        }
        recorder.close().await;
        assert_eq!(recorder.dropped(), 10);
    }
}
