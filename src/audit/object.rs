//! What an event is about: an API object or a URL, as fields and as one line of text. What
//! happened to it is in `event`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longer than any name the API accepts; a denied request may ask for anything.
const MAX_PART: usize = 253;
const MAX_PATH: usize = 1024;

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Object {
    /// An API object, or a collection of them.
    Resource(ObjectRef),
    /// Any other URL, such as `/metrics`; it begins with a slash.
    Path(String),
}

/// An API object by its name, or a collection when it has none.
///
/// Its text is `clos.dev/v1alpha1 Instance default/web-0`; a subresource follows the kind
/// (`Service/scale`), a collection ends after the kind or with `default/`. Spaces, slashes, `%`
/// and control characters within a part are percent-encoded, so the text is one line and reads
/// back as the same object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    group: String,
    version: String,
    kind: String,
    subresource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

/// A text is not that of an object.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} names no object; expected \"group/version Kind namespace/name\" or a path")]
pub struct ParseObjectError {
    /// The text.
    pub text: String,
}

impl ObjectRef {
    /// A whole collection across all namespaces. `group` is empty for the core group; `kind` is
    /// the kind, or the resource's plural where the request named one that does not exist.
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: shortened(group, MAX_PART),
            version: shortened(version, MAX_PART),
            kind: shortened(kind, MAX_PART),
            subresource: None,
            namespace: None,
            name: None,
        }
    }

    /// The same within `namespace`; an empty one means none.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = part(namespace);
        self
    }

    /// The one object called `name`; an empty one means the whole collection.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = part(name);
        self
    }

    /// Its subresource, such as `status`; an empty one means the object itself.
    #[must_use]
    pub fn subresource(mut self, subresource: &str) -> Self {
        self.subresource = part(subresource);
        self
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// None for cluster-scoped objects and for all namespaces.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// None for a collection.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether `other` is this object, or one of this collection, in whatever version and
    /// subresource.
    pub fn covers(&self, other: &Self) -> bool {
        let narrows =
            |ours: &Option<String>, theirs: &Option<String>| ours.is_none() || ours == theirs;
        self.group == other.group
            && self.kind == other.kind
            && narrows(&self.namespace, &other.namespace)
            && narrows(&self.name, &other.name)
    }

    /// The object itself, without a subresource.
    pub(crate) fn whole(&self) -> Self {
        Self {
            subresource: None,
            ..self.clone()
        }
    }

    /// All objects of its kind.
    pub(crate) fn collection(&self) -> Self {
        Self {
            namespace: None,
            name: None,
            ..self.whole()
        }
    }
}

impl Object {
    /// A URL that is no resource. A missing slash is put before it; more than 1024 characters are
    /// cut.
    pub fn path(path: &str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        Self::Path(format!("/{}", shortened(path, MAX_PATH - 1)))
    }
}

impl From<ObjectRef> for Object {
    fn from(object: ObjectRef) -> Self {
        Self::Resource(object)
    }
}

impl From<Object> for String {
    fn from(object: Object) -> Self {
        object.to_string()
    }
}

impl TryFrom<String> for Object {
    type Error = ParseObjectError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(object) => object.fmt(f),
            Self::Path(path) => Escaped(path, &[]).fmt(f),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |part| Escaped(part, &['/']);
        if !self.group.is_empty() {
            write!(f, "{}/", escaped(&self.group))?;
        }
        write!(f, "{} {}", escaped(&self.version), escaped(&self.kind))?;
        if let Some(subresource) = &self.subresource {
            write!(f, "/{}", escaped(subresource))?;
        }
        match (&self.namespace, &self.name) {
            (None, None) => Ok(()),
            (None, Some(name)) => write!(f, " {}", escaped(name)),
            (Some(namespace), None) => write!(f, " {}/", escaped(namespace)),
            (Some(namespace), Some(name)) => {
                write!(f, " {}/{}", escaped(namespace), escaped(name))
            }
        }
    }
}

impl FromStr for Object {
    type Err = ParseObjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = if text.starts_with('/') {
            unescaped(text).map(Self::Path)
        } else {
            parse(text).map(Self::Resource)
        };
        parsed.ok_or_else(|| ParseObjectError {
            text: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<ObjectRef> {
    let mut words = text.split(' ');
    let api_version = words.next()?;
    let kind = words.next()?;
    let name = words.next();
    if words.next().is_some() {
        return None;
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let (kind, subresource) = kind.split_once('/').unwrap_or((kind, ""));
    let (namespace, name) = match name {
        None => ("", ""),
        Some(name) => name.split_once('/').unwrap_or(("", name)),
    };
    Some(ObjectRef {
        group: unescaped(group)?,
        version: unescaped(version)?,
        kind: unescaped(kind)?,
        subresource: part(&unescaped(subresource)?),
        namespace: part(&unescaped(namespace)?),
        name: part(&unescaped(name)?),
    })
}

fn part(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| shortened(text, MAX_PART))
}

fn shortened(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// Text with everything percent-encoded that could end a part or a line.
struct Escaped<'a>(&'a str, &'static [char]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;

        for character in self.0.chars() {
            let special = character == '%'
                || character.is_whitespace()
                || character.is_control()
                || self.1.contains(&character);
            if special {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    write!(f, "%{byte:02X}")?;
                }
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Object, ObjectRef};

    fn instance() -> ObjectRef {
        ObjectRef::new("clos.dev", "v1alpha1", "Instance")
    }

    #[test]
    fn an_object_prints_as_people_name_it() {
        for (object, text) in [
            (
                instance().in_namespace("default").named("web-0").into(),
                "clos.dev/v1alpha1 Instance default/web-0",
            ),
            (
                ObjectRef::new("clos.dev", "v1alpha1", "Host")
                    .named("edge-1")
                    .into(),
                "clos.dev/v1alpha1 Host edge-1",
            ),
            (
                ObjectRef::new("", "v1", "Secret")
                    .in_namespace("shop")
                    .into(),
                "v1 Secret shop/",
            ),
            (ObjectRef::new("", "v1", "Node").into(), "v1 Node"),
            (
                ObjectRef::new("clos.dev", "v1alpha1", "Service")
                    .subresource("scale")
                    .in_namespace("shop")
                    .named("web")
                    .into(),
                "clos.dev/v1alpha1 Service/scale shop/web",
            ),
            (Object::path("/metrics"), "/metrics"),
            (Object::path("a b\n%"), "/a%20b%0A%25"),
            (
                ObjectRef::new("", "v1", "Pod")
                    .in_namespace("a/b")
                    .named("c d\u{2028}")
                    .into(),
                "v1 Pod a%2Fb/c%20d%E2%80%A8",
            ),
        ] {
            let object: Object = object;
            assert_eq!(object.to_string(), text);
            assert_eq!(text.parse::<Object>().unwrap(), object);
        }
    }

    #[test]
    fn a_text_that_names_no_object_is_refused() {
        for text in [
            "",
            "v1",
            "v1 Pod a b",
            "v1 Pod %",
            "v1 Pod %zz",
            "v1 Pod %FF",
            "/%F",
        ] {
            let error = text.parse::<Object>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_collection_covers_its_objects_in_any_version_and_subresource() {
        let web = instance().in_namespace("default").named("web-0");
        let status = ObjectRef::new("clos.dev", "v1", "Instance")
            .in_namespace("default")
            .named("web-0")
            .subresource("status");
        for (wide, covered) in [
            (instance(), true),
            (instance().in_namespace("default"), true),
            (instance().named("web-0"), true),
            (web.clone(), true),
            (instance().in_namespace("shop"), false),
            (instance().in_namespace("default").named("web-1"), false),
            (ObjectRef::new("clos.dev", "v1alpha1", "Service"), false),
            (ObjectRef::new("", "v1alpha1", "Instance"), false),
        ] {
            assert_eq!(wide.covers(&web), covered, "{wide}");
            assert_eq!(wide.covers(&status), covered, "{wide}");
        }
        assert!(!web.covers(&instance()), "an object is no collection");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_object_reads_back_from_its_one_line(
            group in ".*", version in ".*", kind in ".*", sub in ".*", namespace in ".*", name in ".*", path in ".*"
        ) {
            let object = ObjectRef::new(&group, &version, &kind)
                .subresource(&sub)
                .in_namespace(&namespace)
                .named(&name);
            for object in [Object::from(object), Object::path(&path)] {
                let text = object.to_string();
                prop_assert!(!text.chars().any(char::is_control), "{text:?}");
                let back: Object = text.parse().unwrap();
                prop_assert_eq!(back, object);
            }
        }
    }
}
