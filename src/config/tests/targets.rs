//! Where credentials are rendered, and how many have to learn of a change.

use super::*;
use crate::config::examine;

/// What a configuration in this folder is told, each as its path and its words; mistakes first.
fn told(folder: &Path, source: &str) -> Vec<(String, String)> {
    let file = folder.join("iaso.toml");
    std::fs::write(&file, source).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let Examined { outcome, warnings, .. } = examine(Some(&file), &Environment::new());
    let mistakes = outcome.err().map(|mistakes| mistakes.0).unwrap_or_default();
    mistakes.into_iter().chain(warnings).map(|told| (told.path, told.got)).collect()
}

#[test]
fn nothing_of_iasos_own_is_rendered_over() {
    let folder = tempfile::tempdir().unwrap();
    // Some systems link the folder for what is temporary.
    let dir = folder.path().canonicalize().unwrap();
    for name in ["data", "conf.d", "secrets", "run"] {
        std::fs::create_dir(dir.join(name)).unwrap();
    }
    for name in ["token", "secrets/api", "template"] {
        std::fs::write(dir.join(name), "x").unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    symlink(&dir, dir.join("link")).unwrap();
    symlink(dir.join("token"), dir.join("named")).unwrap();
    let source = |target: &str| {
        format!(
            "daemon = {{ data_dir = '{0}/data', socket = '{0}/run/iaso.sock', log = {{ file = '{0}/iaso.log' }} }}\n\
             [vault]\naddress = 'https://vault.lan'\nauth = {{ type = 'token', token_file = '{0}/named' }}\n\
             [credentials.a]\ntype = 'file'\npath = '{0}/secrets/api'\n\
             [[credentials.a.files]]\npath = '{0}/out'\n\
             [credentials.b]\ntype = 'directory'\npath = '{0}/run/secrets'\n\
             [[credentials.b.files]]\npath = '{target}'\ntemplate_file = 'template'\n\
             [credentials.c]\ntype = 'kv2'\npath = 'c'\n",
            dir.display()
        )
    };
    for (target, got) in [
        ("iaso.toml", "Iaso's configuration"),
        ("conf.d/b.toml", "a part of Iaso's configuration"),
        ("data", "in Iaso's data directory"),
        ("data/iaso.db", "in Iaso's data directory"),
        ("data/none/yet", "in Iaso's data directory"),
        ("run/iaso.sock", "Iaso's socket"),
        ("iaso.log", "Iaso's log"),
        ("token", "what Iaso logs in to Vault with"),
        ("named", "what Iaso logs in to Vault with"),
        ("secrets/api", "what credentials.a is read from"),
        ("run/secrets/b", "what credentials.b is read from"),
        ("template", "a template of credentials.b"),
        ("out", "the same file as credentials.a.files[0]"),
    ] {
        let path = "credentials.b.files[0].path".to_owned();
        let expected = |way: String| [(path.clone(), format!("{got}{way}"))];
        assert_eq!(told(&dir, &source(&format!("{}/{target}", dir.display()))), expected(String::new()), "{target}");
        let through = told(&dir, &source(&format!("{}/link/{target}", dir.display())));
        let way = if target == "out" { String::new() } else { format!(", by way of {}/{target}", dir.display()) };
        assert_eq!(through, expected(way), "{target}");
    }
    for fine in ["conf.d/app.conf", "data.d/x", "secrets/b", "run/b", "other/iaso.toml"] {
        assert_eq!(told(&dir, &source(&format!("{}/{fine}", dir.display()))), [], "{fine}");
    }
}

#[test]
fn two_files_of_one_credential_are_two() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, link) = (folder.path().join("secrets"), folder.path().join("link"));
    std::fs::create_dir(&dir).unwrap();
    symlink(&dir, &link).unwrap();
    let source = format!(
        "[credentials.a]\ntype = 'environment'\nvariable = 'A'\nfiles = [{{ path = '{}/a' }}, {{ path = '{}/a' }}]\n",
        dir.display(),
        link.display()
    );
    let same = ("credentials.a.files[1].path".to_owned(), "the same file as credentials.a.files[0]".to_owned());
    assert_eq!(told(folder.path(), &source), [same]);
}

#[test]
fn a_change_that_could_never_be_paid_for_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let source = |services: usize, keys: &str| {
        let names: Vec<String> = (0..services).map(|number| format!("'s{number}'")).collect();
        let tables: String = (0..services).map(|n| format!("[services.s{n}]\ncontainer = 's{n}'\n")).collect();
        format!(
            "[credentials.a]\ntype = 'environment'\nvariable = 'A'\nservices = [{}]\n{keys}\n{tables}",
            names.join(", ")
        )
    };
    let warned = told(folder.path(), &source(4, "on_change = 'restart'"));
    let [(path, got)] = &warned[..] else { panic!("{warned:?}") };
    assert_eq!(path, "credentials.a.max_per_hour");
    assert!(got.starts_with("6, and a change may take 8: each of 4 services"), "{got}");
    let warned = told(folder.path(), &source(2, "on_change = 'signal:HUP'\nmax_per_hour = 3"));
    assert!(warned[0].1.starts_with("3, and a change may take 4"), "{warned:?}");
    for (services, keys) in [
        (3, "on_change = 'restart'"),
        (4, "on_change = 'restart'\nmax_per_hour = 8"),
        (9, "on_change = 'none'"),
        (9, ""),
    ] {
        assert_eq!(told(folder.path(), &source(services, keys)), [], "{services} {keys}");
    }
}
