//! How many passes over each object found nothing to do: counted in memory, carried by the
//! object's next event.

use std::collections::BTreeMap;

use crate::object::ObjectRef;

/// Beyond this many objects, passes are counted for their whole kind.
const MAX_OBJECTS: usize = 20_000;

#[derive(Debug, Default)]
pub(crate) struct Idle {
    passes: BTreeMap<ObjectRef, Passes>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Passes {
    pub(crate) count: u64,
    /// Who made the last of them.
    pub(crate) actor: String,
}

impl Idle {
    pub(crate) fn count(&mut self, actor: &str, object: &ObjectRef) {
        let whole = object.whole();
        let known = self.passes.contains_key(&whole) || self.passes.len() < MAX_OBJECTS;
        let object = if known { whole } else { object.collection() };
        let passes = self.passes.entry(object).or_insert_with(|| Passes {
            count: 0,
            actor: actor.to_owned(),
        });
        passes.count += 1;
        if passes.actor != actor {
            actor.clone_into(&mut passes.actor);
        }
    }

    /// The passes since the object's last event; counting starts anew.
    pub(crate) fn take(&mut self, object: &ObjectRef) -> u64 {
        if self.passes.is_empty() {
            return 0;
        }
        self.passes
            .remove(&object.whole())
            .map_or(0, |passes| passes.count)
    }

    /// All objects that have a count; the counts stay until they are taken.
    pub(crate) fn pending(&self) -> Vec<(ObjectRef, String)> {
        self.passes
            .iter()
            .map(|(object, passes)| (object.clone(), passes.actor.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Idle, MAX_OBJECTS};
    use crate::object::ObjectRef;

    fn instance(name: &str) -> ObjectRef {
        ObjectRef::new("clos.dev", "v1alpha1", "Instance")
            .in_namespace("default")
            .named(name)
    }

    #[test]
    fn passes_are_counted_per_object_whatever_the_subresource() {
        let mut idle = Idle::default();
        idle.count("controller:a", &instance("web"));
        idle.count("controller:b", &instance("web").subresource("status"));
        idle.count("controller:a", &instance("db"));
        assert_eq!(idle.pending().len(), 2);
        assert_eq!(idle.pending()[1].1, "controller:b");
        assert_eq!(idle.take(&instance("web").subresource("scale")), 2);
        assert_eq!(idle.take(&instance("web")), 0);
        assert_eq!(idle.take(&instance("db")), 1);
    }

    #[test]
    fn memory_is_bounded_and_no_pass_is_lost() {
        let mut idle = Idle::default();
        let total = MAX_OBJECTS + 500;
        for number in 0..total {
            idle.count("controller:a", &instance(&format!("web-{number}")));
        }
        idle.count("controller:a", &instance("web-0"));
        assert_eq!(idle.pending().len(), MAX_OBJECTS + 1);
        assert_eq!(idle.take(&instance("web-0")), 2);
        let kind = ObjectRef::new("clos.dev", "v1alpha1", "Instance");
        assert_eq!(idle.take(&kind), 500);
    }
}
