//! Whether a container sees a new file that takes the place of an old one. A mount of a single file is a mount of the old file:
//! the container goes on seeing it until it is restarted. In a mounted folder it sees what the folder holds.

use std::path::{Path, PathBuf};

/// How a container has a target mounted, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The file itself: a new one is seen only after a restart.
    File {
        /// Its path in the container.
        inside: PathBuf,
    },
    /// Its folder, or one further up: a new file is seen at once.
    Folder {
        /// The file's path in the container.
        inside: PathBuf,
    },
    /// Not at all, as far as the paths tell. They do not where Iaso runs in a container and has other paths than the engine.
    Nowhere,
}

/// How a container with these mounts, each a path on the host and one inside, sees a target. Where both the file and its folder
/// are mounted, the file counts: one of the two goes stale.
///
/// It asks the file system where the target's folder really is.
pub fn seen<'m>(target: &Path, mounts: impl IntoIterator<Item = (&'m Path, &'m Path)>) -> Seen {
    // The engine may name either: the path as the operator wrote it, or where symbolic links lead.
    let real = target.parent().and_then(|folder| folder.canonicalize().ok()).zip(target.file_name());
    let real = real.map(|(folder, name)| folder.join(name));
    let mut found = Seen::Nowhere;
    for (source, destination) in mounts {
        let below =
            [Some(target), real.as_deref()].into_iter().flatten().find_map(|path| path.strip_prefix(source).ok());
        match below {
            _ if source.as_os_str().is_empty() => {}
            None => {}
            Some(below) if below.as_os_str().is_empty() => return Seen::File { inside: destination.to_owned() },
            Some(below) => found = Seen::Folder { inside: destination.join(below) },
        }
    }
    found
}

impl Seen {
    /// Whether the container must be restarted to see a new file; a signal is not enough.
    pub const fn needs_restart(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// What the operator should know of it; none where all is well.
    pub fn warning(&self, target: &Path, container: &str) -> Option<String> {
        let target = target.display();
        match self {
            Self::Folder { .. } => None,
            Self::File { inside } => Some(format!(
                "{container} has the file {target} mounted by itself, at {}, and sees a new one only after a restart: mount \
                 its folder instead",
                inside.display()
            )),
            Self::Nowhere => Some(format!("{container} does not have {target} mounted, nor a folder that holds it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(target: &str, mounts: &[(&str, &str)]) -> Seen {
        seen(Path::new(target), mounts.iter().map(|(source, inside)| (Path::new(source), Path::new(inside))))
    }

    #[test]
    fn a_file_is_told_from_its_folder() {
        let file = ("/srv/web/key", "/run/key");
        let folder = ("/srv/web", "/run/secrets");
        let inside = |path: &str| PathBuf::from(path);
        for (mounts, expected) in [
            (&[file][..], Seen::File { inside: inside("/run/key") }),
            (&[folder], Seen::Folder { inside: inside("/run/secrets/key") }),
            (&[("/srv", "/data")], Seen::Folder { inside: inside("/data/web/key") }),
            (&[("/", "/host")], Seen::Folder { inside: inside("/host/srv/web/key") }),
            (&[folder, file], Seen::File { inside: inside("/run/key") }),
            (&[file, folder], Seen::File { inside: inside("/run/key") }),
            (&[("/srv/we", "/x"), ("/srv/web/key2", "/y"), ("", "/tmp")], Seen::Nowhere),
            (&[], Seen::Nowhere),
        ] {
            assert_eq!(at("/srv/web/key", mounts), expected, "{mounts:?}");
        }
    }

    #[test]
    fn links_to_the_folder_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("real")).unwrap();
        std::os::unix::fs::symlink(real.join("real"), real.join("link")).unwrap();
        let (target, source) = (real.join("link/key"), real.join("real"));
        let found = seen(&target, [(source.as_path(), Path::new("/secrets"))]);
        assert_eq!(found, Seen::Folder { inside: PathBuf::from("/secrets/key") });
    }

    #[test]
    fn the_operator_hears_of_what_is_not_seen() {
        let target = Path::new("/srv/web/key");
        let file = Seen::File { inside: PathBuf::from("/run/key") };
        let warning = file.warning(target, "web").unwrap();
        assert!(
            file.needs_restart() && warning.contains("/run/key") && warning.contains("mount its folder"),
            "{warning}"
        );
        let folder = Seen::Folder { inside: PathBuf::from("/run/secrets/key") };
        assert!(!folder.needs_restart() && folder.warning(target, "web").is_none());
        assert!(Seen::Nowhere.warning(target, "web").unwrap().starts_with("web does not have /srv/web/key mounted"));
        assert!(!Seen::Nowhere.needs_restart());
    }
}
