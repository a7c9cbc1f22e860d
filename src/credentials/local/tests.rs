use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn read_file(contents: &[u8]) -> Result<Fields, Failure> {
    let dir = dir();
    let path = dir.path().join("secret");
    fs::write(&path, contents).unwrap();
    fields(&Source::File { path })
}

fn read_directory(path: &Path) -> Result<Fields, Failure> {
    fields(&Source::Directory { path: path.to_owned() })
}

fn of(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

#[track_caller]
fn fails(read: Result<Fields, Failure>, fault: Fault, words: &str) {
    let failure = read.unwrap_err();
    assert!(failure.fault == fault && failure.words.contains(words), "{failure:?}");
}

#[tokio::test]
async fn a_provider_tells_fields_and_nothing_that_ends() {
    let dir = dir();
    fs::write(dir.path().join("secret"), "hunter2\n").unwrap();
    let source = Source::File { path: dir.path().join("secret") };
    let fetched = Local.read(&source).await.unwrap();
    assert_eq!(fetched, Fetched { fields: of(&[("value", "hunter2")]), version: None, lease: None, not_after: None });
    let vault = Source::Dynamic { path: "database/creds/x".to_owned() };
    assert_eq!(Local.read(&vault).await.unwrap_err().fault, Fault::Refused);
}

#[test]
fn a_variable_is_read() {
    // Cargo sets this one, and nobody the other.
    let variable = |name: &str| fields(&Source::Environment { variable: name.to_owned() });
    assert_eq!(variable("CARGO_PKG_NAME").unwrap(), of(&[("value", "iaso")]));
    fails(variable("IASO_TEST_NOT_SET"), Fault::NotFound, "the variable IASO_TEST_NOT_SET is not set");
}

#[test]
fn a_file_is_read_without_the_line_break_at_its_end() {
    for (contents, value) in [
        (&b"hunter2"[..], "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b"hunter2\r", "hunter2\r"),
        (b" h\n2 \n", " h\n2 "),
        (b"\xc3\xa9", "é"),
    ] {
        assert_eq!(read_file(contents).unwrap(), of(&[("value", value)]));
    }
    let large = vec![b'x'; LARGEST];
    for end in [&b""[..], b"\n", b"\r\n"] {
        assert_eq!(read_file(&[&large, end].concat()).unwrap()["value"].expose().len(), LARGEST);
    }
}

#[test]
fn what_is_no_value_is_refused_without_a_word_of_it() {
    for empty in [&b""[..], b"\n", b"\r\n"] {
        fails(read_file(empty), Fault::Malformed, "is empty");
    }
    let large = vec![b'x'; LARGEST];
    for end in [&b"x"[..], b"x\n", b"x\r\n", b"\n\n", &large] {
        fails(read_file(&[&large, end].concat()), Fault::Malformed, "has more than 1048576 bytes");
    }
    let binary = read_file(b"hunter2\xff").unwrap_err();
    assert!(binary.words.ends_with("is not UTF-8 text") && !binary.words.contains("hunter2"), "{binary}");
    assert_eq!(binary.fault, Fault::Malformed);

    let dir = dir();
    let file = |path: PathBuf| fields(&Source::File { path });
    fails(file(dir.path().join("absent")), Fault::NotFound, "absent cannot be read: No such file");
    fails(file(dir.path().to_owned()), Fault::Malformed, "is not a regular file");
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    fails(file(pipe), Fault::Malformed, "is not a regular file");
}

#[test]
fn a_folder_is_read_file_by_file() {
    let dir = dir();
    fails(read_directory(dir.path()), Fault::Malformed, "holds no file");
    fs::write(dir.path().join("user"), "web\n").unwrap();
    fs::write(dir.path().join("tls.crt"), "a\nb\n").unwrap();
    fs::write(dir.path().join(".hidden"), "x").unwrap();
    fs::create_dir(dir.path().join("below")).unwrap();
    fs::write(dir.path().join("below/other"), "x").unwrap();
    assert_eq!(read_directory(dir.path()).unwrap(), of(&[("user", "web"), ("tls.crt", "a\nb")]));
    fs::write(dir.path().join("empty"), "").unwrap();
    fails(read_directory(dir.path()), Fault::Malformed, "empty is empty");
    fails(read_directory(&dir.path().join("absent")), Fault::NotFound, "absent cannot be read");
    fails(read_directory(&dir.path().join("user")), Fault::Malformed, "user cannot be read: Not a directory");
}

#[test]
fn a_folder_laid_out_by_kubernetes_is_read_and_links_that_lead_out_are_not() {
    let dir = dir();
    let volume = dir.path().join("volume");
    fs::create_dir_all(volume.join("..2026_01")).unwrap();
    fs::write(volume.join("..2026_01/password"), "hunter2").unwrap();
    symlink("..2026_01", volume.join("..data")).unwrap();
    symlink("..data/password", volume.join("password")).unwrap();
    // The folder itself may be reached by a link.
    symlink(&volume, dir.path().join("link")).unwrap();
    for path in [&volume, &dir.path().join("link")] {
        assert_eq!(read_directory(path).unwrap(), of(&[("password", "hunter2")]));
    }
    fs::write(dir.path().join("outside"), "x").unwrap();
    symlink("../outside", volume.join("stolen")).unwrap();
    fails(read_directory(&volume), Fault::Malformed, "stolen leads out of its folder");
    fs::remove_file(volume.join("stolen")).unwrap();
    symlink("gone", volume.join("dangling")).unwrap();
    fails(read_directory(&volume), Fault::NotFound, "dangling cannot be read");
}

#[test]
fn a_folder_has_bounds() {
    let dir = dir();
    for n in 0..MOST {
        fs::write(dir.path().join(format!("f{n:03}")), "x").unwrap();
    }
    assert_eq!(read_directory(dir.path()).unwrap().len(), MOST);
    fs::write(dir.path().join("f100"), "x").unwrap();
    fails(read_directory(dir.path()), Fault::Malformed, "holds more than 100 files");
    fs::remove_file(dir.path().join("f100")).unwrap();
    fs::write(dir.path().join("f000"), vec![b'x'; LARGEST]).unwrap();
    fails(read_directory(dir.path()), Fault::Malformed, "holds more than 1048576 bytes");
}
