//! The desired set: every declared object by what makes it unique. Not here: what the server holds (`sync`).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::json;

use crate::kinds::{Kind, Kinds, rank};
use crate::manifest::{Declared, Manifests, Mistake};

/// What makes an object unique. Sorts in the order of applying.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    rank: u8,
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for objects of the whole cluster.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(group: &str, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        Self {
            rank: rank(group, kind),
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// Objects of the same rank do not need each other and may be applied at the same time.
    pub(crate) fn rank(&self) -> u8 {
        self.rank
    }
}

impl fmt::Display for ObjectKey {
    /// `Service default/web`, `Namespace shop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// An object that shall exist.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The object, its namespace filled in.
    pub declared: Declared,
    /// Its kind.
    pub kind: Kind,
}

/// Everything that shall exist; every object once and of a kind that the server knows.
#[derive(Debug, Clone, Default)]
pub struct DesiredSet {
    /// The objects in the order of applying.
    pub objects: BTreeMap<ObjectKey, Desired>,
    /// What is wrong with the rest of what is declared. A set with mistakes can be judged, so that all are told at once, and is
    /// never applied.
    pub mistakes: Vec<Mistake>,
    /// What the server knows, for objects that are no longer declared.
    pub kinds: Kinds,
    /// How many files they come from.
    pub files: usize,
}

impl DesiredSet {
    /// Puts together what the files declare; their mistakes become the set's.
    pub fn new(manifests: Manifests, kinds: Kinds) -> Self {
        let Manifests {
            objects: declared,
            mut mistakes,
            files,
        } = manifests;
        let mut objects: BTreeMap<ObjectKey, Desired> = BTreeMap::new();
        for mut declared in declared {
            let Some(kind) = kinds.get(declared.api_version(), declared.kind()) else {
                let (path, message) = kinds.unknown(declared.api_version(), declared.kind());
                mistakes.push(declared.mistake(path, message));
                continue;
            };
            let Some(key) = place(kind, &mut declared, &mut mistakes) else {
                continue;
            };
            if let Some(first) = objects.get(&key) {
                mistakes.push(declared.mistake(
                    "",
                    format!(
                        "is declared twice, first in {}; leave one out",
                        first.declared.place()
                    ),
                ));
                continue;
            }
            objects.insert(
                key,
                Desired {
                    declared,
                    kind: kind.clone(),
                },
            );
        }
        Self {
            objects,
            mistakes,
            kinds,
            files,
        }
    }
}

/// Fills the namespace in and names the object.
fn place(kind: &Kind, declared: &mut Declared, mistakes: &mut Vec<Mistake>) -> Option<ObjectKey> {
    let namespace = match (kind.namespaced, declared.namespace()) {
        (true, None | Some("")) => Some("default".to_owned()),
        (true, Some(namespace)) => Some(namespace.to_owned()),
        (false, None) => None,
        (false, Some(_)) => {
            let message = format!(
                "a {} belongs to no namespace; leave the field out",
                declared.kind()
            );
            mistakes.push(declared.mistake("metadata.namespace", message));
            return None;
        }
    };
    if let Some(namespace) = &namespace {
        declared.value["metadata"]["namespace"] = json!(namespace);
    }
    Some(ObjectKey::new(
        &kind.resource.group,
        declared.kind(),
        namespace.as_deref(),
        declared.name(),
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::Mistakes;

    fn set(files: &[(&str, &str)]) -> DesiredSet {
        let mut manifests = Manifests::default();
        for (file, text) in files {
            manifests.read(Path::new(file), text.as_bytes());
        }
        let kinds = Kinds::from([
            ("", "Namespace", "namespaces", false),
            ("", "ConfigMap", "configmaps", true),
            ("clos.dev", "Group", "groups", true),
            ("clos.dev", "Service", "services", true),
        ]);
        DesiredSet::new(manifests, kinds)
    }

    #[test]
    fn objects_come_in_the_order_of_applying_with_their_namespace_filled_in() {
        let text = "\
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: web }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: conf, namespace: shop }
---
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: { name: shop }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
";
        let set = set(&[("all.yaml", text)]);
        assert_eq!(set.mistakes, []);
        let keys: Vec<String> = set.objects.keys().map(ToString::to_string).collect();
        assert_eq!(
            keys,
            [
                "Namespace shop",
                "ConfigMap shop/conf",
                "Group default/shop",
                "Service default/web"
            ]
        );
    }

    #[test]
    fn i12_every_mistake_of_all_files_is_told_at_once_in_order() {
        let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: conf }\n";
        let wrong = "\
apiVersion: clos.dev/v1
kind: Service
metadata: { name: a }
---
apiVersion: clos.dev/v1alpha1
kind: Servise
metadata: { name: b }
---
apiVersion: clos.dev/v1alpha1
kind: service
metadata: { name: c }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: d }
---
apiVersion: v1
kind: Namespace
metadata:
  name: e
  namespace: f
";
        let set = set(&[
            ("b.yaml", twice),
            ("a.yaml", wrong),
            ("c.yaml", "a: [\n"),
            ("d.yml", twice),
        ]);
        insta::assert_snapshot!(Mistakes::new(set.mistakes).unwrap());
    }
}
