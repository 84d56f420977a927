//! The syntax of names, label keys and label values. Each check returns what is wrong as sentences; none means well-formed.

use std::sync::LazyLock;

use regex::Regex;

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

const KEY_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                        alphanumeric character";

static LABEL_SYNTAX: LazyLock<Regex> = LazyLock::new(|| anchored(LABEL));
static SUBDOMAIN_SYNTAX: LazyLock<Regex> = LazyLock::new(|| anchored(SUBDOMAIN));
static KEY_SYNTAX: LazyLock<Regex> = LazyLock::new(|| anchored(KEY));
static VALUE_SYNTAX: LazyLock<Regex> = LazyLock::new(|| anchored(VALUE));

/// What is wrong with a name that must be one DNS label, as a namespace's.
pub(crate) fn dns_label(name: &str) -> Vec<String> {
    let mut wrong = too_long(name, LABEL_MAX);
    if !LABEL_SYNTAX.is_match(name) {
        wrong.push(if SUBDOMAIN_SYNTAX.is_match(name) {
            "must not contain dots".to_owned()
        } else {
            let rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                        start and end with an alphanumeric character";
            explained(rule, LABEL, &["my-name", "123-abc"])
        });
    }
    wrong
}

/// What is wrong with a name that must be DNS labels joined by dots, as most objects' are.
pub(crate) fn dns_subdomain(name: &str) -> Vec<String> {
    let mut wrong = too_long(name, SUBDOMAIN_MAX);
    if !SUBDOMAIN_SYNTAX.is_match(name) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                    must start and end with an alphanumeric character";
        wrong.push(explained(rule, SUBDOMAIN, &["example.com"]));
    }
    wrong
}

/// What is wrong with the key of a label or annotation: a name, with a DNS prefix and a slash before it or not.
pub(crate) fn label_key(key: &str) -> Vec<String> {
    let examples = ["MyName", "my.name", "123-abc"];
    let mut wrong = Vec::new();
    let name = match key.split_once('/') {
        None => key,
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                explained(KEY_RULE, KEY, &examples)
            )];
        }
        Some(("", name)) => {
            wrong.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            wrong.extend(
                dns_subdomain(prefix)
                    .into_iter()
                    .map(|what| format!("prefix part {what}")),
            );
            name
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    }
    wrong.extend(
        too_long(name, LABEL_MAX)
            .into_iter()
            .map(|what| format!("name part {what}")),
    );
    if !KEY_SYNTAX.is_match(name) {
        wrong.push(format!("name part {}", explained(KEY_RULE, KEY, &examples)));
    }
    wrong
}

/// What is wrong with the value of a label.
pub(crate) fn label_value(value: &str) -> Vec<String> {
    let mut wrong = too_long(value, LABEL_MAX);
    if !VALUE_SYNTAX.is_match(value) {
        let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                    must start and end with an alphanumeric character";
        wrong.push(explained(rule, VALUE, &["MyValue", "my_value", "12345"]));
    }
    wrong
}

fn too_long(text: &str, max: usize) -> Vec<String> {
    if text.len() > max {
        vec![format!("must be no more than {max} bytes")]
    } else {
        Vec::new()
    }
}

fn explained(rule: &str, syntax: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples
        .iter()
        .map(|example| format!("'{example}', "))
        .collect();
    format!(
        "{rule} (e.g. {}regex used for validation is '{syntax}')",
        examples.join(" or ")
    )
}

fn anchored(syntax: &str) -> Regex {
    Regex::new(&format!("^(?:{syntax})$")).expect("a constant expression that the tests compile")
}
