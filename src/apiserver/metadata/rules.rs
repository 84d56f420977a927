//! Judging `metadata`: what a new object may say and what an update may change. Types were judged in `shape`.

use serde_json::{Map, Value, json};

use super::names::{dns_label, dns_subdomain, label_key, label_value};
use crate::status::{Cause, FieldPath, quoted};

const MAX_ANNOTATIONS: usize = 256 * 1024;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const KUBERNETES: &str = "kubernetes";

/// What names of a kind look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// One DNS label: at most 63 lower case letters, digits and dashes.
    Label,
    /// DNS labels joined by dots: at most 253 characters.
    Subdomain,
}

impl NameRule {
    fn wrong(self, name: &str) -> Vec<String> {
        match self {
            Self::Label => dns_label(name),
            Self::Subdomain => dns_subdomain(name),
        }
    }
}

/// Every mistake in the `metadata` of a new object whose name, if it was to be generated, has been generated.
pub(crate) fn check_create(object: &Value, rule: NameRule) -> Vec<Cause> {
    let mut causes = Vec::new();
    let path = FieldPath::Child(&FieldPath::Root, "metadata");
    let metadata = object.get("metadata");
    let text = |name: &str| {
        metadata
            .and_then(|metadata| metadata.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };

    let prefix = text("generateName");
    if !prefix.is_empty() {
        // A prefix may end in a dash: a letter follows it.
        let sample = match prefix.strip_suffix('-') {
            Some(body) if !body.is_empty() => format!("{body}a"),
            _ => prefix.to_owned(),
        };
        let wrong = rule.wrong(&sample).into_iter();
        causes.extend(
            wrong.map(|what| Cause::invalid_text(path.child("generateName"), prefix, &what)),
        );
    }
    let name = text("name");
    if name.is_empty() {
        causes.push(Cause::required(
            path.child("name"),
            "name or generateName is required",
        ));
    } else {
        let wrong = rule.wrong(name).into_iter();
        causes.extend(wrong.map(|what| Cause::invalid_text(path.child("name"), name, &what)));
    }
    check_common(metadata, &path, &mut causes);
    causes
}

/// Every mistake in the `metadata` of an update, after [`carry_over`](super::carry_over). The resource version is the
/// caller's matter, and so is that the object's name is the request's.
pub(crate) fn check_update(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let path = FieldPath::Child(&FieldPath::Root, "metadata");
    let (new, old) = (new.get("metadata"), old.get("metadata"));
    let field = |metadata: Option<&Value>, name: &str| {
        metadata.and_then(|metadata| metadata.get(name)).cloned()
    };

    if field(old, "deletionTimestamp").is_some() {
        let before = texts(old, "finalizers");
        let mut added: Vec<&str> = texts(new, "finalizers")
            .into_iter()
            .filter(|name| !before.contains(name))
            .collect();
        added.sort_unstable();
        if !added.is_empty() {
            let added: Vec<String> = added.into_iter().map(quoted).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {}",
                added.join(", ")
            );
            causes.push(Cause::forbidden(path.child("finalizers"), &detail));
        }
    }
    let fixed = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    for name in fixed {
        let (new, old) = (field(new, name), field(old, name));
        if new != old {
            let value = new.unwrap_or_else(|| {
                if old.is_some_and(|old| old.is_string()) {
                    json!("")
                } else {
                    Value::Null
                }
            });
            causes.push(Cause::invalid(
                path.child(name),
                &value,
                "field is immutable",
            ));
        }
    }
    check_common(new, &path, &mut causes);
    causes
}

/// What is allowed but unwise in `metadata`, as the texts of `Warning` headers.
pub(crate) fn warnings(object: &Value) -> Vec<String> {
    let finalizers = texts(object.get("metadata"), "finalizers").into_iter();
    let unqualified = finalizers
        .filter(|name| !name.contains('/') && ![ORPHAN, FOREGROUND, KUBERNETES].contains(name));
    unqualified
        .map(|name| {
            let path = if name.contains('.') { " including a path (/)" } else { "" };
            format!(
                "metadata.finalizers: {}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts \
                 with other finalizer writers",
                quoted(name)
            )
        })
        .collect()
}

fn check_common(metadata: Option<&Value>, path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
    let map = |name: &str| {
        metadata
            .and_then(|metadata| metadata.get(name))
            .and_then(Value::as_object)
    };
    if let Some(labels) = map("labels") {
        let path = path.child("labels");
        for (key, value) in labels {
            causes.extend(
                label_key(key)
                    .iter()
                    .map(|what| Cause::invalid_text(path, key, what)),
            );
            let value = value.as_str().unwrap_or_default();
            causes.extend(
                label_value(value)
                    .iter()
                    .map(|what| Cause::invalid_text(path, value, what)),
            );
        }
    }
    if let Some(annotations) = map("annotations") {
        check_annotations(annotations, &path.child("annotations"), causes);
    }
    if let Some(Value::Array(owners)) =
        metadata.and_then(|metadata| metadata.get("ownerReferences"))
    {
        check_owners(owners, &path.child("ownerReferences"), causes);
    }
    check_finalizers(
        &texts(metadata, "finalizers"),
        &path.child("finalizers"),
        causes,
    );
}

fn check_annotations(
    annotations: &Map<String, Value>,
    path: &FieldPath<'_>,
    causes: &mut Vec<Cause>,
) {
    let mut size = 0;
    for (key, value) in annotations {
        let wrong = label_key(&key.to_lowercase());
        causes.extend(
            wrong
                .iter()
                .map(|what| Cause::invalid_text(path, key, what)),
        );
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        causes.push(Cause::too_long(path, MAX_ANNOTATIONS));
    }
}

fn check_owners(owners: &[Value], path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
    let mut controller: Option<String> = None;
    for owner in owners {
        let text = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
        let version = text("apiVersion").rsplit('/').next().unwrap_or_default();
        if version.is_empty() {
            let detail = "version must not be empty";
            causes.push(Cause::invalid_text(
                path.child("apiVersion"),
                text("apiVersion"),
                detail,
            ));
        }
        for name in ["kind", "name", "uid"] {
            if text(name).is_empty() {
                causes.push(Cause::invalid_text(
                    path.child(name),
                    "",
                    "must not be empty",
                ));
            }
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let this = format!("{}/{}", text("kind"), text("name"));
            match &controller {
                None => controller = Some(this),
                Some(first) => {
                    let detail = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                         and {this}"
                    );
                    causes.push(Cause::invalid(path, &json!(owners), &detail));
                }
            }
        }
    }
}

fn check_finalizers(finalizers: &[&str], path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
    for name in finalizers {
        causes.extend(
            label_key(name)
                .iter()
                .map(|what| Cause::invalid_text(path, name, what)),
        );
    }
    if finalizers.contains(&ORPHAN) && finalizers.contains(&FOREGROUND) {
        let detail = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        causes.push(Cause::invalid(path, &json!(finalizers), &detail));
    }
}

fn texts<'a>(metadata: Option<&'a Value>, name: &str) -> Vec<&'a str> {
    let list = metadata
        .and_then(|metadata| metadata.get(name))
        .and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}
