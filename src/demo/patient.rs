//! The program inside the containers of the demo and of the tests: a tiny HTTP server that falls ill on order.
//!
//! `iaso patient [--port N (8080; 0: any)] [--sick-after T] [--hang-after T] [--exit-after T[:CODE]] [--swell-after T] [--once |
//! --relapse] [--says LINE]... [--ignore-term] [--key FILE [--longest-key N]] [--uses FILE --at ADDRESS:PORT]` (`keys.rs` tells of the last four), or
//! `iaso patient --probe URL` as its HEALTHCHECK, or
//! `iaso patient --echo`, which says what it hears. Illness lives in memory, so that a restart heals it; with `--once` the
//! `-after` faults befall the first life only, with `--relapse` every life but the first.
//!
//! `/` and `/health` answer 200 `up`, or 500 once sick, or nothing once hung. `/sick`, `/hang` and `/exit?code=N` make it so;
//! `/garbage`, `/huge` and `/reset` answer in those ways.

mod keys;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::keys::{Asked, Lock, User};
use crate::system::tasks::Tasks;

/// Left in the container's writable layer by the first life, for `--once` and `--relapse`.
const LIVED: &str = "/.iaso-patient-lived";

/// Runs the patient, or its probe, with the arguments that follow `patient`; ends with the code that was ordered, with 0 on
/// SIGTERM, with 2 for arguments that it does not know.
pub fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let orders = match Orders::parse(args) {
        Ok(orders) => orders,
        Err(why) => return complain(&why, 2),
    };
    if let Some(url) = &orders.probe {
        return match probe(url) {
            Ok(200) => ExitCode::SUCCESS,
            Ok(status) => complain(&format!("answered {status}"), 1),
            Err(error) => complain(&error.to_string(), 1),
        };
    }
    if orders.echo {
        return match io::copy(&mut io::stdin().lock(), &mut io::stdout().lock()) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => complain(&error.to_string(), 1),
        };
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error.to_string(), 1),
    };
    match runtime.block_on(live(&orders)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => complain(&format!("port {}: {error}", orders.port), 1),
    }
}

fn complain(why: &str, code: u8) -> ExitCode {
    eprintln!("iaso patient: {why}");
    ExitCode::from(code)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Orders {
    port: u16,
    fate: Option<(Duration, Mood)>,
    lives: Lives,
    ignore_term: bool,
    probe: Option<String>,
    lock: Option<Lock>,
    uses: Option<PathBuf>,
    at: Option<SocketAddr>,
    echo: bool,
    says: Vec<String>,
}

/// Which lives the `-after` faults befall.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Lives {
    #[default]
    Every,
    First,
    Later,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Sick,
    Hung,
    /// It takes memory, and more.
    Swelling,
    Leaving(u8),
}

impl Orders {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut orders = Self { port: 8080, ..Self::default() };
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--port" => orders.port = value()?.parse().map_err(|_| "--port expects a number up to 65535")?,
                "--sick-after" => orders.fate = Some((span(&value()?)?, Mood::Sick)),
                "--hang-after" => orders.fate = Some((span(&value()?)?, Mood::Hung)),
                "--swell-after" => orders.fate = Some((span(&value()?)?, Mood::Swelling)),
                "--says" => orders.says.push(value()?),
                "--exit-after" => {
                    let value = value()?;
                    let (after, code) = value.split_once(':').unwrap_or((&value, "0"));
                    let code = code.parse().map_err(|_| "--exit-after expects TIME:CODE, the code up to 255")?;
                    orders.fate = Some((span(after)?, Mood::Leaving(code)));
                }
                "--once" => orders.lives = Lives::First,
                "--relapse" => orders.lives = Lives::Later,
                "--ignore-term" => orders.ignore_term = true,
                "--probe" => orders.probe = Some(value()?),
                "--key" => orders.lock = Some(Lock { file: value()?.into(), longest: usize::MAX }),
                "--longest-key" => {
                    let longest = value()?.parse().map_err(|_| "--longest-key expects a number")?;
                    orders.lock.as_mut().ok_or("--longest-key expects --key before it")?.longest = longest;
                }
                "--uses" => orders.uses = Some(value()?.into()),
                "--at" => {
                    orders.at = Some(value()?.parse().map_err(|_| "--at expects an address and a port, not a name")?);
                }
                "--echo" => orders.echo = true,
                _ => return Err(format!("{flag:?} is not an argument of `iaso patient`")),
            }
        }
        if orders.uses.is_some() != orders.at.is_some() {
            return Err("--uses and --at go together".to_owned());
        }
        Ok(orders)
    }
}

/// `200ms` or `3s`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time such as 200ms or 3s");
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().map(Duration::from_millis).map_err(|_| wrong()),
        None => text.strip_suffix('s').and_then(|s| s.parse().ok()).map(Duration::from_secs).ok_or_else(wrong),
    }
}

/// One life: serves until a mood or a signal ends it; the exit code.
async fn live(orders: &Orders) -> io::Result<u8> {
    let (mut term, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let user = orders.uses.clone().zip(orders.at).map(|(file, lock)| User::new(file, lock));
    let keys = Arc::new(Keys { lock: orders.lock.clone(), user });
    let listener = TcpListener::bind(("0.0.0.0", orders.port)).await?;
    let doomed = match orders.lives {
        Lives::Every => true,
        Lives::First => !lived_before(),
        Lives::Later => lived_before(),
    };
    let fate = orders.fate.filter(|_| doomed);
    println!("serving on port {}", listener.local_addr()?.port());
    for line in &orders.says {
        println!("{line}");
    }
    let (mood, mut leaving) = watch::channel(Mood::Well);
    let tasks = Tasks::new();
    let befall = async {
        if let Some((after, ill)) = fate {
            tokio::time::sleep(after).await;
            mood.send_replace(ill);
        }
        std::future::pending::<()>().await;
    };
    tokio::pin!(befall);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let (mood, keys) = (mood.clone(), Arc::clone(&keys));
                tasks.spawn("answer", async move { answer(stream, &mood, &keys).await });
            }
            _ = hangup.recv() => {
                if let Some(user) = &keys.user {
                    user.read_again();
                }
            }
            _ = term.recv() => {
                if !orders.ignore_term {
                    return Ok(0);
                }
            }
            changed = leaving.changed() => {
                match (changed, *leaving.borrow_and_update()) {
                    (Ok(()), Mood::Leaving(code)) => return Ok(code),
                    (Ok(()), Mood::Swelling) => return swell(),
                    _ => {}
                }
            }
            () = &mut befall => {}
        }
    }
}

/// Takes half a GiB: where that is more than it may have, the kernel ends it.
fn swell() -> io::Result<u8> {
    let taken: Vec<Vec<u8>> = (0..512).map(|_| vec![1; 1 << 20]).collect();
    Err(io::Error::other(format!("{} MiB of memory were to be had", taken.len())))
}

/// What it checks, and what it uses.
struct Keys {
    lock: Option<Lock>,
    user: Option<User>,
}

/// Whether an earlier life left its mark; leaves one.
fn lived_before() -> bool {
    let before = Path::new(LIVED).exists();
    if let Err(error) = std::fs::write(LIVED, "") {
        eprintln!("iaso patient: cannot leave a mark for later lives: {error}");
    }
    before
}

async fn answer(mut stream: TcpStream, mood: &watch::Sender<Mood>, keys: &Keys) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 8192 {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let mut request = String::from_utf8_lossy(&request).into_owned();
    while request.len() < 8192 && body_is_missing(&request) {
        let mut more = Vec::new();
        if stream.read_buf(&mut more).await? == 0 {
            return Ok(());
        }
        request.push_str(&String::from_utf8_lossy(&more));
    }
    let target = request.split(' ').nth(1).unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if let Some(lock) = &keys.lock {
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or((&request, ""));
        let method = request.split(' ').next().unwrap_or_default();
        let asked = Asked { method, path, key: header(head, "x-key").unwrap_or_default(), body };
        if let Some(status) = lock.answer(&asked)? {
            return stream.write_all(&response(status, "")).await;
        }
    }
    match path {
        "/sick" => drop(mood.send_replace(Mood::Sick)),
        "/hang" => drop(mood.send_replace(Mood::Hung)),
        "/exit" => {
            let code = query.strip_prefix("code=").and_then(|code| code.parse().ok()).unwrap_or(0);
            mood.send_replace(Mood::Leaving(code));
        }
        "/garbage" => return stream.write_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await,
        "/huge" => return huge(&mut stream).await,
        "/reset" => {
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
            return Ok(());
        }
        _ => {
            let mood = *mood.borrow();
            match mood {
                Mood::Hung => std::future::pending().await,
                Mood::Sick => return stream.write_all(&response(500, "sick\n")).await,
                Mood::Well | Mood::Swelling | Mood::Leaving(_) => {}
            }
            if let Some(user) = &keys.user
                && !user.is_let_in().await
            {
                return stream.write_all(&response(500, "locked out\n")).await;
            }
        }
    }
    stream.write_all(&response(200, "up\n")).await
}

/// A header's value.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let named = |line: &&str| line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name));
    head.lines().find(named).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
}

/// Whether more of the body was announced than has come.
fn body_is_missing(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let announced = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    body.len() < announced
}

fn response(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} patient\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

/// A hundred MiB.
async fn huge(stream: &mut TcpStream) -> io::Result<()> {
    let piece = vec![b'x'; 1 << 16];
    stream.write_all(b"HTTP/1.1 200 patient\r\ncontent-length: 104857600\r\nconnection: close\r\n\r\n").await?;
    for _ in 0..(100 << 20) / piece.len() {
        stream.write_all(&piece).await?;
    }
    Ok(())
}

/// The status that `http://ADDRESS:PORT/PATH` answers within 2 s.
pub(super) fn probe(url: &str) -> io::Result<u16> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{url:?}: {why}"));
    let rest = url.strip_prefix("http://").ok_or_else(|| invalid("expected http://ADDRESS:PORT/PATH"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = authority.parse().map_err(|_| invalid("expected an address and a port, not a name"))?;
    let mut stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut status_line = [0; 12];
    stream.read_exact(&mut status_line)?;
    let status = std::str::from_utf8(&status_line).ok().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP/1.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Orders, String> {
        Orders::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn reads_its_orders() {
        let orders = parse("--port 81 --exit-after 200ms:3 --once --ignore-term").unwrap();
        assert_eq!(orders.port, 81);
        assert_eq!(orders.fate, Some((Duration::from_millis(200), Mood::Leaving(3))));
        assert!(orders.lives == Lives::First && orders.ignore_term);
        assert_eq!(parse("--relapse").unwrap().lives, Lives::Later);
        assert_eq!(parse("").unwrap(), Orders { port: 8080, ..Orders::default() });
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (line, named) in [
            ("--uses f", "--at"),
            ("--longest-key 3", "--key"),
            ("--at web:80", "--at"),
            ("--port", "--port"),
            ("--port x", "--port"),
            ("--sick-after 3", "\"3\""),
            ("--cure", "\"--cure\""),
        ] {
            let why = parse(line).unwrap_err();
            assert!(why.contains(named), "{line}: {why}");
        }
    }
}
