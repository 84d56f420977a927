//! Reading manifests: golden mistakes, hostile input, and the differential test against another YAML reader.

use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::node::documents;
use super::{Manifests, Mistakes};

fn read(text: &str) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.read(Path::new("shop/web.yaml"), text.as_bytes());
    manifests
}

fn value(text: &str) -> Value {
    documents(text).unwrap().remove(0).value
}

#[test]
fn documents_and_lists_become_objects_and_empty_documents_are_skipped() {
    let text = "\
---
# nothing here
---
apiVersion: v1
kind: List
items:
- { apiVersion: v1, kind: ConfigMap, metadata: { name: a } }
- apiVersion: v1
  kind: ConfigMapList
  items:
  - apiVersion: v1
    kind: ConfigMap
    metadata: { name: b }
---
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: c }
---
";
    let manifests = read(text);
    assert_eq!(manifests.mistakes, []);
    let places: Vec<String> = manifests
        .objects
        .iter()
        .map(|object| format!("{} {}", object.place(), object.name()))
        .collect();
    assert_eq!(
        places,
        [
            "shop/web.yaml:7 a",
            "shop/web.yaml:11 b",
            "shop/web.yaml:16 c"
        ]
    );
}

#[test]
fn json_is_read_with_tabs_and_surrogate_pairs() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"a\"},\n\t\"data\": {\"x\": \"\\ud83d\\ude00\"}\n}\n";
    let manifests = read(text);
    assert_eq!(manifests.mistakes, []);
    assert_eq!(manifests.objects[0].value["data"]["x"], "\u{1f600}");
}

#[test]
fn scalars_mean_what_they_mean_to_kubectl() {
    assert_eq!(
        value(
            "a: yes\nb: off\nc: 0644\nd: 'no'\ne: ~\nf: 1.5\ng: 0x10\nh: 17\ni: 12:30:45\nj: 2024-01-01\n"
        ),
        json!({"a": true, "b": false, "c": 420, "d": "no", "e": null, "f": 1.5, "g": 16, "h": 17, "i": "12:30:45", "j": "2024-01-01"})
    );
    assert_eq!(
        value("base: &b { x: 1, y: 2 }\nuse:\n  <<: *b\n  y: 3\n")["use"],
        json!({"x": 1, "y": 3})
    );
}

#[test]
fn a_key_like_on_stays_the_word_that_was_written() {
    assert_eq!(
        value("on: x\n80: w\ntrue: z\n"),
        json!({"on": "x", "80": "w", "true": "z"})
    );
}

#[test]
fn i12_mistakes_are_told_with_their_lines_all_of_them() {
    let text = "\
kind: Service
metadata: { name: no-version }
---
apiVersion: v1
kind: ConfigMap
metadata:
  labels: { a: 1 }
---
apiVersion: v1
kind: ConfigMap
metadata: web
---
- a list
---
just text
---
apiVersion: 1
kind: ConfigMap
metadata: { name: 5 }
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: web }
spec:
  image: a
  group: shop
  image: b
  ports:
  - { containerPort: 80, containerPort: 81 }
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: copied
  labels: { clos.dev/source: other }
---
apiVersion: v1
kind: List
items:
- kind: Secret
";
    insta::assert_snapshot!(Mistakes::new(read(text).mistakes).unwrap());
}

#[test]
fn text_that_is_no_yaml_names_the_line() {
    let cases: [(&str, &[u8]); 10] = [
        ("tab", b"a:\n\tb: 1\n"),
        ("unclosed", b"a: 1\nb: [1, 2\n"),
        ("unknown alias", b"a: *nowhere\n"),
        ("tag", b"a: 1\nb: !vault secret\n"),
        ("colon", b"a: 1\nmessage: hello: world\n"),
        ("latin-1", b"a: 1\nb: caf\xe9\n"),
        ("utf-16", b"\xff\xfea\0:\0"),
        ("nul", b"a: 1\nb: x\0y\n"),
        ("nan", b"a: .nan\n"),
        ("mapping as key", b"a: 1\n? {b: c}\n: d\n"),
    ];
    let mut manifests = Manifests::default();
    for (name, bytes) in cases {
        manifests.read(Path::new(name), bytes);
    }
    assert_eq!(manifests.objects.len(), 0);
    let lines: Vec<String> = manifests.mistakes.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn hostile_yaml_is_refused_within_its_budget() {
    let laughs: String = (1..10).fold("l0: &l0 [lol]\n".to_owned(), |text, level| {
        let below = format!("*l{}, ", level - 1).repeat(9);
        text + &format!("l{level}: &l{level} [{below}]\n")
    });
    let aliases = format!("a: &a x\nb: [{}]\n", "*a, ".repeat(50_000));
    let hostile = [
        laughs,
        aliases,
        "a: &a [*a]\n".to_owned(),
        "[".repeat(10_000),
        "{a: ".repeat(10_000),
        (0..10_000)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .take(500)
            .collect(),
        "---\na: 1\n".repeat(100_000),
        format!("a: [{}]", "1,".repeat(300_000)),
    ];
    for text in hostile {
        let manifests = read(&text);
        assert!(
            manifests.objects.is_empty() && !manifests.mistakes.is_empty(),
            "{}",
            &text[..40.min(text.len())]
        );
    }
}

#[test]
fn many_documents_are_no_attack() {
    let one = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n---\n";
    assert_eq!(read(&one.repeat(5_000)).objects.len(), 5_000);
}

#[test]
fn what_only_a_server_writes_is_not_declared() {
    let text = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: a
  uid: u
  resourceVersion: '7'
  creationTimestamp: null
  managedFields: []
data: { x: w, z: null }
status: { phase: Active }
";
    let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "w"}});
    assert_eq!(read(text).objects[0].value, expected);
}

#[test]
fn a_secret_s_text_is_encoded_and_still_found() {
    let text = "\
apiVersion: v1
kind: Secret
metadata: { name: a }
data: { x: eA== }
stringData:
  x: new
  y: secret
";
    let manifests = read(text);
    assert_eq!(
        manifests.objects[0].value["data"],
        json!({"x": "bmV3", "y": "c2VjcmV0"})
    );
    assert_eq!(manifests.objects[0].value.get("stringData"), None);
    assert_eq!(manifests.objects[0].mistake("data.y", "").line, Some(7));
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-zA-Z][a-zA-Z0-9 /._-]{0,12}[a-z]".prop_map(Value::from),
        "[ -~\u{e4}\u{1f600}\n]{0,12}".prop_map(Value::from),
        Just(Value::Null),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z][a-zA-Z./-]{0,8}", inner, 0..5)
                .prop_map(|fields| json!(fields)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ordinary_documents_are_read_as_serde_yaml_reads_them(trees in prop::collection::vec(tree(), 1..4)) {
        // Written by the oracle in block style and by serde_json in flow style; both must come back.
        let objects: Vec<Value> = trees.into_iter().map(|tree| json!({ "tree": tree })).collect();
        let block = objects.iter().map(|object| serde_yaml::to_string(object).unwrap()).collect::<Vec<_>>().join("---\n");
        let flow = objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        let oracle: Vec<Value> = serde_yaml::Deserializer::from_str(&block).map(|document| Value::deserialize(document).unwrap()).collect();
        prop_assert_eq!(&oracle, &objects);
        // The oracle leaves words unquoted that are booleans or numbers to kubectl.
        let words: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
        let ambiguous = block.lines().any(|line| {
            let word = line.rsplit([':', '-']).next().unwrap_or_default().trim().to_lowercase();
            words.contains(&word.as_str()) || word.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '.')
        });
        if !ambiguous {
            let read: Vec<Value> = documents(&block).unwrap().into_iter().map(|node| node.value).collect();
            prop_assert_eq!(&read, &objects);
        }
        let read: Vec<Value> = documents(&flow).unwrap().into_iter().map(|node| node.value).collect();
        prop_assert_eq!(&read, &objects);
    }
}
