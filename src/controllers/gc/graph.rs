//! Who owns whom, from the metadata of every object: the garbage collector's memory. What follows from it is in `rules`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::pairs::Pairs;

/// Finalizer of an object whose dependents are deleted before it.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object whose dependents are set free before it goes.
pub(crate) const ORPHAN: &str = "orphan";

/// One object, by what matters here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Index of its resource in the collector's list.
    pub(crate) resource: usize,
    /// Its namespace; empty when it is cluster-scoped.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its version, for compare-and-set.
    pub(crate) resource_version: String,
    /// Whether it is being deleted.
    pub(crate) deleting: bool,
    /// Its finalizers.
    pub(crate) finalizers: Vec<String>,
    /// Its owners.
    pub(crate) owners: Vec<OwnerReference>,
}

/// Every object that is watched, by UID, and its dependents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    nodes: BTreeMap<String, Node>,
    dependents: Pairs<String, String>,
}

impl Node {
    /// A node and its UID; none when the metadata has no UID.
    pub(crate) fn read(resource: usize, meta: &ObjectMeta) -> Option<(String, Self)> {
        let node = Self {
            resource,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone()?,
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            owners: meta.owner_references.clone().unwrap_or_default(),
        };
        Some((meta.uid.clone()?, node))
    }

    /// Whether it waits for its dependents to be deleted.
    pub(crate) fn awaits_dependents(&self) -> bool {
        self.deleting
            && self
                .finalizers
                .iter()
                .any(|finalizer| finalizer == FOREGROUND)
    }

    /// Whether its dependents are to be set free.
    pub(crate) fn frees_dependents(&self) -> bool {
        self.deleting && self.finalizers.iter().any(|finalizer| finalizer == ORPHAN)
    }
}

impl Graph {
    /// Puts an object in, or its newer state.
    pub(crate) fn put(&mut self, uid: String, node: Node) {
        self.unlink(&uid);
        for owner in &node.owners {
            self.dependents.insert(owner.uid.clone(), uid.clone());
        }
        self.nodes.insert(uid, node);
    }

    /// Takes an object out.
    pub(crate) fn remove(&mut self, uid: &str) -> Option<Node> {
        self.unlink(uid);
        self.nodes.remove(uid)
    }

    /// An object.
    pub(crate) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The objects that name this UID as an owner, whether or not it exists.
    pub(crate) fn dependents(&self, uid: &str) -> impl Iterator<Item = (&String, &Node)> {
        let uids = self.dependents.of(uid.to_owned());
        uids.filter_map(|uid| self.nodes.get_key_value(uid))
    }

    /// All UIDs.
    pub(crate) fn uids(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }

    /// The UIDs of one resource's objects.
    pub(crate) fn of_resource(&self, resource: usize) -> BTreeSet<String> {
        let nodes = self
            .nodes
            .iter()
            .filter(|(_, node)| node.resource == resource);
        nodes.map(|(uid, _)| uid.clone()).collect()
    }

    fn unlink(&mut self, uid: &str) {
        let owners = self
            .nodes
            .get(uid)
            .map(|node| node.owners.clone())
            .unwrap_or_default();
        for owner in owners {
            self.dependents.remove(owner.uid, uid.to_owned());
        }
    }
}
