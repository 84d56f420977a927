//! Whether the audit journal tells exactly what was done: its numbers without a gap, one record of each acknowledged write, and no record of
//! a success that was none. Reading it is in `observe`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::Acknowledged;

/// A write that was under way when the server was killed: an object of its own, so that it is known afterwards whether it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) acknowledged: bool,
    pub(crate) exists: bool,
}

/// Something kubectl did: its requests have no number that could be known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByKubectl {
    pub(crate) verb: &'static str,
    /// The object, as the journal prints it.
    pub(crate) object: String,
}

/// What is wrong with the journal, in view of what was done.
pub(crate) fn mistakes(
    entries: &BTreeMap<u64, Value>,
    done: &[Acknowledged],
    by_kubectl: &[ByKubectl],
    tokens: &[Token],
) -> Vec<String> {
    let mut wrong = gaps(entries);
    let mut by_request: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for entry in entries.values() {
        if let Some(id) = entry["request"]["id"].as_str() {
            by_request.entry(id).or_default().push(entry);
        }
    }
    for (id, records) in &by_request {
        // What the server makes when it starts comes from no request.
        if records.len() > 1 && *id != "start" {
            wrong.push(format!("request {id} has {} audit records", records.len()));
        }
    }
    for write in done {
        let code = by_request
            .get(write.request.as_str())
            .and_then(|records| records[0]["request"]["code"].as_u64());
        if code != Some(u64::from(write.code)) {
            wrong.push(format!(
                "{} was answered {} as request {:?}; the audit says {code:?}",
                write.what, write.code, write.request
            ));
        }
    }
    let counted = |wanted: &ByKubectl| {
        let records = entries.values().filter(|entry| {
            succeeded(entry)
                && entry["verb"] == wanted.verb
                && entry["object"] == wanted.object.as_str()
        });
        records
            .filter(|entry| {
                entry["request"]["userAgent"]
                    .as_str()
                    .is_some_and(|agent| agent.starts_with("kubectl"))
            })
            .count()
    };
    let mut expected: BTreeMap<&ByKubectl, usize> = BTreeMap::new();
    for act in by_kubectl {
        *expected.entry(act).or_default() += 1;
    }
    for (act, count) in expected {
        let found = counted(act);
        if found != count {
            wrong.push(format!(
                "kubectl did {} {} {count} times; the audit has {found} records of success",
                act.verb, act.object
            ));
        }
    }
    for token in tokens {
        let name = format!("/{}", token.name);
        let told = entries
            .values()
            .filter(|entry| {
                succeeded(entry)
                    && entry["verb"] == "create"
                    && entry["object"]
                        .as_str()
                        .is_some_and(|object| object.ends_with(&name))
            })
            .count();
        if token.acknowledged && !token.exists {
            wrong.push(format!("{} was acknowledged and is not there", token.name));
        }
        if told != usize::from(token.exists) {
            wrong.push(format!(
                "{} {}; the audit has {told} records of it",
                token.name,
                if token.exists {
                    "exists"
                } else {
                    "does not exist"
                }
            ));
        }
    }
    wrong
}

/// How many records say that drift was repaired.
pub(crate) fn repairs(entries: &BTreeMap<u64, Value>) -> usize {
    entries
        .values()
        .filter(|entry| entry["result"] == "repaired")
        .count()
}

fn succeeded(entry: &Value) -> bool {
    entry["result"] == "allowed"
}

fn gaps(entries: &BTreeMap<u64, Value>) -> Vec<String> {
    let numbers: Vec<u64> = entries.keys().copied().collect();
    let gaps = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1);
    let mut wrong: Vec<String> = gaps
        .map(|pair| format!("the audit has a gap between {} and {}", pair[0], pair[1]))
        .collect();
    match numbers.first() {
        Some(1) => {}
        Some(first) => wrong.push(format!("the audit begins with number {first}")),
        None => wrong.push("the audit is empty".to_owned()),
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(id: &str, object: &str, code: u16) -> Value {
        json!({"verb": "create", "object": object, "result": if code < 300 { "allowed" } else { "failed" },
            "request": {"id": id, "code": code, "userAgent": "kubectl/v1"}})
    }

    fn journal(records: &[Value]) -> BTreeMap<u64, Value> {
        (1..).zip(records.iter().cloned()).collect()
    }

    fn write(request: &str, code: u16) -> Acknowledged {
        Acknowledged {
            request: request.to_owned(),
            code,
            what: "POST /x".to_owned(),
        }
    }

    fn token(acknowledged: bool, exists: bool) -> Token {
        Token {
            name: "t1".to_owned(),
            acknowledged,
            exists,
        }
    }

    #[test]
    fn one_record_for_each_acknowledged_write_is_right() {
        let entries = journal(&[
            record("a", "v1 ConfigMap ns/t1", 201),
            record("b", "v1 ConfigMap ns/t2", 422),
        ]);
        assert_eq!(
            mistakes(
                &entries,
                &[write("a", 201), write("b", 422)],
                &[],
                &[token(true, true)]
            ),
            [""; 0]
        );
    }

    #[test]
    fn missing_double_and_wrong_records_are_found() {
        let entries = journal(&[
            record("a", "v1 ConfigMap ns/x", 201),
            record("a", "v1 ConfigMap ns/x", 201),
        ]);
        assert_eq!(mistakes(&entries, &[], &[], &[]).len(), 1, "double");
        assert_eq!(
            mistakes(
                &journal(&[record("a", "x", 201)]),
                &[write("b", 201)],
                &[],
                &[]
            )
            .len(),
            1,
            "missing"
        );
        assert_eq!(
            mistakes(
                &journal(&[record("a", "x", 500)]),
                &[write("a", 201)],
                &[],
                &[]
            )
            .len(),
            1,
            "another code"
        );
    }

    #[test]
    fn a_gap_and_a_lost_beginning_are_found() {
        let mut entries = journal(&[
            record("a", "x", 201),
            record("b", "x", 201),
            record("c", "x", 201),
        ]);
        entries.remove(&2);
        assert_eq!(mistakes(&entries, &[], &[], &[]).len(), 1);
        entries.remove(&1);
        assert_eq!(mistakes(&entries, &[], &[], &[]).len(), 1);
        assert_eq!(mistakes(&BTreeMap::new(), &[], &[], &[]).len(), 1);
    }

    #[test]
    fn a_success_without_the_mutation_and_a_mutation_without_its_record_are_found() {
        let told = journal(&[record("a", "v1 ConfigMap ns/t1", 201)]);
        let silent = journal(&[record("a", "v1 ConfigMap ns/other", 201)]);
        assert_eq!(mistakes(&told, &[], &[], &[token(false, false)]).len(), 1);
        assert_eq!(mistakes(&silent, &[], &[], &[token(false, true)]).len(), 1);
        assert_eq!(
            mistakes(&silent, &[], &[], &[token(true, false)]).len(),
            1,
            "a lost acknowledged write"
        );
        assert_eq!(
            mistakes(&told, &[], &[], &[token(false, true)]),
            [""; 0],
            "done and not acknowledged"
        );
    }

    #[test]
    fn what_kubectl_did_is_counted() {
        let entries = journal(&[record("a", "v1 ConfigMap ns/x", 201)]);
        let act = ByKubectl {
            verb: "create",
            object: "v1 ConfigMap ns/x".to_owned(),
        };
        assert_eq!(
            mistakes(&entries, &[], std::slice::from_ref(&act), &[]),
            [""; 0]
        );
        assert_eq!(mistakes(&entries, &[], &[act.clone(), act], &[]).len(), 1);
    }
}
