//! The KV engine, both versions.

use serde_json::{Value, json};

use super::server::{Server, text, until};
use super::{Promise, promises};

pub fn promises() -> Vec<Promise> {
    promises![
        a_read_has_the_envelope_with_its_null_fields,
        what_never_was_is_a_404_without_a_word,
        versions_are_read_by_number_and_0_is_the_latest,
        what_is_deleted_or_destroyed_is_a_404_with_the_envelope,
        changes_of_what_is_not_there_succeed,
        a_list_of_no_versions_is_refused,
        check_and_set_compares_with_the_current_version_even_if_it_is_deleted,
        check_and_set_can_be_required,
        a_write_without_data_is_refused,
        a_patch_merges_and_needs_its_content_type,
        metadata_tells_all_versions,
        old_versions_are_pruned,
        custom_metadata_has_limits,
        custom_metadata_is_the_secrets_and_comes_with_each_version,
        a_future_deletion_time_is_not_yet_a_deletion,
        keys_are_listed_by_verb_and_by_query,
        a_path_of_version_1_is_warned_about_on_version_2,
        version_1_reads_flat_and_names_a_lifetime,
        a_write_to_a_folder_is_refused,
        a_path_without_a_mount_is_named,
    ]
}

fn value(value: &str) -> Value {
    json!({ "data": { "value": value } })
}

async fn a_read_has_the_envelope_with_its_null_fields(server: &Server) {
    let kv = server.kv2().await;
    let written = server.post(&format!("{kv}/data/a/b"), value("one")).await.is(200).body;
    assert_eq!(written["data"]["version"], 1);
    assert_eq!(written["data"]["deletion_time"], "");
    assert_eq!(written["data"]["destroyed"], false);
    assert_eq!(written["data"]["custom_metadata"], Value::Null);
    let read = server.get(&format!("{kv}/data/a/b")).await.is(200).body;
    assert_eq!(read["data"]["data"], json!({ "value": "one" }));
    assert_eq!(read["data"]["metadata"], written["data"]);
    assert!(text(&read["data"]["metadata"]["created_time"]).parse::<jiff::Timestamp>().is_ok());
    assert!(!text(&read["request_id"]).is_empty());
    assert_eq!(
        (&read["lease_id"], &read["renewable"], &read["lease_duration"]),
        (&json!(""), &json!(false), &json!(0))
    );
    for absent in ["wrap_info", "warnings", "auth"] {
        assert_eq!(read.get(absent), Some(&Value::Null), "{absent}");
    }
}

async fn what_never_was_is_a_404_without_a_word(server: &Server) {
    let kv = server.kv2().await;
    server.get(&format!("{kv}/data/x")).await.finds_nothing();
    server.get(&format!("{kv}/metadata/x")).await.finds_nothing();
    server.ask("LIST", &format!("{kv}/metadata")).send().await.finds_nothing();
    server.post(&format!("{kv}/data/x"), value("one")).await.is(200);
    server.get(&format!("{kv}/data/x?version=2")).await.finds_nothing();
}

async fn versions_are_read_by_number_and_0_is_the_latest(server: &Server) {
    let kv = server.kv2().await;
    let path = format!("{kv}/data/x");
    server.post(&path, value("one")).await.is(200);
    // PUT is the same as POST.
    assert_eq!(server.ask("PUT", &path).json(value("two")).send().await.is(200).body["data"]["version"], 2);
    for (version, wanted) in [("1", "one"), ("2", "two"), ("0", "two")] {
        let read = server.get(&format!("{path}?version={version}")).await.is(200).body;
        assert_eq!(read["data"]["data"]["value"], wanted);
    }
}

async fn what_is_deleted_or_destroyed_is_a_404_with_the_envelope(server: &Server) {
    let kv = server.kv2().await;
    let path = format!("{kv}/data/x");
    server.post(&path, value("one")).await.is(200);
    server.delete(&path).await.is_empty(204);
    let deleted = server.get(&path).await.is(404).body;
    assert_eq!(deleted.get("errors"), None);
    assert_eq!(deleted["data"]["data"], Value::Null);
    assert_eq!(deleted["data"]["metadata"]["version"], 1);
    assert_ne!(deleted["data"]["metadata"]["deletion_time"], "");
    assert_eq!(deleted["data"]["metadata"]["destroyed"], false);
    server.post(&format!("{kv}/undelete/x"), json!({ "versions": [1] })).await.is_empty(204);
    assert_eq!(server.get(&path).await.is(200).body["data"]["metadata"]["deletion_time"], "");
    server.post(&format!("{kv}/delete/x"), json!({ "versions": [1] })).await.is_empty(204);
    server.get(&path).await.is(404);
    server.post(&format!("{kv}/destroy/x"), json!({ "versions": [1] })).await.is_empty(204);
    server.post(&format!("{kv}/undelete/x"), json!({ "versions": [1] })).await.is_empty(204);
    let destroyed = server.get(&path).await.is(404).body;
    assert_eq!(destroyed["data"]["data"], Value::Null);
    assert_eq!(destroyed["data"]["metadata"]["destroyed"], true);
}

async fn changes_of_what_is_not_there_succeed(server: &Server) {
    let kv = server.kv2().await;
    server.delete(&format!("{kv}/data/x")).await.is_empty(204);
    server.delete(&format!("{kv}/metadata/x")).await.is_empty(204);
    for change in ["delete", "undelete", "destroy"] {
        server.post(&format!("{kv}/{change}/x"), json!({ "versions": [7] })).await.is_empty(204);
    }
    server.get(&format!("{kv}/data/x")).await.finds_nothing();
}

async fn a_list_of_no_versions_is_refused(server: &Server) {
    let kv = server.kv2().await;
    for change in ["delete", "undelete"] {
        let refused = server.post(&format!("{kv}/{change}/x"), json!({ "versions": [] })).await;
        refused.fails(400, "No version number provided");
    }
    server.post(&format!("{kv}/destroy/x"), json!({ "versions": [] })).await.fails(400, "no version");
}

async fn check_and_set_compares_with_the_current_version_even_if_it_is_deleted(server: &Server) {
    let kv = server.kv2().await;
    let path = format!("{kv}/data/x");
    let cas = |cas: Value| json!({ "options": { "cas": cas }, "data": { "value": "x" } });
    let mismatch = "check-and-set parameter did not match the current version";
    server.post(&path, cas(json!(1))).await.fails(400, mismatch);
    assert_eq!(server.post(&path, cas(json!(0))).await.is(200).body["data"]["version"], 1);
    server.post(&path, cas(json!(0))).await.fails(400, mismatch);
    server.delete(&path).await.is(204);
    server.post(&path, cas(json!(0))).await.fails(400, mismatch);
    assert_eq!(server.post(&path, cas(json!(1))).await.is(200).body["data"]["version"], 2);
    server.post(&path, cas(json!("no number"))).await.fails(400, "error parsing check-and-set parameter");
    server.delete(&format!("{kv}/metadata/x")).await.is_empty(204);
    server.get(&path).await.finds_nothing();
    assert_eq!(server.post(&path, cas(json!(0))).await.is(200).body["data"]["version"], 1);
}

async fn check_and_set_can_be_required(server: &Server) {
    let kv = server.kv2().await;
    server.post(&format!("{kv}/metadata/x"), json!({ "cas_required": true })).await.is_empty(204);
    let required = "check-and-set parameter required for this call";
    server.post(&format!("{kv}/data/x"), value("x")).await.fails(400, required);
    server.post(&format!("{kv}/data/y"), value("x")).await.is(200);
    server.post(&format!("{kv}/config"), json!({ "cas_required": true })).await.is(204);
    server.post(&format!("{kv}/data/y"), value("x")).await.fails(400, required);
    server.post(&format!("{kv}/data/y"), json!({ "options": { "cas": 1 }, "data": {} })).await.is(200);
}

async fn a_write_without_data_is_refused(server: &Server) {
    let kv = server.kv2().await;
    server.post(&format!("{kv}/data/x"), json!({ "value": "x" })).await.fails(400, "no data provided");
}

async fn a_patch_merges_and_needs_its_content_type(server: &Server) {
    let kv = server.kv2().await;
    let path = format!("{kv}/data/x");
    let change = json!({ "data": { "b": null, "c": { "e": 5 }, "f": 6 } });
    server.ask("PATCH", &path).merge_patch(change.clone()).send().await.is(404);
    let data = json!({ "data": { "a": 1, "b": 2, "c": { "d": 3 } } });
    server.post(&path, data).await.is(200);
    server.ask("PATCH", &path).json(change.clone()).send().await.is(415);
    let patched = server.ask("PATCH", &path).merge_patch(change.clone()).send().await.is(200).body;
    assert_eq!(patched["data"]["version"], 2);
    let read = server.get(&path).await.is(200).body;
    assert_eq!(read["data"]["data"], json!({ "a": 1, "c": { "d": 3, "e": 5 }, "f": 6 }));
    let late = json!({ "options": { "cas": 1 }, "data": {} });
    server.ask("PATCH", &path).merge_patch(late).send().await.fails(400, "did not match the current version");
    server.delete(&path).await.is(204);
    server.ask("PATCH", &path).merge_patch(change).send().await.is(404);
}

async fn metadata_tells_all_versions(server: &Server) {
    let kv = server.kv2().await;
    server.post(&format!("{kv}/data/x"), value("one")).await.is(200);
    server.post(&format!("{kv}/data/x"), value("two")).await.is(200);
    let metadata = server.get(&format!("{kv}/metadata/x")).await.is(200).body["data"].take();
    assert_eq!(metadata["versions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(metadata["versions"]["1"]["destroyed"], false);
    assert_eq!(metadata["versions"]["1"]["deletion_time"], "");
    assert_eq!(metadata["current_version"], 2);
    assert_eq!(metadata["max_versions"], 0);
    assert_eq!(metadata["cas_required"], false);
    assert_eq!(metadata["delete_version_after"], "0s");
    assert_eq!(metadata["custom_metadata"], Value::Null);
    for time in ["created_time", "updated_time"] {
        assert!(text(&metadata[time]).parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
}

async fn old_versions_are_pruned(server: &Server) {
    let kv = server.kv2().await;
    server.post(&format!("{kv}/metadata/few"), json!({ "max_versions": 2 })).await.is_empty(204);
    for (key, last, oldest) in [("few", 3, 2), ("usual", 11, 2)] {
        for _ in 0..last {
            server.post(&format!("{kv}/data/{key}"), value("x")).await.is(200);
        }
        server.get(&format!("{kv}/data/{key}?version={}", oldest - 1)).await.finds_nothing();
        server.get(&format!("{kv}/data/{key}?version={oldest}")).await.is(200);
        let metadata = server.get(&format!("{kv}/metadata/{key}")).await.is(200).body;
        assert_eq!(
            (&metadata["data"]["oldest_version"], &metadata["data"]["current_version"]),
            (&json!(oldest), &json!(last))
        );
    }
}

async fn custom_metadata_has_limits(server: &Server) {
    let kv = server.kv2().await;
    let path = format!("{kv}/metadata/x");
    let custom = |custom: Value| json!({ "custom_metadata": custom });
    let many = |count: u32| Value::Object((0..count).map(|at| (format!("k{at}"), json!("v"))).collect());
    let one = |key: usize, value: usize| json!({ "k".repeat(key): "v".repeat(value) });
    for good in [many(64), one(128, 512), json!({ "current": "2" })] {
        server.post(&path, custom(good)).await.is_empty(204);
    }
    for bad in [many(65), one(129, 1), one(1, 513)] {
        server.post(&path, custom(bad)).await.is(400);
    }
    let shown = server.get(&path).await.is(200).body;
    assert_eq!(shown["data"]["custom_metadata"], json!({ "current": "2" }));
    server.post(&format!("{kv}/data/x"), value("x")).await.is(200);
    let read = server.get(&format!("{kv}/data/x")).await.is(200).body;
    assert_eq!(read["data"]["metadata"]["custom_metadata"], json!({ "current": "2" }));
}

async fn custom_metadata_is_the_secrets_and_comes_with_each_version(server: &Server) {
    let kv = server.kv2().await;
    let path = format!("{kv}/data/x");
    for one in ["one", "two", "three"] {
        server.post(&path, value(one)).await.is(200);
    }
    // Set after they were written, and replaced whole.
    for custom in [json!({ "current": "1", "note": "x" }), json!({ "current": "2", "pending": "3" })] {
        server.post(&format!("{kv}/metadata/x"), json!({ "custom_metadata": custom })).await.is_empty(204);
        for query in ["", "?version=1", "?version=3"] {
            let read = server.get(&format!("{path}{query}")).await.is(200).body;
            assert_eq!(read["data"]["metadata"]["custom_metadata"], custom, "{query}");
        }
    }
    server.post(&format!("{kv}/delete/x"), json!({ "versions": [2] })).await.is_empty(204);
    let gone = server.get(&format!("{path}?version=2")).await.is(404).body;
    assert_eq!(gone["data"]["data"], Value::Null);
    assert_eq!(gone["data"]["metadata"]["custom_metadata"]["pending"], "3");
    assert_eq!(server.get(&path).await.is(200).body["data"]["metadata"]["version"], 3);
}

async fn a_future_deletion_time_is_not_yet_a_deletion(server: &Server) {
    let kv = server.kv2().await;
    let path = format!("{kv}/data/x");
    server.post(&format!("{kv}/metadata/x"), json!({ "delete_version_after": "2s" })).await.is_empty(204);
    server.post(&path, value("x")).await.is(200);
    let alive = server.get(&path).await.is(200).body;
    let deletion: jiff::Timestamp = text(&alive["data"]["metadata"]["deletion_time"]).parse().unwrap();
    let created: jiff::Timestamp = text(&alive["data"]["metadata"]["created_time"]).parse().unwrap();
    assert_eq!(deletion.duration_since(created).as_secs(), 2);
    let gone = until(async || server.get(&path).await, |reply| reply.status != 200).await.is(404).body;
    assert_eq!(gone["data"]["data"], Value::Null);
    assert_eq!(gone["data"]["metadata"]["version"], 1);
}

async fn keys_are_listed_by_verb_and_by_query(server: &Server) {
    let kv = server.kv2().await;
    for key in ["a", "b/c", "b/d/e"] {
        server.post(&format!("{kv}/data/{key}"), value("x")).await.is(200);
    }
    for (folder, wanted) in [("", json!(["a", "b/"])), ("/b", json!(["c", "d/"]))] {
        let path = format!("{kv}/metadata{folder}");
        assert_eq!(server.ask("LIST", &path).send().await.is(200).body["data"]["keys"], wanted);
        assert_eq!(server.get(&format!("{path}?list=true")).await.is(200).body["data"]["keys"], wanted);
    }
    server.ask("LIST", &format!("{kv}/metadata/none")).send().await.finds_nothing();
}

async fn a_path_of_version_1_is_warned_about_on_version_2(server: &Server) {
    let kv = server.kv2().await;
    let reply = server.get(&format!("{kv}/x")).await.is(404).body;
    assert_eq!(reply.get("errors"), None);
    assert_eq!(reply["data"], Value::Null);
    assert!(text(&reply["warnings"][0]).contains("Invalid path for a versioned K/V secrets engine"));
}

async fn version_1_reads_flat_and_names_a_lifetime(server: &Server) {
    let kv = server.engine(json!({ "type": "kv", "options": { "version": "1" } })).await;
    let path = format!("{kv}/a/b");
    server.get(&path).await.finds_nothing();
    server.post(&path, json!({})).await.fails(400, "missing data fields");
    server.post(&path, json!({ "value": "one" })).await.is_empty(204);
    let read = server.get(&path).await.is(200).body;
    assert_eq!(read["data"], json!({ "value": "one" }));
    assert_eq!((&read["lease_id"], &read["renewable"]), (&json!(""), &json!(false)));
    assert_eq!(read["lease_duration"], 2_764_800);
    server.post(&path, json!({ "value": "two", "ttl": "90s" })).await.is_empty(204);
    assert_eq!(server.get(&path).await.is(200).body["lease_duration"], 90);
    assert_eq!(server.ask("LIST", &kv).send().await.is(200).body["data"]["keys"], json!(["a/"]));
    server.delete(&path).await.is_empty(204);
    server.get(&path).await.finds_nothing();
}

async fn a_write_to_a_folder_is_refused(server: &Server) {
    let kv = server.kv2().await;
    server.post(&format!("{kv}/data/x/"), value("x")).await.fails(400, "cannot write to a path ending in '/'");
}

async fn a_path_without_a_mount_is_named(server: &Server) {
    let name = server.name();
    server.get(&format!("{name}/x")).await.fails(404, "no handler for route");
    server.post(&format!("{name}/x"), value("x")).await.fails(404, "no handler for route");
}
