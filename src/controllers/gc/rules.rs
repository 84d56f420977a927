//! What is to be done about one object, by the rules of Kubernetes' garbage collector. Pure: whether an owner that is not in the graph
//! really does not exist was asked before.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::graph::{FOREGROUND, Graph, ORPHAN};

/// One call to the API about one object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Delete it, in the way its finalizers ask for, or in the background.
    Delete {
        /// Its UID.
        uid: String,
        /// Whether its own dependents go first.
        foreground: bool,
    },
    /// Put these owners in place of the ones it has.
    SetOwners {
        /// Its UID.
        uid: String,
        /// The owners that stay.
        owners: Vec<OwnerReference>,
    },
    /// Take one of the collector's finalizers away.
    DropFinalizer {
        /// Its UID.
        uid: String,
        /// Which.
        finalizer: &'static str,
    },
}

/// What follows for the object `uid`. `absent` are the owners known not to exist; an owner that is neither in the graph nor there
/// counts as alive.
pub(crate) fn judge(graph: &Graph, uid: &str, absent: &BTreeSet<String>) -> Vec<Verdict> {
    let Some(node) = graph.get(uid) else {
        return Vec::new();
    };
    if node.frees_dependents() {
        return free_dependents(graph, uid);
    }
    if node.awaits_dependents() {
        return delete_dependents(graph, uid);
    }
    if node.deleting || node.owners.is_empty() {
        return Vec::new();
    }
    let waits = |owner: &OwnerReference| {
        graph
            .get(&owner.uid)
            .is_some_and(super::graph::Node::awaits_dependents)
    };
    let (gone, living): (Vec<_>, Vec<_>) = node
        .owners
        .iter()
        .cloned()
        .partition(|owner| absent.contains(&owner.uid));
    let (waiting, solid): (Vec<_>, Vec<_>) = living.into_iter().partition(waits);
    if !solid.is_empty() {
        let unchanged = gone.is_empty() && waiting.is_empty();
        return if unchanged {
            Vec::new()
        } else {
            vec![Verdict::SetOwners {
                uid: uid.to_owned(),
                owners: solid,
            }]
        };
    }
    let has_dependents = graph.dependents(uid).next().is_some();
    vec![Verdict::Delete {
        uid: uid.to_owned(),
        foreground: !waiting.is_empty() && has_dependents,
    }]
}

/// The owners of `uid` that are not in the graph, or only in another namespace: whoever decides must ask for them first.
pub(crate) fn doubtful_owners(graph: &Graph, uid: &str) -> Vec<OwnerReference> {
    let Some(node) = graph.get(uid) else {
        return Vec::new();
    };
    let reachable = |owner: &OwnerReference| {
        graph
            .get(&owner.uid)
            .is_some_and(|found| found.namespace.is_empty() || found.namespace == node.namespace)
    };
    node.owners
        .iter()
        .filter(|owner| !reachable(owner))
        .cloned()
        .collect()
}

fn free_dependents(graph: &Graph, uid: &str) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = graph
        .dependents(uid)
        .map(|(dependent, node)| {
            let owners = node
                .owners
                .iter()
                .filter(|owner| owner.uid != uid)
                .cloned()
                .collect();
            Verdict::SetOwners {
                uid: dependent.clone(),
                owners,
            }
        })
        .collect();
    // The finalizer goes only when a later look finds nobody left to free: a failed patch must not lose a dependent.
    if verdicts.is_empty() {
        verdicts.push(Verdict::DropFinalizer {
            uid: uid.to_owned(),
            finalizer: ORPHAN,
        });
    }
    verdicts
}

fn delete_dependents(graph: &Graph, uid: &str) -> Vec<Verdict> {
    let blocks = |owners: &[OwnerReference]| {
        owners
            .iter()
            .any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
    };
    let mut verdicts = Vec::new();
    let mut blocked = false;
    for (dependent, node) in graph.dependents(uid) {
        let others = node.owners.iter().any(|owner| {
            owner.uid != uid
                && graph
                    .get(&owner.uid)
                    .is_some_and(|other| !other.awaits_dependents())
        });
        // Two objects that wait for each other would wait for ever: the one that was to be deleted first is let go.
        let circular = node.awaits_dependents() && depends_on(graph, uid, dependent);
        blocked |= blocks(&node.owners) && !circular;
        if node.deleting {
            continue;
        }
        if others {
            let owners = node
                .owners
                .iter()
                .filter(|owner| owner.uid != uid)
                .cloned()
                .collect();
            verdicts.push(Verdict::SetOwners {
                uid: dependent.clone(),
                owners,
            });
        } else {
            let foreground = graph.dependents(dependent).next().is_some();
            verdicts.push(Verdict::Delete {
                uid: dependent.clone(),
                foreground,
            });
        }
    }
    if !blocked {
        verdicts.push(Verdict::DropFinalizer {
            uid: uid.to_owned(),
            finalizer: FOREGROUND,
        });
    }
    verdicts
}

/// Whether `uid` has `owner` among the owners of its owners, however far up.
fn depends_on(graph: &Graph, uid: &str, owner: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![uid];
    while let Some(uid) = next.pop() {
        if !seen.insert(uid) {
            continue;
        }
        for reference in graph
            .get(uid)
            .map(|node| node.owners.as_slice())
            .unwrap_or_default()
        {
            if reference.uid == owner {
                return true;
            }
            next.push(&reference.uid);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::graph::Node;
    use super::*;

    struct Object(Node);

    fn object(name: &str) -> Object {
        Object(Node {
            resource: 0,
            namespace: "default".to_owned(),
            name: name.to_owned(),
            resource_version: "1".to_owned(),
            deleting: false,
            finalizers: Vec::new(),
            owners: Vec::new(),
        })
    }

    impl Object {
        fn owned_by(mut self, uid: &str, blocking: bool) -> Self {
            let block_owner_deletion = Some(blocking);
            self.0.owners.push(OwnerReference {
                uid: uid.to_owned(),
                block_owner_deletion,
                ..OwnerReference::default()
            });
            self
        }

        fn deleting(mut self, finalizer: Option<&str>) -> Self {
            self.0.deleting = true;
            self.0.finalizers.extend(finalizer.map(str::to_owned));
            self
        }
    }

    fn graph(objects: Vec<Object>) -> Graph {
        let mut graph = Graph::default();
        for Object(node) in objects {
            graph.put(node.name.clone(), node);
        }
        graph
    }

    /// The verdicts, one short line each.
    fn judged(graph: &Graph, uid: &str, absent: &[&str]) -> Vec<String> {
        let absent = absent.iter().map(|&uid| uid.to_owned()).collect();
        let lines = judge(graph, uid, &absent)
            .into_iter()
            .map(|verdict| match verdict {
                Verdict::Delete {
                    uid,
                    foreground: true,
                } => format!("delete {uid} in the foreground"),
                Verdict::Delete {
                    uid,
                    foreground: false,
                } => format!("delete {uid}"),
                Verdict::SetOwners { uid, owners } => {
                    let owners: Vec<&str> = owners.iter().map(|owner| owner.uid.as_str()).collect();
                    format!("{uid} owned by [{}]", owners.join(" "))
                }
                Verdict::DropFinalizer { uid, finalizer } => format!("{uid} without {finalizer}"),
            });
        lines.collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn an_object_without_owners_is_left_alone() {
        assert_eq!(judged(&graph(vec![object("a")]), "a", &[]), NOTHING);
    }

    #[test]
    fn an_object_whose_owners_are_all_gone_is_deleted() {
        let graph = graph(vec![object("a").owned_by("x", true).owned_by("y", true)]);
        assert_eq!(judged(&graph, "a", &["x", "y"]), ["delete a"]);
    }

    #[test]
    fn an_owner_nobody_asked_for_counts_as_alive() {
        let graph = graph(vec![object("a").owned_by("x", true)]);
        assert_eq!(judged(&graph, "a", &[]), NOTHING);
        assert_eq!(doubtful_owners(&graph, "a")[0].uid, "x");
    }

    #[test]
    fn an_object_with_another_living_owner_only_loses_the_reference() {
        let graph = graph(vec![
            object("o"),
            object("a").owned_by("x", true).owned_by("o", true),
        ]);
        assert_eq!(judged(&graph, "a", &["x"]), ["a owned by [o]"]);
    }

    #[test]
    fn foreground_deletes_the_dependents_and_waits_for_the_blocking_ones() {
        let blocking = graph(vec![
            object("o").deleting(Some(FOREGROUND)),
            object("a").owned_by("o", true),
        ]);
        assert_eq!(judged(&blocking, "o", &[]), ["delete a"]);
        assert_eq!(judged(&blocking, "a", &[]), ["delete a"]);
        let going = graph(vec![
            object("o").deleting(Some(FOREGROUND)),
            object("a").owned_by("o", true).deleting(Some("x/y")),
        ]);
        assert_eq!(judged(&going, "o", &[]), NOTHING);
        let gone = graph(vec![object("o").deleting(Some(FOREGROUND))]);
        assert_eq!(judged(&gone, "o", &[]), ["o without foregroundDeletion"]);
    }

    #[test]
    fn foreground_does_not_wait_for_dependents_that_do_not_block() {
        let graph = graph(vec![
            object("o").deleting(Some(FOREGROUND)),
            object("a").owned_by("o", false),
        ]);
        assert_eq!(
            judged(&graph, "o", &[]),
            ["delete a", "o without foregroundDeletion"]
        );
    }

    #[test]
    fn foreground_goes_on_below_dependents_that_have_their_own() {
        let graph = graph(vec![
            object("o").deleting(Some(FOREGROUND)),
            object("a").owned_by("o", true),
            object("b").owned_by("a", true),
        ]);
        assert_eq!(judged(&graph, "o", &[]), ["delete a in the foreground"]);
    }

    #[test]
    fn foreground_frees_a_dependent_that_has_another_living_owner() {
        let graph = graph(vec![
            object("o").deleting(Some(FOREGROUND)),
            object("p"),
            object("a").owned_by("o", true).owned_by("p", true),
        ]);
        assert_eq!(judged(&graph, "o", &[]), ["a owned by [p]"]);
        assert_eq!(judged(&graph, "a", &[]), ["a owned by [p]"]);
    }

    #[test]
    fn orphaning_frees_every_dependent_before_the_owner_goes() {
        let before = graph(vec![
            object("o").deleting(Some(ORPHAN)),
            object("a").owned_by("o", true),
            object("b").owned_by("o", false),
        ]);
        assert_eq!(
            judged(&before, "o", &[]),
            ["a owned by []", "b owned by []"]
        );
        let after = graph(vec![
            object("o").deleting(Some(ORPHAN)),
            object("a"),
            object("b"),
        ]);
        assert_eq!(judged(&after, "o", &[]), ["o without orphan"]);
    }

    #[test]
    fn two_objects_that_own_each_other_do_not_block_each_other() {
        let graph = graph(vec![
            object("a").owned_by("b", true).deleting(Some(FOREGROUND)),
            object("b").owned_by("a", true).deleting(Some(FOREGROUND)),
        ]);
        assert_eq!(judged(&graph, "a", &[]), ["a without foregroundDeletion"]);
        assert_eq!(judged(&graph, "b", &[]), ["b without foregroundDeletion"]);
    }

    #[test]
    fn an_object_that_owns_itself_does_not_block_itself() {
        let graph = graph(vec![
            object("a").owned_by("a", true).deleting(Some(FOREGROUND)),
        ]);
        assert_eq!(judged(&graph, "a", &[]), ["a without foregroundDeletion"]);
    }

    #[test]
    fn an_object_that_is_being_deleted_is_not_deleted_again() {
        let graph = graph(vec![
            object("a")
                .owned_by("x", true)
                .deleting(Some("clos.dev/container")),
        ]);
        assert_eq!(judged(&graph, "a", &["x"]), NOTHING);
    }
}
