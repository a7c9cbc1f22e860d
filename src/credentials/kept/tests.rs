use std::os::unix::fs::MetadataExt;

use tempfile::TempDir;

use super::*;

const NOW: Wall = Wall(1_800_000_000_000);

fn kept() -> (Kept, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(dir.path()), dir)
}

fn open(data_dir: &Path) -> Kept {
    Kept::open(data_dir, Arc::new(Sealer::open(data_dir).unwrap())).unwrap()
}

fn entry_of(value: &str) -> Entry {
    Entry {
        fields: Fields::from([("value".to_owned(), Secret::new(value)), ("user".to_owned(), Secret::new("wéb\n"))]),
        version: Some(3),
        lease: Some(KeptLease {
            id: "database/creds/x/planted-lease".to_owned(),
            ends: Wall(5),
            renewable: true,
            token_ends: Some(Wall(9)),
        }),
        not_after: Some(-1),
        fetched: Wall(1),
        changed: Wall(2),
    }
}

fn file(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join(FOLDER).join(format!("{name}{SUFFIX}"))
}

/// A file that cannot be used lies beside its place, as it was, and a new one can be written.
#[track_caller]
fn is_put_aside(kept: &Kept, dir: &TempDir, why: &str) {
    let before = fs::read(file(dir, "db")).unwrap();
    let Loaded::PutAside { words } = kept.load("db", NOW).unwrap() else { panic!("{why}: it was not put aside") };
    let aside = PathBuf::from(words.rsplit_once(" moved to ").unwrap().1);
    assert!(words.contains(why), "{words}");
    assert_eq!(fs::read(&aside).unwrap(), before);
    assert_eq!(kept.load("db", NOW).unwrap(), Loaded::Nothing);
}

#[test]
fn what_is_kept_is_found_again_after_a_restart() {
    let (kept, dir) = kept();
    assert_eq!(kept.load("db", NOW).unwrap(), Loaded::Nothing);
    kept.save("db", &entry_of("first")).unwrap();
    kept.save("db", &entry_of("second")).unwrap();
    let plain = Entry { version: None, lease: None, not_after: None, ..entry_of("third") };
    kept.save("db.2", &plain).unwrap();

    let again = open(dir.path());
    assert_eq!(again.load("db", NOW).unwrap(), Loaded::Entry(entry_of("second")));
    assert_eq!(again.load("db.2", NOW).unwrap(), Loaded::Entry(plain));
    again.remove("db").unwrap();
    again.remove("db").unwrap();
    assert_eq!(again.load("db", NOW).unwrap(), Loaded::Nothing);
}

#[test]
fn nobody_else_reads_it() {
    let (kept, dir) = kept();
    kept.save("db", &entry_of("planted-value")).unwrap();
    let bytes = fs::read(file(&dir, "db")).unwrap();
    for planted in ["planted-value", "planted-lease", "user"] {
        assert!(!bytes.windows(planted.len()).any(|part| part == planted.as_bytes()), "{planted}");
    }
    assert_eq!(fs::metadata(file(&dir, "db")).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(dir.path().join(FOLDER)).unwrap().mode() & 0o7777, 0o700);
    assert!(!format!("{:?}", entry_of("planted-value").fields).contains("planted"));
}

#[test]
fn what_cannot_be_used_is_put_aside_and_never_deleted() {
    let (kept, dir) = kept();
    for (damage, why) in
        [(&b""[..], "it is damaged"), (b"iaso-sealed 1\nshort", "it is damaged"), (b"iaso-sealed 9", "a newer")]
    {
        fs::write(file(&dir, "db"), damage).unwrap();
        is_put_aside(&kept, &dir, why);
    }
    let name = |n: &str| format!("db.sealed.damaged-20270115T080000Z{n}");
    let names = ["", "-2", "-3"].map(|n| dir.path().join(FOLDER).join(name(n)));
    assert!(names.iter().all(|path| path.is_file()), "{names:?}");

    // Another's file under this name, and one whose seal is good but whose text is not.
    kept.save("web", &entry_of("x")).unwrap();
    fs::rename(file(&dir, "web"), file(&dir, "db")).unwrap();
    is_put_aside(&kept, &dir, "it is damaged");
    fs::write(file(&dir, "db"), kept.sealer.seal("db", b"{}")).unwrap();
    is_put_aside(&kept, &dir, "it does not hold what it should");

    kept.save("db", &entry_of("x")).unwrap();
    fs::remove_file(dir.path().join("credentials.key")).unwrap();
    is_put_aside(&open(dir.path()), &dir, "another key");
}

#[test]
fn where_it_is_forbidden_nothing_stays() {
    let (kept, dir) = kept();
    kept.save("db", &entry_of("x")).unwrap();
    fs::write(file(&dir, "web"), "damaged").unwrap();
    kept.load("web", NOW).unwrap();
    let strange = dir.path().join(FOLDER).join("not-ours");
    fs::write(&strange, "").unwrap();
    assert_eq!(Kept::forbid(dir.path()).unwrap(), 2);
    assert_eq!(fs::read_dir(dir.path().join(FOLDER)).unwrap().count(), 1);
    assert!(strange.exists());
    assert_eq!(Kept::forbid(&dir.path().join("nowhere")).unwrap(), 0);
}

#[test]
fn names_do_not_lead_out_of_the_folder() {
    let (kept, dir) = kept();
    for name in ["", "../x", "a/b", ".", "..", ".hidden", "a\0b"] {
        assert!(matches!(kept.save(name, &entry_of("x")), Err(KeptError::Name(_))), "{name:?}");
        assert!(matches!(kept.load(name, NOW), Err(KeptError::Name(_))), "{name:?}");
    }
    // What stands there as a link is neither read nor written through.
    fs::write(dir.path().join("outside"), "mine").unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), file(&dir, "db")).unwrap();
    assert!(matches!(kept.load("db", NOW), Err(KeptError::Io { .. })));
    assert!(matches!(kept.save("db", &entry_of("x")), Err(KeptError::Unwritable(_))));
    assert_eq!(fs::read_to_string(dir.path().join("outside")).unwrap(), "mine");
}
