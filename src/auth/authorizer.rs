//! What an identity may do, decided from values alone. Reading roles and answering over HTTP are
//! not here.

use std::fmt;

use crate::identity::{Identity, Method};

/// The group that may do everything, as in Kubernetes.
const ADMINISTRATORS: &str = "system:masters";

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for a
    /// path the HTTP method in lower case.
    pub verb: &'a str,
    /// What it would be done to.
    pub target: Target<'a>,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// An API resource.
    Resource {
        /// The API group; empty for the core group.
        group: &'a str,
        /// The plural name, such as `services`.
        resource: &'a str,
        /// Such as `status` or `scale`.
        subresource: Option<&'a str>,
        /// None for cluster-scoped resources and for requests across all namespaces.
        namespace: Option<&'a str>,
        /// None for requests about a whole collection.
        name: Option<&'a str>,
    },
    /// Any other URL, such as `/metrics`.
    Path(&'a str),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// Answer 403.
    Deny {
        /// A sentence in Kubernetes' own words, without a full stop.
        reason: String,
    },
}

/// Decides whether `identity` may do what `attributes` say: administrators (group
/// `system:masters`) and clos' own parts may do everything, everybody else nothing.
pub fn authorize(identity: &Identity, attributes: &Attributes<'_>) -> Decision {
    // Only the method makes a component: its name and group could stand in a certificate, too.
    let allowed = identity.method == Method::Component || identity.groups.contains(ADMINISTRATORS);
    if allowed {
        Decision::Allow
    } else {
        Decision::Deny {
            reason: format!("User \"{}\" cannot {attributes}", identity.user),
        }
    }
}

/// The part of a denial after "cannot".
impl fmt::Display for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.verb;
        match self.target {
            Target::Path(path) => write!(f, "{verb} path \"{path}\""),
            Target::Resource {
                group,
                resource,
                subresource,
                namespace,
                name: _,
            } => {
                write!(f, "{verb} resource \"{resource}")?;
                if let Some(subresource) = subresource {
                    write!(f, "/{subresource}")?;
                }
                write!(f, "\" in API group \"{group}\" ")?;
                match namespace {
                    Some(namespace) => write!(f, "in the namespace \"{namespace}\""),
                    None => f.write_str("at the cluster scope"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Attributes, Decision, Target, authorize};
    use crate::identity::{Identity, Method};

    const GET_SERVICE: Attributes<'_> = Attributes {
        verb: "get",
        target: Target::Resource {
            group: "clos.dev",
            resource: "services",
            subresource: None,
            namespace: Some("default"),
            name: Some("web"),
        },
    };

    fn user(name: &str, groups: &[&str]) -> Identity {
        Identity {
            user: name.to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            method: Method::ClientCertificate,
        }
    }

    fn denial(attributes: &Attributes<'_>) -> String {
        match authorize(&user("x", &["developers"]), attributes) {
            Decision::Deny { reason } => reason,
            Decision::Allow => panic!("allowed: {attributes}"),
        }
    }

    #[test]
    fn administrators_and_components_may_do_everything() {
        let path = Attributes {
            verb: "get",
            target: Target::Path("/metrics"),
        };
        for identity in [
            user("admin", &["system:masters"]),
            user("jane", &["developers", "system:masters"]),
            Identity::component("controller:service"),
        ] {
            for attributes in [GET_SERVICE, path] {
                assert_eq!(authorize(&identity, &attributes), Decision::Allow);
            }
        }
    }

    #[test]
    fn names_that_only_sound_powerful_are_denied() {
        for identity in [
            user("admin", &[]),
            user("system:masters", &["system:clos"]),
            user("controller:service", &["system:masters "]),
            user("x", &["System:Masters"]),
        ] {
            let decision = authorize(&identity, &GET_SERVICE);
            assert!(
                matches!(decision, Decision::Deny { .. }),
                "{identity}: {decision:?}"
            );
        }
        assert_eq!(user("x", &[]).groups, BTreeSet::new());
    }

    #[test]
    fn a_denial_reads_as_in_kubernetes() {
        assert_eq!(
            denial(&GET_SERVICE),
            r#"User "x" cannot get resource "services" in API group "clos.dev" in the namespace "default""#
        );
        let list_all = Attributes {
            verb: "list",
            target: Target::Resource {
                group: "",
                resource: "secrets",
                subresource: None,
                namespace: None,
                name: None,
            },
        };
        assert_eq!(
            denial(&list_all),
            r#"User "x" cannot list resource "secrets" in API group "" at the cluster scope"#
        );
        let scale = Attributes {
            verb: "patch",
            target: Target::Resource {
                group: "clos.dev",
                resource: "services",
                subresource: Some("scale"),
                namespace: Some("shop"),
                name: Some("web"),
            },
        };
        assert_eq!(
            denial(&scale),
            r#"User "x" cannot patch resource "services/scale" in API group "clos.dev" in the namespace "shop""#
        );
        let path = Attributes {
            verb: "get",
            target: Target::Path("/metrics"),
        };
        assert_eq!(denial(&path), r#"User "x" cannot get path "/metrics""#);
    }
}
