//! Every exit code of the command line.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The answer is "no": unhealthy, not found, a check failed.
    No = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The daemon or the engine cannot be reached.
    Unavailable = 69,
    /// A fault of Iaso's own.
    Internal = 70,
    /// Not permitted.
    NotPermitted = 77,
    /// The configuration is wrong.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Exit; 7] =
        [Exit::Done, Exit::No, Exit::Usage, Exit::Unavailable, Exit::Internal, Exit::NotPermitted, Exit::Configuration];

    const fn words(exit: Exit) -> (&'static str, &'static str) {
        match exit {
            Exit::Done => ("Done.", "Nothing."),
            Exit::No => {
                ("The answer is \"no\": unhealthy, not found, a check failed.", "Read what the command printed.")
            }
            Exit::Usage => ("The command line is wrong.", "`iaso COMMAND --help`."),
            Exit::Unavailable => (
                "The daemon or the engine cannot be reached; for the daemon: its address cannot be listened on.",
                "See whether the daemon runs, and whether `IASO_SOCKET` or `--socket` is its socket.",
            ),
            Exit::Internal => (
                "A fault of Iaso's own; the daemon also ends so when its supervisor died or hung.",
                "Let the service manager start it again (it resolves what was in flight), and report the last log lines.",
            ),
            Exit::NotPermitted => ("Not permitted.", "Ask as root or as a member of the socket's group."),
            Exit::Configuration => (
                "The configuration is wrong. Nothing was changed.",
                "Mend every place that was printed; each has file, line and column.",
            ),
        }
    }

    #[test]
    fn the_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/exit-codes.md");
        let mut made = String::from(
            "# Exit codes\n\nOf every command of `iaso`, the daemon included. Those from 69 on are `sysexits.h`'s.\n\n\
             | code | what happened | what to do |\n| --- | --- | --- |\n",
        );
        for exit in ALL {
            let (happened, advice) = words(exit);
            made.push_str(&format!("| {} | {happened} | {advice} |\n", exit as u8));
        }
        made.push_str(
            "| 130, 143 | A second SIGINT or SIGTERM ended the daemon at once. | What was in flight is on record; the next start \
             resolves it. |\n",
        );
        if std::env::var_os("IASO_UPDATE_DOCS").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(kept, made, "IASO_UPDATE_DOCS=1 cargo test --lib cli::exit writes it anew");
    }
}
