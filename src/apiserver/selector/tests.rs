//! Which objects selectors choose, and which texts they refuse.

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn labelled(labels: &Value) -> Value {
    json!({ "metadata": { "name": "web", "namespace": "shop", "labels": labels } })
}

#[test]
fn labels_choose_objects() {
    let object =
        labelled(&json!({ "app": "web", "tier": "a", "empty": "", "n": "7", "clos.dev/x": "y" }));
    let cases = [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        ("app = web , tier = a", true),
        ("app=db", false),
        ("app!=db", true),
        ("app!=web", false),
        ("none!=web", true),
        ("app", true),
        ("!app", false),
        ("none", false),
        ("!none", true),
        ("tier in (a,b)", true),
        ("tier in (b)", false),
        ("none in (a)", false),
        ("tier notin (a,b)", false),
        ("tier notin (b)", true),
        ("none notin (a)", true),
        ("empty=", true),
        ("empty in ()", true),
        ("empty in (,x)", true),
        ("app in (,x)", false),
        ("n>6", true),
        ("n<7", false),
        ("app>1", false),
        ("clos.dev/x=y", true),
        ("in in (a),!notin", false),
        ("app=web,tier=b", false),
    ];
    for (text, expected) in cases {
        assert_eq!(
            LabelSelector::parse(text).unwrap().matches(&object),
            expected,
            "{text}"
        );
    }
    assert!(
        LabelSelector::parse("!app").unwrap().matches(&json!({})),
        "an object without labels has none"
    );
    assert!(LabelSelector::parse(" ").unwrap().is_everything());
}

#[test]
fn a_bad_label_selector_says_where_reading_stopped() {
    let bad = [
        "=a",
        "a=b=c",
        "a in",
        "a in b",
        "a in (b",
        "a in (b c)",
        "a in (=)",
        "a=b,",
        ",",
        "a b",
        "a notin",
        "!",
        "!=",
        "a>x",
        "a=(",
        "-a",
        "a=-b",
        "x/y/z=1",
        "/y",
        "a<",
        "a!b",
    ];
    let lines: Vec<String> = bad
        .iter()
        .map(|text| {
            let error = LabelSelector::parse(text).expect_err(text);
            assert_eq!(error.code(), 400);
            format!("{text}\n  {error}")
        })
        .collect();
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn fields_choose_objects() {
    let selectable = [
        SelectableField::new(".spec.port"),
        SelectableField::labelled("source", "source.component"),
    ];
    let object = json!({
        "metadata": { "name": "web", "namespace": "shop" }, "spec": { "port": 80 }, "source": { "component": "a,b=c\\" },
    });
    let cases = [
        ("", true),
        ("metadata.name=web", true),
        ("metadata.name==web,metadata.namespace=shop", true),
        ("metadata.name=web,", true),
        ("metadata.name!=web", false),
        ("metadata.name=db", false),
        ("spec.port=80", true),
        ("spec.port!=81", true),
        (r"source=a\,b\=c\\", true),
        ("metadata.namespace=", false),
    ];
    for (text, expected) in cases {
        let selector = FieldSelector::parse(text, &selectable).unwrap();
        assert_eq!(selector.matches(&object), expected, "{text}");
        assert_eq!(selector.is_everything(), text.is_empty(), "{text}");
    }
    let cluster_scoped = FieldSelector::parse("metadata.namespace=", &selectable).unwrap();
    assert!(
        cluster_scoped.matches(&json!({ "metadata": {} })),
        "an absent field counts as empty"
    );
}

#[test]
fn a_bad_field_selector_says_why() {
    let bad = [
        "spec.replicas=1",
        "metadata.name",
        "=a",
        r"metadata.name=a\b",
        r"metadata.name=a\",
        "metadata.name=a=b",
    ];
    let lines: Vec<String> = bad
        .iter()
        .map(|text| {
            let error = FieldSelector::parse(text, &[]).expect_err(text);
            assert_eq!(error.code(), 400);
            format!("{text}\n  {error}")
        })
        .collect();
    assert_snapshot!(lines.join("\n"), @r"
    spec.replicas=1
      field label not supported: spec.replicas
    metadata.name
      invalid selector: 'metadata.name'; can't understand 'metadata.name'
    =a
      field label not supported: 
    metadata.name=a\b
      invalid field selector: invalid escape sequence: \b
    metadata.name=a\
      invalid field selector: invalid escape sequence: \
    metadata.name=a=b
      invalid field selector: unescaped character in value: =
    ");
}

#[test]
fn an_exact_field_is_known_to_whoever_reads_one_object() {
    let selector = FieldSelector::parse("metadata.name=web,metadata.namespace!=x", &[]).unwrap();
    assert_eq!(selector.exact("metadata.name"), Some("web"));
    assert_eq!(selector.exact("metadata.namespace"), None);
}

/// Requirements in the form in which selectors print themselves.
fn requirement() -> impl Strategy<Value = String> {
    let key = "([a-z]{1,5}(\\.[a-z]{1,3})?/)?[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,5}[a-zA-Z0-9])?";
    let value = "([a-z0-9]([-_.a-z0-9]{0,4}[a-z0-9])?)?";
    (
        key,
        0..8,
        prop::collection::btree_set(value, 1..4),
        0..i64::MAX,
    )
        .prop_map(|(key, form, values, bound)| {
            let first = values.first().cloned().unwrap_or_default();
            let listed = values.into_iter().collect::<Vec<_>>().join(",");
            match form {
                0 => key,
                1 => format!("!{key}"),
                2 => format!("{key}={first}"),
                3 => format!("{key}!={first}"),
                4 => format!("{key} in ({listed})"),
                5 => format!("{key} notin ({listed})"),
                6 => format!("{key}>{bound}"),
                _ => format!("{key}<{bound}"),
            }
        })
}

proptest! {
    #[test]
    fn a_printed_label_selector_reads_as_itself(requirements in prop::collection::vec(requirement(), 0..4)) {
        let selector = LabelSelector::parse(&requirements.join(",")).unwrap();
        let again = LabelSelector::parse(&selector.to_string()).unwrap();
        prop_assert_eq!(&again, &selector);
        prop_assert_eq!(again.to_string(), selector.to_string());
    }

    #[test]
    fn a_printed_field_selector_reads_as_itself(value in "[a-z,=\\\\]{0,8}", equal in any::<bool>()) {
        let escaped = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
        let text = format!("metadata.name{}{escaped}", if equal { "=" } else { "!=" });
        let selector = FieldSelector::parse(&text, &[]).unwrap();
        prop_assert_eq!(selector.to_string(), text);
        prop_assert_eq!(selector.matches(&json!({ "metadata": { "name": value } })), equal);
    }

    #[test]
    fn any_text_parses_or_is_refused(text in any::<String>(), symbols in "[a-z=!<>(), \\\\/]{0,12}") {
        for text in [text, symbols] {
            let _ = LabelSelector::parse(&text).map(|selector| selector.matches(&json!({})));
            let _ = FieldSelector::parse(&text, &[]).map(|selector| selector.matches(&json!({})));
        }
    }

    #[test]
    fn equality_and_its_negation_split_all_objects(value in "[a-z]{0,2}", actual in prop::option::of("[a-z]{0,2}")) {
        let object = actual.map_or_else(|| json!({}), |actual| json!({ "metadata": { "labels": { "k": actual } } }));
        for (yes, no) in [("k=", "k!="), ("k in (", "k notin (")] {
            let close = if yes.ends_with('(') { ")" } else { "" };
            let chosen = LabelSelector::parse(&format!("{yes}{value}{close}")).unwrap().matches(&object);
            let rest = LabelSelector::parse(&format!("{no}{value}{close}")).unwrap().matches(&object);
            prop_assert!(chosen != rest);
        }
    }
}
