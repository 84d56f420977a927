//! Progress by example, and the objects that other tests of waiting use.

use clos_resources::conditions::Summary;
use serde_json::json;

use super::*;

fn conditions(reason: Reason, message: &str, generation: i64) -> Vec<Condition> {
    Summary::new(reason, message).conditions(
        Some(generation),
        &[],
        "2026-01-01T00:00:00Z".parse().unwrap(),
    )
}

/// `web` in its second generation, with two replicas wanted.
pub(crate) fn service(ready: &str, reason: Reason, message: &str, observed: i64) -> Service {
    serde_json::from_value(json!({
        "apiVersion": "clos.dev/v1alpha1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "generation": 2},
        "spec": {"group": "shop", "image": "shop/web:2", "replicas": 2},
        "status": {"ready": ready, "observedGeneration": observed, "conditions": conditions(reason, message, observed)},
    }))
    .unwrap()
}

/// An Instance of `web`, made from the present declaration.
pub(crate) fn instance(reason: Reason, message: &str, faults: u32) -> Instance {
    let of = service("", Reason::Progressing, "", 2);
    let time = "2026-01-01T00:00:00Z";
    serde_json::from_value(json!({
        "apiVersion": "clos.dev/v1alpha1", "kind": "Instance",
        "metadata": {"name": "web-1", "namespace": "default", "generation": 1, "labels": {"clos.dev/service": "web"}},
        "spec": {"service": "web", "group": "shop", "host": "local", "ordinal": 1, "revision": revision(&of), "container": {"image": "shop/web:2"}},
        "status": {"observedGeneration": 1, "containerId": "c1", "revision": revision(&of), "conditions": conditions(reason, message, 1),
            "backoff": {"faults": faults, "lastFault": time, "nextTry": time}},
    }))
    .unwrap()
}

pub(crate) fn group(reason: Reason, message: &str) -> Group {
    serde_json::from_value(json!({
        "apiVersion": "clos.dev/v1alpha1", "kind": "Group", "metadata": {"name": "shop", "namespace": "default", "generation": 1}, "spec": {},
        "status": {"running": "1/2", "observedGeneration": 1, "conditions": conditions(reason, message, 1)},
    }))
    .unwrap()
}

fn shown(standing: &Standing) -> String {
    let Standing { ready, progress } = standing;
    match progress {
        Progress::Waiting { words } => format!("… {ready} {words}"),
        Progress::Done { words, proof } => match proof {
            Proof::Final => format!("✔ {ready} {words}, for good"),
            Proof::Runs => format!("✔ {ready} {words}"),
            Proof::RunsAgain => format!("✔ {ready} {words} again"),
        },
        Progress::Failed { words, instance } => format!(
            "✖ {ready} {words} ({})",
            instance.as_deref().unwrap_or("no instance")
        ),
    }
}

#[test]
fn counts_that_stand_beside_the_words_are_not_said_twice() {
    let said = "1 of 2 instances are ready; web-0: exited with 1";
    assert_eq!(without_counts(said), "web-0: exited with 1");
    assert_eq!(
        without_counts("0 of 1 instances are ready"),
        "is on its way"
    );
    assert_eq!(
        without_counts("waits: db has not started"),
        "waits: db has not started"
    );
}

#[test]
fn every_reason_leads_to_one_of_the_three() {
    let mut lines = Vec::new();
    for reason in [
        Reason::Ready,
        Reason::Completed,
        Reason::Suspended,
        Reason::Progressing,
        Reason::DependencyNotReady,
        Reason::ConfigMissing,
        Reason::PortConflict,
        Reason::Unhealthy,
        Reason::EngineUnavailable,
        Reason::CrashLoopBackOff,
        Reason::ImagePullFailed,
        Reason::ImageArchMismatch,
        Reason::Failed,
        Reason::InvalidSpec,
    ] {
        let of = service(
            "1/2",
            reason,
            &format!("the message of {}", reason.as_str()),
            2,
        );
        let failing = instance(reason, "", 3);
        lines.push(shown(&of_service(Some(&of), &[&failing])));
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    ✔ 1/2 running again
    ✔ 1/2 the message of Completed, for good
    ✔ 1/2 the message of Suspended, for good
    … 1/2 the message of Progressing
    … 1/2 the message of DependencyNotReady
    … 1/2 the message of ConfigMissing
    … 1/2 the message of PortConflict
    … 1/2 the message of Unhealthy
    … 1/2 the message of EngineUnavailable
    ✖ 1/2 the message of CrashLoopBackOff (web-1)
    ✖ 1/2 the message of ImagePullFailed (web-1)
    ✖ 1/2 the message of ImageArchMismatch (web-1)
    ✖ 1/2 the message of Failed (web-1)
    ✖ 1/2 the message of InvalidSpec (web-1)
    ");
}

#[test]
fn without_a_message_the_state_is_said_in_plain_words() {
    let words = |reason| shown(&of_service(Some(&service("2/2", reason, "", 2)), &[]));
    assert_eq!(words(Reason::Ready), "✔ 2/2 running");
    assert_eq!(words(Reason::Completed), "✔ 2/2 completed, for good");
    assert_eq!(
        words(Reason::Suspended),
        "✔ 2/2 stopped, as declared, for good"
    );
    assert_eq!(words(Reason::Progressing), "… 2/2 is not there yet");
}

#[test]
fn what_is_said_of_an_older_generation_is_no_answer() {
    for reason in [Reason::Ready, Reason::InvalidSpec] {
        assert_eq!(
            shown(&of_service(Some(&service("2/2", reason, "old", 1)), &[])),
            "… 2/2 waits to be looked at"
        );
    }
}

#[test]
fn what_an_instance_of_an_older_declaration_failed_at_is_no_answer() {
    let of = service("1/2", Reason::ImagePullFailed, "denied", 2);
    let mut old = instance(Reason::ImagePullFailed, "denied", 0);
    old.spec.revision = "older".to_owned();
    assert_eq!(shown(&of_service(Some(&of), &[&old])), "… 1/2 denied");
}

#[test]
fn two_crashes_are_waited_out_and_a_third_is_an_answer() {
    let of = service("0/2", Reason::CrashLoopBackOff, "exited with 1", 2);
    assert_eq!(
        shown(&of_service(
            Some(&of),
            &[&instance(Reason::CrashLoopBackOff, "", 2)]
        )),
        "… 0/2 exited with 1"
    );
    assert_eq!(
        shown(&of_service(
            Some(&of),
            &[&instance(Reason::CrashLoopBackOff, "", 3)]
        )),
        "✖ 0/2 exited with 1 (web-1)"
    );
}

#[test]
fn faults_of_a_container_of_an_older_declaration_are_no_answer() {
    let of = service("0/2", Reason::CrashLoopBackOff, "exited with 1", 2);
    let mut waits = instance(Reason::CrashLoopBackOff, "", 3);
    waits.status.as_mut().unwrap().revision = Some("older".to_owned());
    assert_eq!(
        shown(&of_service(Some(&of), &[&waits])),
        "… 0/2 exited with 1"
    );
}

#[test]
fn a_program_that_is_not_there_is_an_answer_and_another_failed_start_is_not() {
    let look = |said: &str| {
        let of = service("0/2", Reason::ContainerFailed, said, 2);
        shown(&of_service(
            Some(&of),
            &[&instance(Reason::ContainerFailed, said, 1)],
        ))
    };
    for said in [
        "OCI runtime create failed: exec: \"x\": executable file not found in $PATH: unknown",
        "exec: \"/x\": stat /x: no such file or directory: unknown",
        "exec: \"/etc\": permission denied: unknown",
        "exec /x: exec format error",
    ] {
        assert_eq!(look(said), format!("✖ 0/2 {said} (web-1)"));
    }
    assert_eq!(
        look("the daemon is shutting down"),
        "… 0/2 the daemon is shutting down"
    );
}

#[test]
fn what_is_gone_or_going_has_failed() {
    let mut going = service("2/2", Reason::Ready, "", 2);
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        "2026-01-01T00:00:00Z".parse().unwrap(),
    ));
    assert_eq!(
        shown(&of_service(Some(&going), &[])),
        "✖ 2/2 is being deleted (no instance)"
    );
    assert_eq!(
        shown(&of_service(None, &[])),
        "✖  was deleted meanwhile (no instance)"
    );
    assert_eq!(
        shown(&of_group(None)),
        "✖  was deleted meanwhile (no instance)"
    );
}

#[test]
fn on_the_way_the_instance_that_is_not_ready_is_asked_what_it_does() {
    let of = service("1/2", Reason::Progressing, "1 of 2 instances are ready", 2);
    let pulling = instance(
        Reason::Progressing,
        "pulling image shop/web:2: 3 of 8 MB",
        0,
    );
    assert_eq!(
        shown(&of_service(Some(&of), &[&pulling])),
        "… 1/2 web-1: pulling image shop/web:2: 3 of 8 MB"
    );
    assert_eq!(
        shown(&of_service(
            Some(&of),
            &[&instance(Reason::Ready, "running", 0)]
        )),
        "… 1/2 is on its way"
    );
}

#[test]
fn a_group_is_waited_for_like_its_services() {
    assert_eq!(
        shown(&of_group(Some(&group(Reason::Ready, "")))),
        "✔ 1/2 running"
    );
    assert_eq!(
        shown(&of_group(Some(&group(
            Reason::Progressing,
            "db is starting"
        )))),
        "… 1/2 db is starting"
    );
    assert_eq!(
        shown(&of_group(Some(&group(Reason::Failed, "db failed")))),
        "✖ 1/2 db failed (no instance)"
    );
}
