//! Checks that send and expect what a credential holds.

use std::collections::BTreeMap;

use super::*;
use crate::config::secret::Secret;
use crate::config::validated::Probe;

/// A check whose header and expected text are made of a credential, and the values in use.
fn of_a_credential() -> (HttpProbe, HttpProber, CredentialValues) {
    let source = "[services.web]\ncontainer = \"web\"\n[[services.web.checks]]\ntype = \"http\"\nurl = \"http://{address}/\"\n\
                  headers = { x-key = \"${credential:api}\" }\nexpect = { body_contains = \"is ${credential:api.user}\" }\n\
                  [credentials.api]\ntype = \"directory\"\npath = \"/run/secrets\"\n";
    let config = crate::config::decode("iaso.toml", source, &|_| None).unwrap_or_else(|wrong| panic!("{wrong}"));
    let Probe::Http(probe) = &*config.services["web"].checks[0].probe else { panic!() };
    let values = CredentialValues::default();
    let connector = Connector::new(Resolver::system(Clock::new()), TlsClients::new(Clock::new()));
    (probe.clone(), HttpProber::new(connector, Some(values.clone())), values)
}

fn fields(value: &str, user: &str) -> BTreeMap<String, Secret> {
    [("value", value), ("user", user)].map(|(name, text)| (name.to_owned(), text.into())).into()
}

#[tokio::test]
async fn each_run_takes_the_value_that_is_in_use_then() {
    let (address, heads) = server(|mut stream, _| async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nthis is me";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let (probe, prober, values) = of_a_credential();
    let asked = || heads.lock().unwrap().len();
    let report = prober.probe(&probe, &to(address), PATIENCE).await;
    assert_eq!((report.verdict, asked()), (Verdict::Pending, 0), "{report:?}");
    assert_eq!(report.evidence, "the credential api has no value yet: `iaso credentials` tells why");
    for (count, key) in [(1, "the-first-key"), (2, "the-second-key")] {
        values.put(&"api".into(), Some(fields(key, "me")), None);
        let report = prober.probe(&probe, &to(address), PATIENCE).await;
        assert_eq!((report.verdict, asked()), (Verdict::Passed, count), "{report:?}");
        assert!(heads.lock().unwrap()[count - 1].contains(&format!("x-key: {key}\r\n")));
        assert!(!format!("{report:?} {probe:?} {values:?}").contains(key), "{report:?}");
    }
    // While another takes its place, the one or the other is right; afterwards the one that is in use alone.
    for (other, verdict) in [(Some(fields("the-third-key", "me")), Verdict::Passed), (None, Verdict::Failed)] {
        values.put(&"api".into(), Some(fields("the-second-key", "nobody")), other);
        let report = prober.probe(&probe, &to(address), PATIENCE).await;
        assert_eq!(report.verdict, verdict, "{report:?}");
        assert!(!format!("{report:?} {values:?}").contains("the-third-key"), "{report:?}");
    }
    assert_eq!(heads.lock().unwrap().iter().filter(|head| head.contains("the-third-key")).count(), 1);
    values.put(&"api".into(), Some(fields("key", "somebody-else")), None);
    let report = prober.probe(&probe, &to(address), PATIENCE).await;
    assert!(report.verdict == Verdict::Failed && !format!("{report:?}").contains("somebody"), "{report:?}");
}

#[tokio::test]
async fn what_a_credential_holds_is_no_fault_of_the_service() {
    let (probe, keeping, values) = of_a_credential();
    let nobody = Endpoint { host: "127.0.0.1".to_owned(), port: 1 };
    for (held, words) in [
        (
            fields("two\nlines", "me"),
            "the header x-key has a value that cannot be sent, with what the credential api holds",
        ),
        (BTreeMap::from([("value".to_owned(), "key".into())]), "the credential api has no field \"user\""),
    ] {
        values.put(&"api".into(), Some(held), None);
        let report = keeping.probe(&probe, &nobody, PATIENCE).await;
        assert_eq!((report.verdict, report.evidence.as_str()), (Verdict::Pending, words));
    }
    // As in `iaso probe`, which keeps none.
    let alone = prober().probe(&probe, &nobody, PATIENCE).await;
    assert!(alone.verdict == Verdict::Pending && alone.evidence.starts_with("only the daemon knows"), "{alone:?}");
}
