//! Where answers go: a terminal or not, how wide it is, and whether it shows colours.

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};

use clap::ValueEnum;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// When answers are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// To a terminal that shows them to somebody who wants them.
    Auto,
    Always,
    Never,
}

/// What the reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// With colours.
    pub(super) colour: bool,
    /// Its lines can be written over.
    pub(super) erases: bool,
    /// The terminal's columns; none where lines may be as long as they are.
    pub(super) width: Option<usize>,
}

impl Look {
    /// Of this process's standard output.
    pub(super) fn of_stdout(wanted: Colour) -> Self {
        let terminal = io::stdout().is_terminal();
        let columns = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            erases: terminal && !dumb,
            colour: coloured(wanted, terminal, &|name| std::env::var_os(name)),
            width: terminal.then(columns).flatten().filter(|columns| *columns > 0),
        }
    }
}

fn coloured(wanted: Colour, terminal: bool, env: &dyn Fn(&str) -> Option<OsString>) -> bool {
    match wanted {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            let refused = env("NO_COLOR").is_some_and(|value| !value.is_empty());
            terminal && !refused && env("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// Writes to standard output. A reader that has seen enough, such as `head`, is no failure.
///
/// # Errors
/// When the text cannot be written for another reason, such as a full disk.
pub(super) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes one of several answers to the same question: to a terminal in place of the one before.
///
/// # Errors
/// When it cannot be written, or nobody reads any more.
pub(super) fn write_frame(text: &str, look: Look) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if look.erases {
        out.write_all(b"\x1b[H\x1b[2J")?;
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Asks the person at the terminal for a line, which is not shown while it is typed.
///
/// # Errors
/// When the terminal cannot be told to show nothing, or nothing can be read.
pub(super) fn ask_in_secret(question: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let _shown_again = Hidden::new()?;
    let mut stderr = io::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    writeln!(stderr)?;
    Ok(line)
}

/// Standard input's terminal, until it is dropped.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to show.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_a_terminal_whose_user_wants_them() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        assert!(coloured(Colour::Auto, true, &env(&[("NO_COLOR", ""), ("TERM", "xterm")])));
        assert!(!coloured(Colour::Auto, false, &env(&[])));
        assert!(!coloured(Colour::Auto, true, &env(&[("NO_COLOR", "1")])));
        assert!(!coloured(Colour::Auto, true, &env(&[("TERM", "dumb")])));
        assert!(coloured(Colour::Always, false, &env(&[("NO_COLOR", "1")])));
        assert!(!coloured(Colour::Never, true, &env(&[])));
    }
}
