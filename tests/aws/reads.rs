//! What is read, and what cannot be, at a server that is well.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Trial;
use serde_json::json;

use crate::moto::{self, Moto};
use crate::reader::{Asked, Reader};
use crate::scratch;
use crate::support::test;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("reads::", stringify!($name)), &[moto::PROGRAM], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        an_object_has_fields_and_another_text_is_one,
        what_is_binary_is_text_or_refused,
        a_change_is_seen_and_the_version_before_has_its_label,
        what_is_not_there_and_what_is_deleted_are_told_apart,
        credentials_that_are_wrong_or_may_not_are_denied,
        keys_that_were_replaced_in_a_profile_are_read_anew,
        the_largest_secret_is_read,
    ]
}

fn an_object_has_fields_and_another_text_is_one() {
    let (moto, mut reader) = (moto::shared(), Reader::new());
    moto.create(
        "object",
        r#"{ "user": "ann", "port": 5432, "rate": 1.50, "tls": true, "none": null, "odd": "\u00e4\n" }"#,
    );
    let fields = reader.fields(&Asked::of("object", &moto.address));
    let expected = [("odd", "ä\n"), ("port", "5432"), ("rate", "1.50"), ("tls", "true"), ("user", "ann")];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (name, text) in [("plain", "hunter2"), ("broken", "{ \"a\": "), ("list", "[1, 2]"), ("word", "\"quoted\"")] {
        moto.create(name, text);
        assert_eq!(reader.value(&Asked::of(name, &moto.address)), text);
    }
    for (name, text, word) in [
        ("nested", r#"{ "db": { "password": "hunter2" } }"#, "\"db\""),
        ("listed", r#"{ "keys": ["hunter2"] }"#, "\"keys\""),
        ("empty", "{}", "without fields"),
        ("nothing", r#"{ "a": null }"#, "without fields"),
    ] {
        moto.create(name, text);
        let refusal = reader.refusal(&Asked::of(name, &moto.address));
        assert!(refusal.fault == "malformed" && refusal.words.contains(word), "{refusal:?}");
        assert!(!refusal.words.contains("hunter2"), "{refusal:?}");
    }
}

fn what_is_binary_is_text_or_refused() {
    let (moto, mut reader) = (moto::shared(), Reader::new());
    for (name, bytes) in [("text", &b"{\"not\": \"taken apart\"}\n"[..]), ("bytes", &[0xff, 0xfe, 0x00])] {
        let binary = STANDARD.encode(bytes);
        moto.secrets("CreateSecret", &json!({ "Name": format!("binary/{name}"), "SecretBinary": binary }));
    }
    assert_eq!(reader.value(&Asked::of("binary/text", &moto.address)), "{\"not\": \"taken apart\"}\n");
    let refusal = reader.refusal(&Asked::of("binary/bytes", &moto.address));
    assert!(refusal.fault == "malformed" && refusal.words.contains("UTF-8"), "{refusal:?}");
}

fn a_change_is_seen_and_the_version_before_has_its_label() {
    let (moto, mut reader) = (moto::shared(), Reader::new());
    moto.create("changing", "first");
    let current = Asked::of("changing", &moto.address);
    assert_eq!(reader.value(&current), "first");
    moto.secrets("PutSecretValue", &json!({ "SecretId": "changing", "SecretString": "second" }));
    assert_eq!(reader.value(&current), "second");
    let previous = Asked { version_stage: "AWSPREVIOUS", ..Asked::of("changing", &moto.address) };
    assert_eq!(reader.value(&previous), "first");
    let arn = moto.secrets("DescribeSecret", &json!({ "SecretId": "changing" }))["ARN"].as_str().unwrap().to_owned();
    assert_eq!(reader.value(&Asked::of(&arn, &moto.address)), "second");
}

fn what_is_not_there_and_what_is_deleted_are_told_apart() {
    let (moto, mut reader) = (moto::shared(), Reader::new());
    let missing = reader.refusal(&Asked::of("missing", &moto.address));
    assert!(missing.fault == "not_found" && missing.words.contains("ResourceNotFoundException"), "{missing:?}");
    moto.create("labelled", "x");
    let unlabelled = Asked { version_stage: "OTHER", ..Asked::of("labelled", &moto.address) };
    let unlabelled = reader.refusal(&unlabelled);
    assert!(unlabelled.fault == "not_found" && unlabelled.words.contains("OTHER"), "{unlabelled:?}");
    moto.secrets("DeleteSecret", &json!({ "SecretId": "labelled" }));
    let deleted = reader.refusal(&Asked::of("labelled", &moto.address));
    assert!(deleted.fault == "deleted" && deleted.words.contains("marked for deletion"), "{deleted:?}");
}

/// A server that judges who asks, with a secret, a user who may read it and one who may not; their keys.
fn guarded() -> (Moto, [String; 2], [String; 2]) {
    let moto = Moto::start(6);
    moto.create("guarded", "hunter2");
    let [reader, nobody] = ["reader", "nobody"].map(|name| {
        moto.iam(&format!("Action=CreateUser&UserName={name}"));
        let made = moto.iam(&format!("Action=CreateAccessKey&UserName={name}"));
        ["AccessKeyId", "SecretAccessKey"].map(|tag| {
            let rest = made.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("{made}")).1;
            rest.split_once('<').unwrap().0.to_owned()
        })
    });
    let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
                  %22Action%22%3A%22secretsmanager%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
    moto.iam(&format!("Action=PutUserPolicy&UserName=reader&PolicyName=read&PolicyDocument={policy}"));
    (moto, reader, nobody)
}

fn credentials_that_are_wrong_or_may_not_are_denied() {
    let (moto, reader, nobody) = guarded();
    let with = |id: &str, key: &str| Reader::with(&[("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", key)]);
    let asked = Asked::of("guarded", &moto.address);
    assert_eq!(with(&reader[0], &reader[1]).value(&asked), "hunter2");
    for (id, key) in
        [(&*nobody[0], &*nobody[1]), (&*reader[0], "wrong-key-0123456789"), ("AKIAUNKNOWN", "unknown-key-0123456789")]
    {
        let refusal = with(id, key).refusal(&asked);
        assert!(refusal.fault == "denied" && refusal.words.contains("status 403"), "{refusal:?}");
        assert!(!refusal.words.contains(key), "{refusal:?}");
    }
}

fn keys_that_were_replaced_in_a_profile_are_read_anew() {
    let (moto, [id, key], _) = guarded();
    let dir = scratch();
    let file = dir.path().join("credentials");
    let profile = |key: &str| {
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {key}\nregion = eu-west-1\n");
        fs::write(&file, text).unwrap();
    };
    profile("replaced-0123456789");
    let mut reader = Reader::with(&[("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())]);
    let asked = Asked { region: None, ..Asked::of("guarded", &moto.address) };
    assert_eq!(reader.refusal(&asked).fault, "denied");
    profile(&key);
    assert_eq!(reader.value(&asked), "hunter2");
}

fn the_largest_secret_is_read() {
    let (moto, mut reader) = (moto::shared(), Reader::new());
    let text = "s".repeat(64 << 10);
    moto.create("largest", &text);
    assert!(reader.value(&Asked::of("largest", &moto.address)) == text);
}
