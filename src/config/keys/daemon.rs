//! The keys of the daemon itself.

use super::Sample::{Default, Hidden};
use super::{DAY, HOUR, Key, Kind, SECOND, key};

pub(in crate::config) static DAEMON: &[Key] = &[
    key("data_dir", Kind::Text, Default("\"/var/lib/iaso\""), "where its database lives; $STATE_DIRECTORY wins"),
    key("socket", Kind::Text, Default("\"/run/iaso/iaso.sock\""), "the Unix socket of the command line"),
    key(
        "log",
        Kind::Table(LOG),
        Default("{ level = \"info\", format = \"auto\" }"),
        "error | warn | info | debug | trace; auto (text to a terminal, else json) | json | text; file = \"PATH\" keeps them \
         as well, put aside at 10 MiB, five of these kept",
    ),
    key("shutdown_grace", Kind::Duration(SECOND, HOUR), Default("\"8s\""), "under the 10 s of `docker stop`"),
    key(
        "history",
        Kind::Table(HISTORY),
        Default("{ keep = \"30d\", max_size = \"256MiB\" }"),
        "how long outages and what was decided and seen in them are kept, and how much in all",
    ),
    key("allow_commands", Kind::Bool, Default("false"), "whether checks of type command may run programs on this host"),
];

static LOG: &[Key] = &[
    key("level", Kind::Word(&["error", "warn", "info", "debug", "trace"]), Hidden, "the least that is logged"),
    key("format", Kind::Word(&["auto", "json", "text"]), Hidden, "auto: text to a terminal, else json"),
    key("file", Kind::Text, Hidden, "keeps the lines as well; put aside at 10 MiB, five of these kept"),
];

static HISTORY: &[Key] = &[
    key(
        "keep",
        Kind::Duration(HOUR, 3650 * DAY),
        Hidden,
        "from an hour to ten years; what goes on is kept for as long as it does",
    ),
    key("max_size", Kind::Size(1), Hidden, "the oldest goes first; what goes on stays"),
];
