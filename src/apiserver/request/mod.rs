//! What a request asks for, read from its method, path and query alone: which resource, which verb, which options.
//! Not here: whether it is allowed (`filters`), what its body says (`body`) and what is done (`verbs`).

pub(crate) mod body;
pub(crate) mod media;
pub(crate) mod query;

use http::Method;

/// What is to be done with a resource, in the words of Kubernetes' authorisation attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    /// Read one object.
    Get,
    /// Read many objects.
    List,
    /// Follow the changes of one or many objects.
    Watch,
    /// Make a new object.
    Create,
    /// Replace an object.
    Update,
    /// Change parts of an object.
    Patch,
    /// Remove one object.
    Delete,
    /// Remove every object that a selector names.
    DeleteCollection,
}

impl Verb {
    /// The word that discovery, authorisation and audit use.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// A request below `/api/v1` or `/apis/G/V` that names a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceRequest {
    /// What is to be done.
    pub(crate) verb: Verb,
    /// The API group; empty for the core group.
    pub(crate) group: String,
    /// The version within the group.
    pub(crate) version: String,
    /// The namespace of the path, if it has one.
    pub(crate) namespace: Option<String>,
    /// The plural of the kind.
    pub(crate) resource: String,
    /// The object's name; absent for collections.
    pub(crate) name: Option<String>,
    /// The part of the object, as `status`.
    pub(crate) subresource: Option<String>,
}

/// What a path addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestInfo {
    /// A resource of the API.
    Resource(ResourceRequest),
    /// Everything else: health, discovery, schemas, metrics.
    NonResource,
}

impl RequestInfo {
    /// Reads method, path and query. `None` means that the method has no meaning on a resource.
    pub(crate) fn parse(method: &Method, path: &str, query: &query::Query) -> Option<Self> {
        let mut segments = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(query::decode);
        let (group, version) = match segments.next().as_deref() {
            Some("api") => (String::new(), segments.next()),
            Some("apis") => match segments.next() {
                Some(group) => (group, segments.next()),
                None => return Some(Self::NonResource),
            },
            _ => return Some(Self::NonResource),
        };
        let Some(version) = version else {
            return Some(Self::NonResource);
        };
        let parts: Vec<String> = segments.collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (namespace, resource, name, subresource) = match parts.as_slice() {
            // A namespace is itself a resource: `namespaces/x` and its subresources are not "things in x".
            ["namespaces"] => (None, "namespaces", None, None),
            ["namespaces", name] => (None, "namespaces", Some(*name), None),
            ["namespaces", name, part @ ("status" | "finalize")] => {
                (None, "namespaces", Some(*name), Some(*part))
            }
            ["namespaces", namespace, resource] => (Some(*namespace), *resource, None, None),
            ["namespaces", namespace, resource, name] => {
                (Some(*namespace), *resource, Some(*name), None)
            }
            ["namespaces", namespace, resource, name, part] => {
                (Some(*namespace), *resource, Some(*name), Some(*part))
            }
            [resource] => (None, *resource, None, None),
            [resource, name] => (None, *resource, Some(*name), None),
            [resource, name, part] => (None, *resource, Some(*name), Some(*part)),
            _ => return Some(Self::NonResource),
        };
        let watching = query.is_true("watch");
        let verb = match (method.as_str(), name.is_some()) {
            ("GET" | "HEAD", _) if watching => Verb::Watch,
            ("GET" | "HEAD", true) => Verb::Get,
            ("GET" | "HEAD", false) => Verb::List,
            ("POST", _) => Verb::Create,
            ("PUT", _) => Verb::Update,
            ("PATCH", _) => Verb::Patch,
            ("DELETE", true) => Verb::Delete,
            ("DELETE", false) => Verb::DeleteCollection,
            _ => return None,
        };
        Some(Self::Resource(ResourceRequest {
            verb,
            group,
            version,
            namespace: namespace.map(ToOwned::to_owned),
            resource: resource.to_owned(),
            name: name.map(ToOwned::to_owned),
            subresource: subresource.map(ToOwned::to_owned),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, path: &str, query: &str) -> Option<RequestInfo> {
        RequestInfo::parse(&method.parse().unwrap(), path, &query::Query::parse(query))
    }

    fn words(method: &str, path: &str, query: &str) -> String {
        match parse(method, path, query) {
            None => "no such method".to_owned(),
            Some(RequestInfo::NonResource) => "not a resource".to_owned(),
            Some(RequestInfo::Resource(r)) => format!(
                "{} {}/{} ns={} {} name={} sub={}",
                r.verb.as_str(),
                r.group,
                r.version,
                r.namespace.as_deref().unwrap_or("-"),
                r.resource,
                r.name.as_deref().unwrap_or("-"),
                r.subresource.as_deref().unwrap_or("-")
            ),
        }
    }

    #[test]
    fn a_path_names_group_version_namespace_resource_name_and_subresource() {
        let cases = [
            (
                "GET",
                "/api/v1/namespaces",
                "",
                "list /v1 ns=- namespaces name=- sub=-",
            ),
            (
                "GET",
                "/api/v1/namespaces/a",
                "",
                "get /v1 ns=- namespaces name=a sub=-",
            ),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                "",
                "update /v1 ns=- namespaces name=a sub=finalize",
            ),
            (
                "GET",
                "/api/v1/namespaces/a/secrets",
                "",
                "list /v1 ns=a secrets name=- sub=-",
            ),
            (
                "GET",
                "/api/v1/secrets",
                "watch=1",
                "watch /v1 ns=- secrets name=- sub=-",
            ),
            (
                "GET",
                "/api/v1/secrets",
                "watch=false",
                "list /v1 ns=- secrets name=- sub=-",
            ),
            (
                "PATCH",
                "/apis/clos.dev/v1alpha1/namespaces/a/services/web/status",
                "",
                "patch clos.dev/v1alpha1 ns=a services name=web sub=status",
            ),
            (
                "DELETE",
                "/apis/clos.dev/v1alpha1/namespaces/a/services",
                "",
                "deletecollection clos.dev/v1alpha1 ns=a services name=- sub=-",
            ),
            (
                "DELETE",
                "/apis/clos.dev/v1alpha1/hosts/h",
                "",
                "delete clos.dev/v1alpha1 ns=- hosts name=h sub=-",
            ),
            ("GET", "/apis/clos.dev/v1alpha1", "", "not a resource"),
            ("GET", "/apis", "", "not a resource"),
            ("GET", "/healthz", "", "not a resource"),
            ("OPTIONS", "/api/v1/secrets", "", "no such method"),
        ];
        for (method, path, query, expected) in cases {
            assert_eq!(
                words(method, path, query),
                expected,
                "{method} {path}?{query}"
            );
        }
    }
}
