//! Whom this process runs as. A container that is told nothing else starts as root, and needs that only to see which group may
//! use the engine's socket. `IASO_RUN_AS` has it become another user with that group, before it does anything else.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The variable with the user's number, which is its group's too. Unset, empty or 0: nothing is given up.
pub const VARIABLE: &str = "IASO_RUN_AS";

/// Where engines listen when nothing says otherwise.
const USUAL_SOCKET: &str = "/var/run/docker.sock";

/// Why it is still root.
#[derive(Debug, thiserror::Error)]
pub enum StillRoot {
    /// The variable names nobody.
    #[error("${VARIABLE} is {0:?}: expected the number of a user, such as 65532; 0 stays root")]
    Nobody(OsString),
    /// The operating system refuses.
    #[error(
        "cannot become user {user} (${VARIABLE}): {error}\nGive the container the capabilities SETUID and SETGID, or start it as \
         a user of its own in the socket's group (user: \"{user}:GROUP\")"
    )]
    Refused {
        /// The user.
        user: u32,
        /// The refusal.
        error: io::Error,
    },
}

/// Where this process is root and `$IASO_RUN_AS` names somebody else: becomes that user, with the group of the engine's socket
/// and the groups that the container was given, and starts the executable over, so that nothing of root's is left. A process
/// that is not root stays who it is. To be called while it has one thread.
///
/// # Errors
/// When the variable holds no number, or the operating system refuses: to go on as root would be more than was asked for.
pub fn take_over() -> Result<(), StillRoot> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let Some(wanted) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) else { return Ok(()) };
    let user = number(&wanted).ok_or(StillRoot::Nobody(wanted))?;
    if user == 0 {
        return Ok(());
    }
    let refused = |error: io::Error| StillRoot::Refused { user, error };
    let sockets = sockets(env::var_os("DOCKER_SOCK"), env::var_os("DOCKER_HOST"));
    let given = getgroups().map_err(|error| refused(error.into()))?;
    become_user(user, &groups(given, getegid(), sockets.iter().filter_map(|socket| group_of(socket))))
        .map_err(refused)?;
    let executable = env::current_exe().map_err(refused)?;
    let mut again = Command::new(executable);
    again.args(env::args_os().skip(1));
    if let Some(name) = env::args_os().next() {
        again.arg0(name);
    }
    Err(refused(again.exec()))
}

fn number(text: &OsString) -> Option<u32> {
    // The highest number means "nobody in particular" to the kernel.
    text.to_str()?.parse().ok().filter(|number| *number < u32::MAX)
}

/// The sockets that the environment's variables lead to, else the usual one; what they hold may be an address as well.
fn sockets(docker_sock: Option<OsString>, docker_host: Option<OsString>) -> Vec<PathBuf> {
    let path = |value: OsString| {
        let text = value.into_string().ok()?;
        let path = text.strip_prefix("unix://").unwrap_or(&text);
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    let named: Vec<PathBuf> = [docker_sock, docker_host].into_iter().flatten().filter_map(path).collect();
    if named.is_empty() { vec![USUAL_SOCKET.into()] } else { named }
}

fn group_of(socket: &Path) -> Option<Gid> {
    let metadata = socket.metadata().ok()?;
    metadata.file_type().is_socket().then(|| Gid::from_raw(metadata.gid()))
}

/// The groups to keep: those that were given, without root's own, and the sockets'.
fn groups(given: Vec<Gid>, own: Gid, sockets: impl Iterator<Item = Gid>) -> Vec<Gid> {
    let mut kept: Vec<Gid> = given.into_iter().filter(|group| *group != own && *group != Gid::ROOT).collect();
    for group in sockets {
        if !kept.contains(&group) {
            kept.push(group);
        }
    }
    kept
}

/// The groups first: who is not root any more cannot change them. The kernel takes the capabilities away with the last id.
fn become_user(user: u32, groups: &[Gid]) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    set_thread_groups(groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_names_somebody() {
        for (text, user) in [("65532", Some(65532)), ("0", Some(0))] {
            assert_eq!(number(&text.into()), user);
        }
        for text in ["nobody", "-1", "4294967295", "65532:999", " 1"] {
            assert_eq!(number(&text.into()), None, "{text}");
        }
    }

    #[test]
    fn the_sockets_are_those_that_the_daemon_will_use() {
        let usual = vec![PathBuf::from(USUAL_SOCKET)];
        assert_eq!(sockets(None, None), usual);
        assert_eq!(sockets(Some("/a.sock".into()), None), [PathBuf::from("/a.sock")]);
        assert_eq!(sockets(None, Some("unix:///b.sock".into())), [PathBuf::from("/b.sock")]);
        // An engine over the network has no group; the usual socket may be mounted all the same.
        assert_eq!(sockets(Some("tcp://proxy:2375".into()), None), usual);
    }

    #[test]
    fn groups_of_the_container_are_kept_and_root_s_is_not() {
        let ids = |groups: &[u32]| groups.iter().map(|group| Gid::from_raw(*group)).collect::<Vec<_>>();
        let kept = |given: &[u32], sockets: &[u32]| groups(ids(given), Gid::ROOT, ids(sockets).into_iter());
        assert_eq!(kept(&[0, 20], &[999, 999]), ids(&[20, 999]));
        assert_eq!(kept(&[999], &[999]), ids(&[999]));
        // Where root's group is the socket's, there is no other way to it.
        assert_eq!(kept(&[0], &[0]), ids(&[0]));
        assert_eq!(kept(&[0], &[]), ids(&[]));
    }
}
