//! Several files, and files that are none.

use std::process::Command;

use super::*;

/// A folder as `/etc/iaso` is, with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn examined(dir: &Path) -> Examined {
    examine_at(None, &Environment::new(), &dir.join("iaso.toml"))
}

#[test]
fn the_parts_are_merged_in_the_order_of_their_names() {
    let dir = folder(&[
        ("iaso.toml", "[daemon]\nlog = { level = \"warn\" }\n[services.web]\ncontainer = \"web\"\n"),
        (
            "conf.d/20-nas.toml",
            "[hosts.nas]\nurl = \"tcp://nas:2375\"\n[services.db]\nhost = \"nas\"\ncontainer = \"db\"\n",
        ),
        (
            "conf.d/10-local.toml",
            "[hosts.local]\nurl = \"unix:///d.sock\"\n[daemon.log]\nformat = \"json\"\n\
             [[services.web.checks]]\nname = \"a\"\ntype = \"http\"\nurl = \"http://{address}/\"\n",
        ),
        (
            "conf.d/30-more.toml",
            "[services.web]\nseverity = \"critical\"\n[[services.web.checks]]\nname = \"b\"\ntype = \"http\"\nurl = \"http://{address}/b\"\n",
        ),
        ("conf.d/.hidden.toml", "x = 1\n"),
        ("conf.d/40.toml~", "x = 1\n"),
        ("conf.d/README", "x = 1\n"),
    ]);
    let Examined { files, outcome, .. } = examined(dir.path());
    let config = outcome.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let names: Vec<_> = files.iter().map(|file| file.strip_prefix(dir.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["iaso.toml", "conf.d/10-local.toml", "conf.d/20-nas.toml", "conf.d/30-more.toml"]);
    assert_eq!((config.daemon.log.level, config.daemon.log.format), (tracing::Level::WARN, LogFormat::Json));
    assert_eq!(config.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["local", "nas"]);
    let web = &config.services["web"];
    assert_eq!((web.host.as_str(), web.severity), ("local", Severity::Critical));
    assert_eq!(web.checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.services["db"].host, "nas");
}

#[test]
fn a_key_in_two_files_names_both_places() {
    let dir = folder(&[
        ("iaso.toml", "[api]\nlisten = \"127.0.0.1:1\"\n"),
        ("conf.d/a.toml", "\n[api]\n  listen = \"127.0.0.1:2\"\n[discovery]\nlabels = [\"a=b\"]\n"),
        ("conf.d/b.toml", "discovery = 3\n"),
    ]);
    let mistakes = examined(dir.path()).outcome.unwrap_err().0;
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let at = |name: &str| dir.path().join(name).display().to_string();
    assert_eq!(
        told,
        [
            format!(
                "{}:3:3: api.listen: a second value; the first is at {}:2:1; expected each key in one file only",
                at("conf.d/a.toml"),
                at("iaso.toml")
            ),
            format!(
                "{}:1:1: discovery: a second value; the first is at {}:4:2; expected each key in one file only",
                at("conf.d/b.toml"),
                at("conf.d/a.toml")
            ),
        ]
    );
}

#[test]
fn each_mistake_names_its_own_file() {
    let dir = folder(&[
        ("iaso.toml", "x = 1\n"),
        ("conf.d/a.toml", "# é\n[api]\nlistne = \"1\"\n"),
        ("conf.d/b.toml", "[services.web]\ncontainer = \"web\"\nhost = \"non\"\n[api"),
        ("conf.d/c.toml", "y = 1"),
    ]);
    std::fs::write(dir.path().join("conf.d/d.toml"), b"\xff").unwrap();
    let mistakes = examined(dir.path()).outcome.unwrap_err().0;
    let told: Vec<_> = mistakes
        .iter()
        .map(|mistake| {
            let file = Path::new(&mistake.origin).file_name().unwrap().to_str().unwrap();
            (file, mistake.place.as_ref().map(|place| (place.line, place.column)))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("d.toml", None),
            ("iaso.toml", Some((1, 1))),
            ("a.toml", Some((3, 1))),
            ("b.toml", Some((4, 5))),
            ("c.toml", Some((1, 1))),
        ]
    );
}

#[test]
fn only_what_is_surely_absent_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let empty = examined(dir.path());
    assert!(empty.files.is_empty() && empty.outcome.is_ok(), "{empty:?}");
    std::fs::write(dir.path().join("conf.d"), "").unwrap();
    assert!(examined(dir.path()).outcome.unwrap_err().0[0].origin.ends_with("conf.d"));
    let parts = folder(&[("conf.d/a.toml", "[api]\nlisten = \"127.0.0.1:5\"\n")]);
    assert_eq!(examined(parts.path()).outcome.unwrap().api.listen.port(), 5, "parts need no whole");
    symlink("gone", parts.path().join("iaso.toml")).unwrap();
    symlink("gone", parts.path().join("conf.d/b.toml")).unwrap();
    assert_eq!(examined(parts.path()).outcome.unwrap_err().0.len(), 2, "links that lead nowhere are no absence");
}

#[test]
fn a_pipe_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("iaso.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let told = load(Some(&pipe), &Environment::new()).unwrap_err().to_string();
    assert!(told.contains("not a regular file"), "{told}");
    let source = format!("[services.web]\ncontainer = \"${{file:{}}}\"\n", pipe.display());
    let file = dir.path().join("other.toml");
    std::fs::write(&file, source).unwrap();
    let told = load(Some(&file), &Environment::new()).unwrap_err().to_string();
    assert!(told.contains("services.web.container: not a regular file"), "{told}");
}

/// What comes and goes while it is read gives either a whole configuration or a mistake that names the file.
#[test]
fn a_file_that_vanishes_is_named() {
    let dir = folder(&[("iaso.toml", "")]);
    let part = dir.path().join("conf.d/part.toml");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                std::fs::write(&part, "[api]\nlisten = \"127.0.0.1:5\"\n").unwrap();
                std::fs::remove_file(&part).unwrap();
            }
        });
        for _ in 0..500 {
            match examined(dir.path()).outcome {
                Ok(config) => assert!([5, 9797].contains(&config.api.listen.port())),
                Err(mistakes) => assert_eq!(mistakes.0[0].origin, part.display().to_string()),
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Root reads everything, so that the reader gives it up in a thread of its own.
#[test]
fn a_file_closed_to_iaso_is_told() {
    let dir = folder(&[("iaso.toml", ""), ("conf.d/a.toml", "")]);
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    open(dir.path(), 0o755);
    open(&dir.path().join("conf.d/a.toml"), 0o000);
    let reader = std::thread::scope(|scope| {
        let read = || {
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::process::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            examined(dir.path())
        };
        scope.spawn(read).join().unwrap()
    });
    let told = reader.outcome.unwrap_err().to_string();
    assert!(told.contains("Permission denied") && told.contains("a.toml"), "{told}");
    open(&dir.path().join("conf.d/a.toml"), 0o644);
}
