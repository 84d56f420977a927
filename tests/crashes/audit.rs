//! Whether the audit agrees with what is there, as far as that can be read through the API: nothing acknowledged is missing in it, and
//! nothing stands in it twice.

use std::collections::{BTreeMap, BTreeSet};

use clos_harness::Server;
use serde_json::Value;

use crate::right::{objects, uid};

/// The kinds that are looked at.
const KINDS: [&str; 7] = [
    "Namespace",
    "ConfigMap",
    "Secret",
    "Group",
    "Service",
    "Instance",
    "Port",
];

/// The whole journal, oldest first.
pub(crate) fn journal(server: &Server) -> Vec<Value> {
    let output = server.clos(&["audit", "-o", "json", "--limit", "100000"]);
    let text = clos_harness::succeeded(&["clos audit"], output);
    let mut entries: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    entries.sort_by_key(|entry| entry["seq"].as_u64());
    entries
}

/// Every object has exactly one event of its making, every object that was made and is gone one of its deletion, every change of a
/// declaration one of its own; numbers have no gaps, and no request stands there twice.
pub(crate) fn agrees(server: &Server) {
    let entries = journal(server);
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry["seq"], index as u64 + 1, "a gap before {entry}");
    }
    let allowed: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry["result"] == "allowed")
        .collect();
    let mut requests = BTreeSet::new();
    let mut of: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for entry in &allowed {
        let (verb, uid) = (text(entry, "verb"), text(entry, "uid"));
        let request = entry["request"]["id"].as_str().unwrap_or_default();
        assert!(requests.insert((request, uid, verb)), "twice: {entry}");
        *of.entry((verb, uid)).or_default() += 1;
    }
    let count = |verb: &'static str, uid: &str| of.get(&(verb, uid)).copied().unwrap_or(0);
    let living: BTreeMap<String, Value> = objects(server)
        .unwrap()
        .into_iter()
        .map(|object| (uid(&object), object))
        .collect();
    for (uid, object) in &living {
        // What the server makes at its first start is not a mutation that anybody asked for.
        let made_by_itself = object["kind"] == "Namespace"
            || object["metadata"]["namespace"] != server.namespace.as_str();
        let made = count("create", uid);
        assert!(
            made == 1 || made_by_itself && made == 0,
            "{made} events made {object}"
        );
        if object["kind"] == "Instance" {
            let changes = count("update", uid) as u64;
            assert_eq!(object["metadata"]["generation"], changes + 1, "{object}");
        }
    }
    for entry in allowed.iter().filter(|entry| entry["verb"] == "create") {
        let uid = text(entry, "uid");
        let kind = text(entry, "object").split(' ').nth(1).unwrap();
        let looked_at = KINDS.contains(&kind);
        let deleted = count("delete", uid) + count("deletecollection", uid) > 0;
        assert!(
            !looked_at || living.contains_key(uid) || deleted,
            "gone without an event: {entry}"
        );
    }
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_default()
}
