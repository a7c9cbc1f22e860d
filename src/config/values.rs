//! How single values are spelled. Each function says what it expected when it cannot read one.

mod credentials;
mod maintenance;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use iaso_policy::spec::{AfterGap, Lifecycle, Mode, OnFailure, OnQuarantine, Step, Threshold};
use toml::de::DeArray;

pub(super) use self::credentials::{
    absolute, alphabet, arn_region, aws_endpoint, aws_secret, call_url, class, mode, on_change, owner, vault_address,
    vault_path,
};
pub(super) use self::maintenance::{Moment, cron, day, moment, time_zone};
use super::validated::DnsRecord;
use super::validated::{HostAddress, HostTls, HttpMethod, LabelMatch, LogFormat, Severity, Target};

/// What was expected.
pub(super) type Read<T> = Result<T, String>;

/// `[A-Za-z0-9][A-Za-z0-9_.-]{0,254}`.
pub(super) fn name(text: &str) -> Read<&str> {
    let valid = text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if valid {
        Ok(text)
    } else {
        Err("a name: a letter or digit, then up to 254 letters, digits, '_', '.' and '-'".to_owned())
    }
}

/// `true`, `1`, `yes`, `on`, `false`, `0`, `no` or `off`, in any case.
pub(super) fn flag(text: &str) -> Read<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| text.trim().eq_ignore_ascii_case(word));
    match () {
        () if is(["true", "1", "yes", "on"]) => Ok(true),
        () if is(["false", "0", "no", "off"]) => Ok(false),
        () => Err("true or false".to_owned()),
    }
}

/// `"500ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`, within bounds in milliseconds.
pub(super) fn duration(text: &str, min: u64, max: u64) -> Read<Duration> {
    const FORM: &str = "a duration such as \"500ms\", \"30s\", \"5m\", \"1h\" or \"7d\"";
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(FORM)?;
    let unit: u64 = match &text[split..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(FORM.to_owned()),
    };
    if split == 0 {
        return Err(FORM.to_owned());
    }
    let millis = text[..split].parse::<u64>().unwrap_or(u64::MAX).saturating_mul(unit);
    if (min..=max).contains(&millis) {
        Ok(Duration::from_millis(millis))
    } else {
        Err(format!("a duration from {} to {}", spell(min), spell(max)))
    }
}

/// A duration as the file would spell it.
pub(super) fn spell(millis: u64) -> String {
    match millis {
        0 => "\"0s\"".to_owned(),
        n if n % 86_400_000 == 0 => format!("\"{}d\"", n / 86_400_000),
        n if n % 3_600_000 == 0 => format!("\"{}h\"", n / 3_600_000),
        n if n % 60_000 == 0 => format!("\"{}m\"", n / 60_000),
        n if n % 1000 == 0 => format!("\"{}s\"", n / 1000),
        n => format!("\"{n}ms\""),
    }
}

/// A whole number within bounds.
pub(super) fn integer(value: Option<i64>, min: i64, max: i64) -> Read<i64> {
    value.filter(|n| (min..=max).contains(n)).ok_or_else(|| format!("a whole number from {min} to {max}"))
}

/// `3/10`, or `3` for three in a row.
pub(super) fn threshold(text: &str) -> Read<Threshold> {
    let (failures, of) = text.split_once('/').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u8>().ok().filter(|n| (1..=64).contains(n));
    match (number(failures), number(of)) {
        (Some(failures), Some(of)) if failures <= of => Ok(Threshold { failures, of }),
        _ => Err("1 to 64 in a row, such as 3, or some of the last 64 at most, such as \"3/10\"".to_owned()),
    }
}

/// `512KiB`, `256MiB`, `2GiB`, `1TiB`, or `0`; in bytes. At least `least` MiB.
pub(super) fn size(text: &str, least: u64) -> Read<u64> {
    let wrong = || match least {
        0 => "a size such as \"256MiB\" or \"2GiB\", or \"0\"".to_owned(),
        least => format!("a size such as \"256MiB\" or \"2GiB\", at least \"{least}MiB\""),
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match &text[split..] {
        "" if text == "0" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wrong()),
    };
    let number = text[..split].parse::<u64>().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes >= least << 20).ok_or_else(wrong)
}

/// The last word of a ladder that has whatever needs the service follow it.
const DEPENDENTS: &str = "restart-dependents";

/// Whether a ladder's word at `index` has whatever needs the service follow it: the last one, after a start or a restart.
pub(super) fn dependents_follow(words: &DeArray, index: usize) -> bool {
    let word = |index: usize| words.get(index).and_then(|word| word.get_ref().as_str());
    let begins = |index: usize| matches!(word(index), Some("start" | "restart"));
    word(index) == Some(DEPENDENTS) && index + 1 == words.len() && (0..index).any(begins)
}

/// One step of a ladder; the command line of an `exec` is added to `commands`.
pub(super) fn step(text: &str, commands: &mut Vec<Vec<String>>) -> Read<Step> {
    match text.split_once(':') {
        None => match text {
            "start" => Ok(Step::Start),
            "restart" => Ok(Step::Restart),
            "stop" => Ok(Step::Stop),
            DEPENDENTS => Err("restart-dependents as the last word, after start or restart".to_owned()),
            "recreate" => {
                Err("start or restart: no ladder makes a container anew, and never that of what keeps data".to_owned())
            }
            _ => Err("a step: start, restart, stop, signal:NAME or exec:COMMAND LINE".to_owned()),
        },
        Some(("signal", signal)) => Ok(Step::Signal(signal_number(signal)?)),
        Some(("exec", line)) => {
            let words = argv(line).map_err(|expected| format!("exec: and {expected}"))?;
            let index = u16::try_from(commands.len()).map_err(|_| "fewer commands".to_owned())?;
            commands.push(words);
            Ok(Step::Exec(index))
        }
        Some(_) => Err("a step: start, restart, stop, signal:NAME or exec:COMMAND LINE".to_owned()),
    }
}

/// A program and its arguments on one line, split as a shell splits words.
pub(super) fn argv(line: &str) -> Read<Vec<String>> {
    shlex::split(line)
        .filter(|words| words.first().is_some_and(|word| !word.is_empty()))
        .ok_or_else(|| "a command line with closed quotes; no shell reads it".to_owned())
}

/// The SHA-256 hash of a public key in base64 (the form of RFC 7469 and of curl's `--pinnedpubkey`, without `sha256//`).
pub(super) fn pin(text: &str) -> Read<[u8; 32]> {
    let text = text.strip_prefix("sha256//").unwrap_or(text);
    let bytes = BASE64.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.ok_or_else(|| "the SHA-256 hash of a public key in base64: 44 characters".to_owned())
}

/// Linux's numbers on the architectures that containers run on.
const SIGNALS: [(&str, u8); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// `HUP`, `SIGHUP` or `1`, in any case.
fn signal_number(text: &str) -> Read<u8> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    SIGNALS
        .iter()
        .find(|(name, _)| *name == bare)
        .map(|(_, number)| *number)
        .or_else(|| text.parse().ok().filter(|n| (1..=64).contains(n)))
        .ok_or_else(|| "signal: and a signal's name such as HUP, or its number from 1 to 64".to_owned())
}

/// `unix:///PATH` or `tcp://HOST:PORT`; `https://` and `tcps://` mean TLS.
pub(super) fn host_address(text: &str) -> Read<HostAddress> {
    const FORM: &str = "unix:///PATH/TO/SOCKET, tcp://HOST:PORT or https://HOST:PORT";
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    let authority = match scheme {
        "unix" if rest.starts_with('/') && rest.len() > 1 && !rest.contains('\0') => {
            return Ok(HostAddress::Unix(PathBuf::from(rest)));
        }
        "tcp" | "tcps" | "https" => rest.strip_suffix('/').unwrap_or(rest),
        _ => return Err(FORM.to_owned()),
    };
    // The scheme has a default port of its own, which `port` would hide; engines have none.
    let url = url::Url::parse(&format!("iaso://{authority}")).map_err(|_| FORM)?;
    let plain = url.path().is_empty() && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) if !host.is_empty() && port > 0 && plain && anonymous => {
            let address = format!("{host}:{port}");
            Ok(match scheme {
                "tcp" => HostAddress::Tcp(address),
                _ => HostAddress::Tls { address, tls: HostTls::default() },
            })
        }
        _ => Err(FORM.to_owned()),
    }
}

/// `ADDRESS:PORT`.
pub(super) fn listen(text: &str) -> Read<SocketAddr> {
    text.parse().map_err(|_| "an address and port such as \"127.0.0.1:9797\" or \"[::]:9797\"".to_owned())
}

/// `KEY=VALUE`; the key is not empty.
pub(super) fn label(text: &str) -> Read<LabelMatch> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok(LabelMatch { key: key.trim().to_owned(), value: value.trim().to_owned() })
        }
        _ => Err("a label and its value, such as \"app=homepage\"".to_owned()),
    }
}

/// `PROJECT/SERVICE`.
pub(super) fn compose(text: &str) -> Read<Target> {
    match text.split_once('/') {
        Some((project, service)) if name(project).is_ok() && name(service).is_ok() => {
            Ok(Target::Compose { project: project.to_owned(), service: service.to_owned() })
        }
        _ => Err("a Compose project and service, such as \"dashboard/homepage\"".to_owned()),
    }
}

/// Statuses and ranges of them, separated by commas: `204`, `200-299,401`.
pub(super) fn statuses(text: &str) -> Read<Vec<(u16, u16)>> {
    const FORM: &str = "statuses from 100 to 599: 204, \"200-299\", or a list of these";
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|n| (100..=599).contains(n));
    text.split(',')
        .map(|range| {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            match (status(low), status(high)) {
                (Some(low), Some(high)) if low <= high => Ok((low, high)),
                _ => Err(FORM.to_owned()),
            }
        })
        .collect()
}

/// A header's name, in lower case.
pub(super) fn header_name(text: &str) -> Read<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.len() <= 128 && text.bytes().all(token) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a header's name: letters, digits and '-'".to_owned())
    }
}

/// A header's value: visible text on one line.
pub(super) fn header_value(text: &str) -> Read<String> {
    if text.len() <= 8192 && text.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f)) {
        Ok(text.to_owned())
    } else {
        Err("one line of text of at most 8192 bytes".to_owned())
    }
}

/// A JSON pointer (RFC 6901).
pub(super) fn pointer(text: &str) -> Read<&str> {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if (text.is_empty() || text.starts_with('/')) && escapes {
        Ok(text)
    } else {
        Err("a JSON pointer such as \"/status\" or \"/items/0/state\"".to_owned())
    }
}

/// A word of a fixed set, spelled as the table of keys has it.
pub(super) trait Word: Copy {
    /// The value of a word; none for another word.
    fn of(word: &str) -> Option<Self>;
}

macro_rules! words {
    ($($type:ty { $($word:literal => $value:expr),+ $(,)? })+) => {
        $(impl Word for $type {
            fn of(word: &str) -> Option<Self> {
                match word {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
        })+
    };
}

words! {
    Mode { "auto" => Mode::Auto, "notify" => Mode::Notify, "off" => Mode::Off }
    OnQuarantine { "leave" => OnQuarantine::Leave, "stop" => OnQuarantine::Stop }
    OnFailure { "heal" => OnFailure::Heal, "alert" => OnFailure::Alert }
    Lifecycle { "running" => Lifecycle::Running, "completed" => Lifecycle::Completed, "auto" => Lifecycle::Auto }
    AfterGap { "leave" => AfterGap::Leave, "start" => AfterGap::Start }
    Severity { "info" => Severity::Info, "warning" => Severity::Warning, "critical" => Severity::Critical }
    HttpMethod { "GET" => HttpMethod::Get, "HEAD" => HttpMethod::Head, "POST" => HttpMethod::Post }
    DnsRecord {
        "A" => DnsRecord::A,
        "AAAA" => DnsRecord::Aaaa,
        "CNAME" => DnsRecord::Cname,
        "MX" => DnsRecord::Mx,
        "NS" => DnsRecord::Ns,
        "PTR" => DnsRecord::Ptr,
        "SRV" => DnsRecord::Srv,
        "TXT" => DnsRecord::Txt,
    }
    LogFormat { "auto" => LogFormat::Auto, "json" => LogFormat::Json, "text" => LogFormat::Text }
    tracing::Level {
        "error" => tracing::Level::ERROR,
        "warn" => tracing::Level::WARN,
        "info" => tracing::Level::INFO,
        "debug" => tracing::Level::DEBUG,
        "trace" => tracing::Level::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_spelling() {
        let read = |text| duration(text, 0, 86_400_000 * 7).ok().map(|d| d.as_millis());
        assert_eq!(
            ["500ms", "30s", "5m", "1h", "7d"].map(read),
            [500, 30_000, 300_000, 3_600_000, 604_800_000].map(Some)
        );
        for bad in ["", "5", "s", "1.5s", "-1s", "1m30s", "1 s", "1S", "8d", "99999999999999999999d", "½s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(
            ["0", "512KiB", "256MiB", "2GiB"].map(|text| size(text, 0).ok()),
            [0, 512 << 10, 256 << 20, 2 << 30].map(Some)
        );
        for bad in
            ["", "256", "256MB", "MiB", "-1MiB", "1.5GiB", "256 MiB", "99999999999999999999KiB", "17179869184GiB"]
        {
            assert!(size(bad, 0).is_err(), "{bad}");
        }
        assert_eq!((size("1MiB", 1).is_ok(), size("1023KiB", 1).is_ok(), size("0", 1).is_ok()), (true, false, false));
    }

    #[test]
    fn steps_are_words_signals_and_commands() {
        let mut commands = Vec::new();
        assert_eq!(step("signal:SIGhup", &mut commands), Ok(Step::Signal(1)));
        assert_eq!(step("signal:64", &mut commands), Ok(Step::Signal(64)));
        assert_eq!(step("exec:nginx -s 're load'", &mut commands), Ok(Step::Exec(0)));
        assert_eq!(commands, [["nginx", "-s", "re load"]]);
        for bad in
            ["", "reboot", "signal:", "signal:0", "signal:65", "exec:", "exec:  ", "exec:a 'b", "command:x", "start:"]
        {
            assert!(step(bad, &mut commands).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_sockets_and_tcp_with_and_without_tls() {
        assert_eq!(host_address("tcp://proxy:2375"), Ok(HostAddress::Tcp("proxy:2375".into())));
        assert_eq!(host_address("tcp://[::1]:80/"), Ok(HostAddress::Tcp("[::1]:80".into())));
        assert_eq!(host_address("unix:///run/d.sock"), Ok(HostAddress::Unix("/run/d.sock".into())));
        for tls in ["https://nas.lan:2376", "tcps://nas.lan:2376/"] {
            let address = HostAddress::Tls { address: "nas.lan:2376".into(), tls: HostTls::default() };
            assert_eq!(host_address(tls), Ok(address), "{tls}");
        }
        for bad in
            ["", "unix://d.sock", "tcp://", "tcp://a", "tcp://a:b@c:1", "tcp://a:1/x", "ssh://a:1", "/run/d.sock"]
        {
            assert!(host_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn statuses_are_ranges() {
        assert_eq!(statuses("200-299, 401"), Ok(vec![(200, 299), (401, 401)]));
        for bad in ["", "99", "600", "300-200", "200-", "2xx", "200,,201"] {
            assert!(statuses(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pointers_follow_the_rfc() {
        for good in ["", "/a", "/a~0b~1c/0"] {
            assert!(pointer(good).is_ok(), "{good}");
        }
        for bad in ["a", "/~", "/~2"] {
            assert!(pointer(bad).is_err(), "{bad}");
        }
    }
}
