//! What there is to say of groups and services: pure, from objects to lines. Reading and printing are not here.

use std::collections::BTreeMap;

use clos_resources::conditions::{ready, without_last_lines};
use clos_resources::names::LABEL_SERVICE;
use clos_resources::service::ServiceState;
use clos_resources::{Group, Instance, Service};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt;
use serde::Serialize;

use crate::output::{Table, age};

/// How long an event is news worth a note.
const NEWS_SECONDS: i64 = 300;

/// One group.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupView {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) running: String,
    pub(super) health: String,
    pub(super) note: String,
    pub(super) services: Vec<ServiceView>,
}

/// One service.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceView {
    pub(super) name: String,
    pub(super) ready: String,
    pub(super) state: String,
    pub(super) image: String,
    pub(super) ports: String,
    pub(super) restarts: u32,
    pub(super) age: String,
    pub(super) note: String,
    pub(super) instances: String,
}

/// Groups in order of namespace and name, each with its services in order. Services of a group that does not exist are shown, too.
pub(super) fn overview(
    groups: &[Group],
    services: &[Service],
    instances: &[Instance],
    events: &[Event],
    now: Timestamp,
) -> Vec<GroupView> {
    let mut views: BTreeMap<(String, String), GroupView> = BTreeMap::new();
    for group in groups {
        let status = group.status.clone().unwrap_or_default();
        let key = (group.namespace().unwrap_or_default(), group.name_any());
        let note = ready(&status.conditions)
            .filter(|ready| ready.status != "True" && ready.reason != "Progressing")
            .map(|ready| ready.message.clone());
        let view = GroupView {
            namespace: key.0.clone(),
            name: key.1.clone(),
            running: status
                .running
                .unwrap_or_else(|| "0/0".to_owned())
                .replace('/', " of "),
            health: status.health_score.unwrap_or_else(|| "-".to_owned()),
            note: note.unwrap_or_default(),
            services: Vec::new(),
        };
        views.insert(key, view);
    }
    for service in services {
        let key = (
            service.namespace().unwrap_or_default(),
            service.spec.group.clone(),
        );
        let view = views.entry(key.clone()).or_insert_with(|| GroupView {
            namespace: key.0,
            name: key.1,
            running: "-".to_owned(),
            health: "-".to_owned(),
            note: "this group does not exist".to_owned(),
            services: Vec::new(),
        });
        view.services
            .push(service_view(service, instances, events, now));
    }
    let mut views: Vec<GroupView> = views.into_values().collect();
    for view in &mut views {
        view.services.sort_by(|a, b| a.name.cmp(&b.name));
    }
    views
}

fn service_view(
    service: &Service,
    instances: &[Instance],
    events: &[Event],
    now: Timestamp,
) -> ServiceView {
    let status = service.status.clone().unwrap_or_default();
    let name = service.name_any();
    let ready = ready(&status.conditions);
    let trouble = ready
        .filter(|ready| ready.status != "True" || ready.reason == "Completed")
        .map(|ready| without_last_lines(&ready.message).to_owned());
    let note = trouble
        .filter(|message| !message.is_empty())
        .or_else(|| news(&name, service.namespace().as_deref(), events, now));
    ServiceView {
        ready: status
            .ready
            .unwrap_or_else(|| format!("0/{}", service.spec.replicas)),
        state: status
            .state
            .map_or_else(|| "Starting".to_owned(), state_word),
        image: service.spec.container.image.clone(),
        ports: status.ports.unwrap_or_default(),
        restarts: status.restarts,
        age: service
            .creation_timestamp()
            .map(|created| age(created.0, now))
            .unwrap_or_default(),
        note: note.unwrap_or_default(),
        instances: instances_of(&name, service.namespace().as_deref(), instances),
        name,
    }
}

fn state_word(state: ServiceState) -> String {
    format!("{state:?}")
}

/// Each instance with its state, as `web-0 Running, web-1 Starting`.
fn instances_of(service: &str, namespace: Option<&str>, instances: &[Instance]) -> String {
    let own = instances.iter().filter(|instance| {
        instance.namespace().as_deref() == namespace
            && instance
                .labels()
                .get(LABEL_SERVICE)
                .is_some_and(|of| of == service)
    });
    let words = own.map(|instance| {
        let state = instance.status.as_ref().and_then(|status| status.state);
        format!(
            "{} {}",
            instance.name_any(),
            state.map_or_else(|| "Waiting".to_owned(), |state| format!("{state:?}"))
        )
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The newest repair among the service's instances, as long as it is news.
fn news(
    service: &str,
    namespace: Option<&str>,
    events: &[Event],
    now: Timestamp,
) -> Option<String> {
    let ours = |event: &&Event| {
        let about = &event.involved_object;
        about.kind.as_deref() == Some("Service")
            && about.namespace.as_deref() == namespace
            && about.name.as_deref() == Some(service)
    };
    let at = |event: &Event| {
        let series = event.series.as_ref();
        series
            .and_then(|series| series.last_observed_time.as_ref())
            .map(|time| time.0)
            .or_else(|| event.last_timestamp.as_ref().map(|time| time.0))
            .or_else(|| event.event_time.as_ref().map(|time| time.0))
    };
    let latest = events
        .iter()
        .filter(ours)
        .filter(|event| event.reason.as_deref() == Some("Repaired"))
        .max_by_key(|event| at(event))?;
    let when = at(latest)?;
    if now.duration_since(when).as_secs() > NEWS_SECONDS {
        return None;
    }
    let instance = latest
        .related
        .as_ref()
        .and_then(|related| related.name.as_deref());
    Some(format!(
        "{}: {} ({} ago)",
        instance.unwrap_or(service),
        latest.message.as_deref().unwrap_or("repaired"),
        age(when, now)
    ))
}

/// The names of all services, as `service/web`.
pub(super) fn names(overview: &[GroupView]) -> String {
    let names = overview
        .iter()
        .flat_map(|group| &group.services)
        .map(|service| format!("service/{}\n", service.name));
    names.collect::<Vec<_>>().concat()
}

/// The overview as text: a headline and a table a group; a wide one names the instances, too.
pub(super) fn render(overview: &[GroupView], wide: bool) -> String {
    if overview.is_empty() {
        return "There are no groups and no services yet. Declare some with: clos apply -f FOLDER\n".to_owned();
    }
    let several = overview
        .iter()
        .any(|group| group.namespace != overview[0].namespace);
    let blocks = overview.iter().map(|group| {
        let title = if several {
            format!("{}/{}", group.namespace, group.name)
        } else {
            group.name.clone()
        };
        let note = if group.note.is_empty() {
            String::new()
        } else {
            format!("    {}", group.note)
        };
        let headline = format!(
            "{:<30} {} as declared    health {}{note}\n",
            title.to_uppercase(),
            group.running,
            group.health
        );
        let head = [
            "NAME", "READY", "STATE", "IMAGE", "PORTS", "RESTARTS", "AGE", "NOTE",
        ];
        let mut table = Table::new(head.into_iter().chain(wide.then_some("INSTANCES")));
        for service in &group.services {
            let ServiceView {
                name,
                ready,
                state,
                image,
                ports,
                restarts,
                age,
                note,
                instances,
            } = service;
            let restarts = restarts.to_string();
            let cells = [name, ready, state, image, ports, &restarts, age, note];
            table.row(cells.into_iter().chain(wide.then_some(instances)).cloned());
        }
        headline + &table.render()
    });
    blocks.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:10:00Z".parse().unwrap()
    }

    fn world() -> (Vec<Group>, Vec<Service>, Vec<Instance>, Vec<Event>) {
        let created = "2026-01-01T00:08:00Z";
        let group = object(
            json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Group", "metadata": {"name": "shop", "namespace": "default"}, "spec": {},
            "status": {"running": "1/2", "healthScore": "0.50"}}),
        );
        let service = |name: &str, status: serde_json::Value| {
            object(
                json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Service", "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
                "spec": {"group": "shop", "image": "shop/web:1"}, "status": status}),
            )
        };
        let condition = |status: &str, reason: &str, message: &str| json!([{"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": created}]);
        let services = vec![
            service(
                "worker",
                json!({"ready": "0/1", "state": "BackOff", "restarts": 3, "conditions": condition("False", "CrashLoopBackOff", "exited with 1; next start in 20 s")}),
            ),
            service(
                "web",
                json!({"ready": "1/1", "state": "Running", "restarts": 1, "ports": "127.0.0.1:4001->8080", "conditions": condition("True", "Ready", "")}),
            ),
        ];
        let instance = object(
            json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Instance",
            "metadata": {"name": "web-0", "namespace": "default", "labels": {LABEL_SERVICE: "web"}},
            "spec": {"service": "web", "group": "shop", "host": "local", "ordinal": 0, "revision": "r", "container": {"image": "shop/web:1"}}}),
        );
        let event = object(
            json!({"metadata": {"name": "e", "namespace": "default"}, "reason": "Repaired", "message": "started again in 512 ms (1 action)",
            "involvedObject": {"kind": "Service", "namespace": "default", "name": "web"}, "related": {"kind": "Instance", "name": "web-0"}, "eventTime": "2026-01-01T00:01:00.000000Z", "series": {"count": 2, "lastObservedTime": "2026-01-01T00:09:40.000000Z"}}),
        );
        (vec![group], services, vec![instance], vec![event])
    }

    #[test]
    fn a_group_is_a_headline_and_a_table_with_notes_where_there_is_something_to_say() {
        let (groups, services, instances, events) = world();
        insta::assert_snapshot!(render(&overview(&groups, &services, &instances, &events, now()), false), @r"
        SHOP                           1 of 2 as declared    health 0.50
        NAME     READY   STATE     IMAGE        PORTS                  RESTARTS   AGE   NOTE
        web      1/1     Running   shop/web:1   127.0.0.1:4001->8080   1          2m    web-0: started again in 512 ms (1 action) (20s ago)
        worker   0/1     BackOff   shop/web:1                          3          2m    exited with 1; next start in 20 s
        ");
    }

    #[test]
    fn a_wide_table_names_the_instances_and_names_are_names_only() {
        let (groups, services, instances, events) = world();
        let views = overview(&groups, &services, &instances, &events, now());
        let text = render(&views, true);
        assert!(
            text.lines()
                .nth(1)
                .is_some_and(|head| head.ends_with("INSTANCES")),
            "{text}"
        );
        assert!(
            text.lines()
                .nth(2)
                .is_some_and(|web| web.ends_with("web-0 Waiting")),
            "{text}"
        );
        assert_eq!(names(&views), "service/web\nservice/worker\n");
    }

    #[test]
    fn services_of_a_missing_group_are_shown_with_a_note() {
        let (_, services, ..) = world();
        let views = overview(&[], &services, &[], &[], now());
        assert_eq!(views[0].note, "this group does not exist");
        assert_eq!(views[0].services.len(), 2);
    }

    #[test]
    fn old_repairs_are_no_news() {
        let (groups, services, instances, events) = world();
        let later = "2026-01-01T01:00:00Z".parse().unwrap();
        assert_eq!(
            overview(&groups, &services, &instances, &events, later)[0].services[0].note,
            ""
        );
    }

    #[test]
    fn nothing_declared_says_how_to_begin() {
        assert!(render(&[], false).contains("clos apply -f"));
    }
}
