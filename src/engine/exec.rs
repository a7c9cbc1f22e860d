//! Commands inside a container: their exit code, and the end of what they print.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::Docker as Client;
use bollard::errors::Error;
use bollard::models::ExecConfig;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};
use tokio::time::{sleep, timeout};

use super::docker::engine_error;
use super::transport::Transport;
use super::{EngineError, ExecOutput};
use crate::config::secret::Secret;

/// The most that is kept of a command's output, in bytes.
const OUTPUT: usize = 16 << 10;
/// The most that an error tells of it, in characters.
const MESSAGE: usize = 500;
/// Between looks at a command that may have ended: first, longest.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// How long the rest of the output may take once the command has ended.
const REST: Duration = Duration::from_millis(100);

/// The codes that stand for a program that is no executable, and for one that is not there.
const CANNOT_EXECUTE: [i64; 2] = [126, 127];

/// Runs a command to its end. The engine tells a program that is missing as output and an exit code, not as an error.
/// `begun` is set once the engine has taken the command: what takes long after that is the command, before it the engine.
pub(super) async fn run(
    client: &Client,
    transport: &Transport,
    id: &str,
    command: &[String],
    begun: &AtomicBool,
) -> Result<ExecOutput, EngineError> {
    let exec = create(client, id, command, false).await?;
    let source = Source::Answer(transport.send(start(&exec)?).await.map_err(engine_error)?.into_body());
    begun.store(true, Ordering::Relaxed);
    let mut output = Output::of(source);
    let code = until_ended(client, &exec, &mut output).await?;
    output.ended(code)
}

/// The same, with `input` on the command's standard input, which then ends. A command need not read it.
pub(super) async fn run_with_input(
    client: &Client,
    transport: &Transport,
    id: &str,
    command: &[String],
    input: &Secret,
    begun: &AtomicBool,
) -> Result<ExecOutput, EngineError> {
    let exec = create(client, id, command, true).await?;
    let start = start(&exec)?;
    // What changes something must not count as not begun once it may have: from here on the engine may have started it.
    begun.store(true, Ordering::Relaxed);
    let stream = transport.upgrade(start).await.map_err(engine_error)?;
    let (reading, mut writing) = tokio::io::split(TokioIo::new(stream));
    let mut output = Output::of(Source::Stream(reading));
    // How the command ends decides; one that ends without reading breaks the writing off.
    let write = async {
        if writing.write_all(input.expose().as_bytes()).await.is_ok() {
            let _broken_off = writing.shutdown().await;
        }
        std::future::pending::<Infallible>().await
    };
    let code = tokio::select! {
        code = until_ended(client, &exec, &mut output) => code?,
        never = write => match never {},
    };
    output.ended(code)
}

async fn create(client: &Client, id: &str, command: &[String], input: bool) -> Result<String, EngineError> {
    let config = ExecConfig {
        cmd: Some(command.to_vec()),
        attach_stdin: Some(input),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..Default::default()
    };
    Ok(client.create_exec(id, config).await.map_err(engine_error)?.id)
}

/// The engine's own words for a program that it could not run. A program may end with the same codes, as a shell does that
/// finds no program; what that printed may hold secrets and goes the way of all output.
fn complaint(code: i64, output: &str) -> Option<String> {
    let line = output.trim();
    let is_engine_s = CANNOT_EXECUTE.contains(&code) && line.contains("OCI runtime") && line.lines().count() == 1;
    is_engine_s.then(|| line.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MESSAGE).collect())
}

/// The request that starts a command. Without input its output is the answer's body: bollard would ask for an upgraded
/// connection, which a proxy may not hand on together with the request's body: HAProxy does not.
fn start(exec: &str) -> Result<Request<Full<Bytes>>, EngineError> {
    Request::post(format!("/exec/{exec}/start"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(r#"{"Detach":false,"Tty":false}"#))
        .map_err(|err| engine_error(Error::HttpClientError { err }))
}

/// Reads the output until the command has ended, and returns its code. Usually both end together; but what the command left
/// running in the background may hold its output open, so that looks decide.
async fn until_ended(client: &Client, exec: &str, output: &mut Output) -> Result<i64, EngineError> {
    while timeout(LOOK.1, output.read()).await.map_or(Ok(true), |read| read.map(|()| false))? {
        if let Some(code) = code_of(client, exec).await? {
            let _what_holds_it_open = timeout(REST, output.read()).await;
            return Ok(code);
        }
    }
    let mut pause = LOOK.0;
    loop {
        if let Some(code) = code_of(client, exec).await? {
            return Ok(code);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK.1);
    }
}

/// What a command prints.
struct Output {
    source: Source,
    frames: Frames,
    tail: Tail,
}

/// Where it comes from.
enum Source {
    /// The body of an answer.
    Answer(Incoming),
    /// A connection that carries bytes both ways.
    Stream(ReadHalf<TokioIo<Upgraded>>),
}

impl Source {
    /// The next piece; empty at its end.
    async fn piece(&mut self) -> Result<Bytes, EngineError> {
        match self {
            Self::Answer(body) => loop {
                let Some(frame) = body.frame().await else { return Ok(Bytes::new()) };
                let frame = frame.map_err(|err| engine_error(Error::HyperResponseError { err }))?;
                // Trailers are none.
                if let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) {
                    return Ok(data);
                }
            },
            Self::Stream(stream) => {
                let mut piece = BytesMut::with_capacity(OUTPUT);
                stream.read_buf(&mut piece).await.map_err(|error| EngineError::Broken(error.kind().to_string()))?;
                Ok(piece.freeze())
            }
        }
    }
}

impl Output {
    fn of(source: Source) -> Self {
        Self { source, frames: Frames::default(), tail: Tail::of(OUTPUT) }
    }

    /// Reads to its end. May be given up and begun again.
    async fn read(&mut self) -> Result<(), EngineError> {
        loop {
            let piece = self.source.piece().await?;
            if piece.is_empty() {
                return Ok(());
            }
            self.frames.push(&piece, &mut self.tail);
        }
    }

    fn ended(self, code: i64) -> Result<ExecOutput, EngineError> {
        let output = self.tail.into_text();
        match complaint(code, &output) {
            Some(message) => Err(EngineError::CannotExecute { code, message }),
            None => Ok(ExecOutput { code, output }),
        }
    }
}

/// Takes both streams out of their frames: of eight bytes the last four tell how many bytes of output follow.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    left: usize,
}

impl Frames {
    fn push(&mut self, mut piece: &[u8], tail: &mut Tail) {
        while !piece.is_empty() {
            if self.left > 0 {
                let (output, rest) = piece.split_at(self.left.min(piece.len()));
                tail.push(output);
                self.left -= output.len();
                piece = rest;
                continue;
            }
            let (head, rest) = piece.split_at((8 - self.head.len()).min(piece.len()));
            self.head.extend_from_slice(head);
            piece = rest;
            if let [_, _, _, _, length @ ..] = &self.head[..]
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.left = u32::from_be_bytes(length) as usize;
                self.head.clear();
            }
        }
    }
}

/// The exit code; none while the command runs.
async fn code_of(client: &Client, exec: &str) -> Result<Option<i64>, EngineError> {
    let seen = client.inspect_exec(exec).await.map_err(engine_error)?;
    Ok(seen.exit_code.filter(|_| seen.running == Some(false)))
}

/// The last bytes of a stream.
pub(super) struct Tail {
    bytes: Vec<u8>,
    most: usize,
    /// The first bytes were lost.
    cut: bool,
}

impl Tail {
    /// At most so many.
    pub(super) fn of(most: usize) -> Self {
        Self { bytes: Vec::new(), most, cut: false }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        let surplus = self.bytes.len().saturating_sub(self.most);
        self.bytes.drain(..surplus);
        self.cut |= surplus > 0;
    }

    /// Without the line whose beginning was lost: nobody could tell what its rest is.
    pub(super) fn into_whole_lines(mut self) -> String {
        if self.cut {
            let end = self.bytes.iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |at| at + 1);
            self.bytes.drain(..end);
        }
        self.into_text()
    }

    pub(super) fn into_text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_come_out_of_their_frames_however_they_are_cut() {
        let said = b"\x01\0\0\0\0\0\0\x04out \x02\0\0\0\0\0\0\x00\x02\0\0\0\0\0\0\x03err";
        for cut in 1..said.len() {
            let (mut frames, mut tail) = (Frames::default(), Tail::of(100));
            said.chunks(cut).for_each(|piece| frames.push(piece, &mut tail));
            assert_eq!(tail.into_text(), "out err", "in pieces of {cut}");
        }
    }

    #[test]
    fn only_the_engine_s_own_words_become_an_error() {
        let own = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"no\": executable file \
                   not found in $PATH: unknown\r\n";
        assert!(complaint(127, own).is_some_and(|told| told.ends_with("$PATH: unknown")));
        assert_eq!(complaint(1, own), None);
        for printed in ["", "password hunter2", "password hunter2\nsh: 1: OCI runtime: not found"] {
            assert_eq!(complaint(127, printed), None, "{printed}");
        }
    }

    #[test]
    fn a_tail_keeps_the_end() {
        let mut tail = Tail::of(4);
        for piece in ["ab", "cdefg", "", "h"] {
            tail.push(piece.as_bytes());
        }
        assert_eq!(tail.into_text(), "efgh");
    }
}
