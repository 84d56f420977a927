//! Dependencies among the services of a group that can never be met: circles. Whether one is met is not here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Each service, by name, with those it depends on.
pub type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Services that depend on themselves, by name, with a sentence for users in which the circle is written out. Services that merely
/// depend on one of these are not in it. Every service that another one depends on must have an entry.
pub fn cycles(graph: Graph<'_>) -> BTreeMap<String, String> {
    let graph = without_ends(graph);
    let cycles = graph
        .keys()
        .filter_map(|&name| Some((name, cycle(&graph, name)?)));
    cycles
        .map(|(name, cycle)| (name.to_owned(), sentence(&cycle)))
        .collect()
}

/// Takes away, again and again, who depends on nobody or on whom nobody depends. What is left are cycles and what lies between them.
fn without_ends(mut graph: Graph<'_>) -> Graph<'_> {
    let mut dependents: Graph<'_> = graph.keys().map(|&name| (name, BTreeSet::new())).collect();
    for (&name, targets) in &graph {
        for target in targets {
            dependents.entry(target).or_default().insert(name);
        }
    }
    let is_end = |graph: &Graph<'_>, dependents: &Graph<'_>, name: &str| {
        [graph, dependents]
            .iter()
            .any(|edges| edges.get(name).is_some_and(BTreeSet::is_empty))
    };
    let mut ends: Vec<&str> = graph
        .keys()
        .copied()
        .filter(|name| is_end(&graph, &dependents, name))
        .collect();
    while let Some(name) = ends.pop() {
        let targets = graph.remove(name).unwrap_or_default();
        let sources = dependents.remove(name).unwrap_or_default();
        for target in targets {
            if let Some(sources) = dependents.get_mut(target) {
                sources.remove(name);
            }
            ends.extend(is_end(&graph, &dependents, target).then_some(target));
        }
        for source in sources {
            if let Some(targets) = graph.get_mut(source) {
                targets.remove(name);
            }
            ends.extend(is_end(&graph, &dependents, source).then_some(source));
        }
    }
    graph
}

/// The shortest way from a service back to itself.
fn cycle<'a>(graph: &Graph<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(name) = queue.pop_front() {
        for &target in graph.get(name).into_iter().flatten() {
            if target == start {
                let mut path = vec![start, name];
                while let Some(&before) = path.last().and_then(|last| came_from.get(last)) {
                    path.push(before);
                }
                path.reverse();
                return Some(path);
            }
            if !came_from.contains_key(target) {
                came_from.insert(target, name);
                queue.push_back(target);
            }
        }
    }
    None
}

fn sentence(cycle: &[&str]) -> String {
    let path = cycle.join(" → ");
    if cycle.len() == 2 {
        format!("the service depends on itself ({path}); take that out of spec.dependsOn")
    } else {
        format!(
            "services depend on each other in a circle ({path}); take one of these out of spec.dependsOn"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_told_of_each_service_in_it_and_of_no_other() {
        let graph = Graph::from([
            ("a", BTreeSet::from(["b"])),
            ("b", BTreeSet::from(["a", "c"])),
            ("c", BTreeSet::new()),
            ("d", BTreeSet::from(["a", "d"])),
        ]);
        let told: Vec<String> = cycles(graph)
            .into_iter()
            .map(|(name, words)| format!("{name}: {words}"))
            .collect();
        assert_eq!(
            told,
            [
                "a: services depend on each other in a circle (a → b → a); take one of these out of spec.dependsOn",
                "b: services depend on each other in a circle (b → a → b); take one of these out of spec.dependsOn",
                "d: the service depends on itself (d → d); take that out of spec.dependsOn",
            ]
        );
    }
}
