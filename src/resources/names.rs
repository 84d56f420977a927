//! Every label, annotation and derived name, each in one place.

use crate::container::Protocol;

/// Label on containers, networks and volumes: the installation that made them. Without it nothing is ours.
pub const LABEL_INSTALLATION: &str = "clos.dev/installation";
/// Label on containers: the UID of the Instance they belong to.
pub const LABEL_INSTANCE_UID: &str = "clos.dev/instance-uid";
/// Label on containers, networks and volumes: the namespace.
pub const LABEL_NAMESPACE: &str = "clos.dev/namespace";
/// Label on containers: the Instance's name.
pub const LABEL_INSTANCE: &str = "clos.dev/instance";
/// Label on containers and Instances: the Service's name.
pub const LABEL_SERVICE: &str = "clos.dev/service";
/// Label on containers, networks and Instances: the Group's name.
pub const LABEL_GROUP: &str = "clos.dev/group";
/// Label on containers: the revision of the declaration they were made from.
pub const LABEL_REVISION: &str = "clos.dev/revision";
/// Label on containers: the digest of everything they were made with, resolved values included.
pub const LABEL_SPEC_DIGEST: &str = "clos.dev/spec-digest";
/// Label on volumes: the volume's name as declared.
pub const LABEL_VOLUME: &str = "clos.dev/volume";
/// Label on objects that a source applied: the source's name.
pub const LABEL_SOURCE: &str = "clos.dev/source";

/// Annotation on a Service or Group: restart everything that was started before this time.
pub const ANNOTATION_RESTARTED_AT: &str = "clos.dev/restarted-at";
/// Annotation on a Host or on a source's inventory: the token of the held back removals that a person has confirmed.
pub const ANNOTATION_CONFIRMED_REMOVALS: &str = "clos.dev/confirmed-removals";

/// Finalizer on Instances: their container is removed first.
pub const FINALIZER_CONTAINER: &str = "clos.dev/container";
/// Finalizer on Groups: their network is removed first.
pub const FINALIZER_NETWORK: &str = "clos.dev/network";

/// The namespace of clos's own objects.
pub const SYSTEM_NAMESPACE: &str = "clos-system";

/// The name of a service's replica.
pub fn instance(service: &str, ordinal: u32) -> String {
    format!("{service}-{ordinal}")
}

/// The container's name of an instance. No Kubernetes name holds `_`, so two instances never share one.
pub fn container(namespace: &str, instance: &str) -> String {
    format!("clos_{namespace}_{instance}")
}

/// The name of a group's network.
pub fn network(namespace: &str, group: &str) -> String {
    format!("clos_{namespace}_{group}")
}

/// The host's name of a declared volume.
pub fn volume(namespace: &str, volume: &str) -> String {
    format!("clos_{namespace}_{volume}")
}

/// The name of the Port object for one port of one host.
pub fn port(host: &str, protocol: Protocol, port: u16) -> String {
    format!("{host}-{}-{port}", protocol.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_instances_never_share_a_container_name(
            a in "[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?", b in "[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?",
            c in "[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?", d in "[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?",
        ) {
            prop_assert_eq!(container(&a, &b) == container(&c, &d), (a, b) == (c, d));
        }
    }
}
