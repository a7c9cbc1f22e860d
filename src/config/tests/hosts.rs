//! Where engines are: the usual host, and hosts of the file.

use super::*;

#[test]
fn the_usual_host_is_the_environments_or_the_first_socket_there() {
    let unix = |path: &str| HostAddress::Unix(path.into());
    let find = |name: &'static str, value: &'static str, there: &'static str| {
        let env = move |asked: &str| (asked == name).then(|| value.to_owned());
        usual_host(&env, &|path| path == Path::new(there)).map(|host| host.address)
    };
    assert_eq!(find("DOCKER_HOST", "tcp://nas:2375", ""), Ok(HostAddress::Tcp("nas:2375".into())));
    assert!(find("DOCKER_HOST", "ssh://me:secret@nas", "").is_err_and(|error| !error.to_string().contains("secret")));
    assert_eq!(find("XDG_RUNTIME_DIR", "/run/user/7", "/run/user/7/docker.sock"), Ok(unix("/run/user/7/docker.sock")));
    assert_eq!(find("", "", "/run/podman/podman.sock"), Ok(unix("/run/podman/podman.sock")));
    assert_eq!(find("", "", ""), Ok(unix("/var/run/docker.sock")));
    let env = |asked: &str| (asked == "DOCKER_HOST").then(|| "ssh://nas".to_owned());
    assert!(decode("f", "", &env).is_err());
    assert!(decode("f", "[hosts.a]\nurl = \"unix:///a\"\n", &env).is_ok(), "the file's hosts make the variable moot");
}

#[test]
fn the_files_of_a_host_mean_tls_and_lie_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["nas".to_owned()]).unwrap();
    for (name, content) in
        [("ca.pem", made.cert.pem()), ("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())]
    {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let file = dir.path().join("iaso.toml");
    let read = |source: &str| {
        std::fs::write(&file, source).unwrap();
        load(Some(&file), &Environment::new()).map(|mut loaded| loaded.config.hosts.remove(0).address)
    };
    let host = |keys: &str| read(&format!("[hosts.nas]\nurl = \"tcp://nas:2376\"\n{keys}\n"));
    let all = "ca_file = \"ca.pem\"\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"";
    let Ok(HostAddress::Tls { address, tls }) = host(all) else { panic!("{:?}", host(all)) };
    assert_eq!(address, "nas:2376");
    assert!(tls.authorities.is_some() && tls.identity.is_some(), "{tls:?}");

    let error = host("ca_file = \"ca.pme\"").unwrap_err();
    let told = error.to_string();
    assert!(told.contains("iaso.toml:3:11") && told.contains("hosts.nas.ca_file: "), "{told}");
    assert!(told.contains("ca.pme: No such file"), "{told}");
    let error = host("key_file = \"key.pem\"").unwrap_err().to_string();
    assert!(error.contains(":3:12") && error.contains("hosts.nas.cert_file: a key without its certificate"), "{error}");
    let unix = "[hosts.nas]\nurl = \"unix:///nas\"\nca_file = \"ca.pem\"";
    let error = read(unix).unwrap_err().to_string();
    assert!(error.contains("a Unix socket, which has none"), "{error}");

    // And by the environment, as for the docker command.
    let folder = dir.path().display().to_string();
    let find = |url: &'static str, verify: &'static str, folder: &str| {
        let env = move |asked: &str| {
            let value = match asked {
                "DOCKER_HOST" => url,
                "DOCKER_TLS_VERIFY" => verify,
                "DOCKER_CERT_PATH" => folder,
                _ => "",
            };
            Some(value.to_owned()).filter(|value| !value.is_empty())
        };
        usual_host(&env, &|_| false).map(|host| host.address)
    };
    assert_eq!(find("tcp://nas:2376", "0", &folder), Ok(HostAddress::Tls { address, tls }), "any value counts");
    assert_eq!(find("tcp://nas:2376", "", &folder), Ok(HostAddress::Tcp("nas:2376".to_owned())));
    assert_eq!(find("unix:///nas", "1", &folder), Ok(HostAddress::Unix("/nas".into())));
    std::fs::remove_file(dir.path().join("key.pem")).unwrap();
    let error = find("tcp://nas:2376", "1", &folder).unwrap_err().to_string();
    assert!(error.contains("$DOCKER_CERT_PATH") && error.contains("key.pem: No such file"), "{error}");
}
