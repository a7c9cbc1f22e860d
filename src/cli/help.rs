//! What stands below the options in each command's help: an example, and the exit codes that the command can have.

pub(super) const IASO: &str = "\
Exit codes:
  0   done
  1   the answer is \"no\": not found, not alive, a check failed
  2   the command line is wrong
  69  the daemon or the engine cannot be reached
  70  a fault of Iaso's own
  77  not permitted
  78  the configuration is wrong

Environment:
  IASO_CONFIG   the configuration, where --config does not name one
  IASO_SOCKET   the daemon's socket, where --socket does not name one
  DOCKER_HOST   the engine, where the configuration names none
  NO_COLOR      no colours, where --color does not ask for them

`iaso COMMAND --help` tells more about a command, with an example.";

pub(super) const RUN: &str = "\
Example:
  iaso run --observe --config /etc/iaso/iaso.toml

Exit codes:
  0   stopped in order, by SIGTERM or Ctrl-C
  2   the command line is wrong
  69  it cannot listen where it is told to
  70  a fault of Iaso's own
  77  not permitted to listen where it is told to
  78  the configuration is wrong";

pub(super) const CHECK: &str = "\
Example:
  iaso check --config /etc/iaso/iaso.toml

Exit codes:
  0   nothing is wrong
  2   the command line is wrong
  78  the configuration is wrong, or with --strict there are warnings";

pub(super) const INIT: &str = "\
Examples:
  iaso init
  iaso init --host unix:///run/user/1000/docker.sock --output - | less

Exit codes:
  0   written
  1   there is such a file already, or it cannot be written
  2   the command line is wrong
  69  the engine cannot be reached
  77  not permitted to reach the engine, or to write the file
  78  --host or $DOCKER_HOST is no engine's address";

pub(super) const PROBE: &str = "\
Example:
  iaso probe shop-web

Exit codes:
  0   every check passed
  1   a check failed, or there is no such service or nothing to check
  2   the command line is wrong
  69  an engine cannot be reached
  77  not permitted to reach an engine
  78  the configuration is wrong";

pub(super) const STATUS: &str = "\
Examples:
  iaso status
  iaso status --output json | jq '.services[] | select(.health == \"unhealthy\") | .name'

Exit codes:
  0   told, whatever the services are like
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const EXPLAIN: &str = "\
Example:
  iaso explain shop-web

Exit codes:
  0   explained
  1   there is no such service
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const INCIDENTS: &str = "\
Examples:
  iaso incidents --open
  iaso incidents c8a4eeb99d000001
  iaso incidents --service shop-web --limit 100 --output json | jq '.incidents[].lasted_seconds'

Exit codes:
  0   told
  1   there is no such outage or service
  2   the command line is wrong
  69  no daemon answers, or its store cannot be read
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const RESTART: &str = "\
Example:
  iaso restart shop-web

Exit codes:
  0   the restart has begun; `iaso explain SERVICE` tells what comes of it
  1   there is no such service or container, or an operation is in flight
  2   the command line is wrong
  69  no daemon answers, or it cannot reach the engine
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const PAUSE: &str = "\
Example:
  iaso pause shop-web

Exit codes:
  0   paused
  1   there is no such service
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const RESUME: &str = "\
Example:
  iaso resume shop-web

Exit codes:
  0   resumed
  1   there is no such service
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const ACK: &str = "\
Examples:
  iaso ack shop-web
  iaso ack c8a4eeb99d000001
  iaso ack shop-web --for 2h --comment 'the new disk comes at noon'

Exit codes:
  0   acknowledged
  1   there is no such service or outage
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const MAINTENANCE: &str = "\
Examples:
  iaso maintenance
  iaso maintenance start shop-web shop-db --for 30m
  iaso maintenance end --all

Exit codes:
  0   answered
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const MAINTENANCE_LIST: &str = "\
Example:
  iaso maintenance list --output json

Exit codes:
  0   answered
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const MAINTENANCE_START: &str = "\
Examples:
  iaso maintenance start shop-web --for 30m
  iaso maintenance start --all --for 2h --comment 'new kernel'

Exit codes:
  0   begun
  1   there is no such service
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const MAINTENANCE_END: &str = "\
Examples:
  iaso maintenance end shop-web
  iaso maintenance end --all

Exit codes:
  0   ended
  1   there is no such service
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const HEALTH: &str = "\
Examples:
  iaso health
  HEALTHCHECK CMD [\"/iaso\", \"health\"]

Exit codes:
  0   alive
  1   not alive, or not there: a container engine knows no other answer
  2   the command line is wrong";

pub(super) const REPLAY: &str = "\
Example:
  iaso replay /var/lib/iaso/flight | grep shop-web

Exit codes:
  0   replayed
  1   the file cannot be read, is no recording, or is another version's
  2   the command line is wrong";

pub(super) const DEMO: &str = "\
Example:
  iaso demo --simulated

Exit codes:
  0   every patient was handled as promised
  1   one was not, or something could not be removed
  2   the command line is wrong
  69  it cannot be shown here";

pub(super) const COMPLETIONS: &str = "\
Examples:
  iaso completions bash > /etc/bash_completion.d/iaso
  iaso completions zsh > \"${fpath[1]}/_iaso\"
  iaso completions fish > ~/.config/fish/completions/iaso.fish

Exit codes:
  0   done
  2   the command line is wrong";

pub(super) const MAN: &str = "\
Examples:
  iaso man | man -l -
  iaso man --output-dir /usr/local/share/man/man1

Exit codes:
  0   done
  1   a page cannot be written
  2   the command line is wrong
  77  not permitted to write a page";

pub(super) const VERSION: &str = "\
Example:
  iaso version --output json

Exit codes:
  0   done
  2   the command line is wrong";

pub(super) const CREDENTIALS: &str = "\
Examples:
  iaso credentials
  iaso credentials rotate homepage-key

Exit codes:
  0   told, whatever the credentials are like
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const CREDENTIALS_LIST: &str = "\
Example:
  iaso credentials list --output json | jq '.credentials[] | select(.health != \"healthy\") | .name'

Exit codes:
  0   told, whatever the credentials are like
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const CREDENTIALS_SET: &str = "\
Examples:
  iaso credentials set homepage-key
  openssl rand -hex 32 | iaso credentials set homepage-key

Exit codes:
  0   it is being stored
  1   there is no such credential, its source cannot be written, or there is no value
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const CREDENTIALS_REFRESH: &str = "\
Example:
  iaso credentials refresh homepage-key

Exit codes:
  0   it is being read
  1   there is no such credential
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const CREDENTIALS_ROTATE: &str = "\
Example:
  iaso credentials rotate homepage-key

Exit codes:
  0   it is being rotated; `iaso credentials` tells what comes of it
  1   there is no such credential, it has no rotation, or one is under way
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const CREDENTIALS_ROLLBACK: &str = "\
Example:
  iaso credentials rollback homepage-key

Exit codes:
  0   it is being rolled back
  1   there is no such credential, or nothing to go back to
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";

pub(super) const CREDENTIALS_PLAN: &str = "\
Example:
  iaso credentials plan homepage-key

Exit codes:
  0   told
  1   there is no such credential, or it has no rotation
  2   the command line is wrong
  69  no daemon answers
  70  the answer is not Iaso's
  77  not permitted to use the daemon's socket";
