//! An older backup, or none at all, on a host whose containers know better.

use clos_harness::{Server, WEB, wait_until};
use serde_json::Value;

use crate::world::{backed_up, declare, host, move_to, restored, standing, told, until_ready};

/// A server whose containers of `later` were made after the backup from which it was restored.
fn older(later: &[&str]) -> Server {
    let mut server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let (file, _) = backed_up(&server, "older.backup");
    declare(&server, later.iter().copied());
    until_ready(&server, later.iter().copied());
    server.stop();
    let elsewhere = server.scratch("elsewhere");
    restored(&server, &file, &elsewhere);
    move_to(&mut server, &elsewhere);
    server.launch();
    server
}

/// Waits until the Host reports so many orphans; gives the report.
fn orphans(server: &Server, count: usize) -> Value {
    wait_until(&format!("{count} orphans are reported"), || {
        let orphans = host(server)["status"]["orphans"].clone();
        (orphans["count"] == count).then_some(orphans)
    })
}

#[test]
fn few_containers_younger_than_the_backup_stay_until_they_are_confirmed_and_then_come_right() {
    let server = older(&["later"]);
    let before = standing(&server, ["web", "later"]);
    let message = server.until_reason("csvc", "later", "NameConflict");
    assert!(message.contains("clos confirm"), "{message}");
    let report = orphans(&server, 1);
    assert_eq!(report["held"], false);
    let (code, listed, _) = told(&server.clos(&["confirm"]));
    assert_eq!(code, 1, "nothing was asked and nothing confirmed");
    assert!(listed.contains(&server.container("later-0")), "{listed}");
    assert!(listed.contains("removed after 5 minutes"), "{listed}");
    assert_eq!(
        standing(&server, ["web", "later"]),
        before,
        "within the grace"
    );

    assert_eq!(told(&server.clos(&["confirm", "--yes"])).0, 0);
    server.until_ready("later");
    let after = standing(&server, ["web", "later"]);
    assert_eq!(after["web"], before["web"]);
    assert_ne!(after["later"].0, before["later"].0);
    wait_until("nothing waits", || {
        host(&server)["status"]["orphans"].is_null().then_some(())
    });
    let (code, listed, _) = told(&server.clos(&["confirm"]));
    assert_eq!(
        (code, listed.as_str()),
        (0, "Nothing waits for a confirmation.\n")
    );
}

#[test]
fn i8_many_containers_younger_than_the_backup_are_held_back_until_a_person_confirms_them() {
    let later = ["a", "b", "c", "d", "e", "f"];
    let all = ["web", "a", "b", "c", "d", "e", "f"];
    let mut server = older(&later);
    let before = standing(&server, all);
    let report = orphans(&server, 6);
    assert_eq!(
        (&report["held"], &report["of"]),
        (&Value::Bool(true), &7.into())
    );
    let held = |server: &Server| {
        let host = host(server);
        let conditions = host["status"]["conditions"].as_array().unwrap().clone();
        conditions
            .into_iter()
            .find(|condition| condition["type"] == "RemovalsHeld")
    };
    let condition = held(&server).unwrap();
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.starts_with("6 of 7 containers") && message.contains("clos confirm"),
        "{message}"
    );
    let events = server.kubectl_ok(&["get", "events", "-A"]);
    assert!(events.contains("RemovalsHeld"), "{events}");
    assert_eq!(server.metric("clos_removals_held").to_string(), "6");
    let (_, _, note) = told(&server.clos(&["status"]));
    assert!(note.contains("6 of 7 containers"), "{note}");
    for name in later {
        server.until_reason("csvc", name, "NameConflict");
    }
    assert_eq!(standing(&server, all), before);
    // A token of anything else, and another start, change nothing.
    let name = host(&server)["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    server.kubectl_ok(&[
        "annotate",
        "chost",
        &name,
        "clos.dev/confirmed-removals=0123456789ab",
    ]);
    server.stop();
    server.launch();
    orphans(&server, 6);
    let lists = r#"clos_engine_call_seconds_count{operation="list",result="ok"}"#;
    wait_until("the containers were listed some times", || {
        (server.metric(lists) >= 3.0).then_some(())
    });
    assert_eq!(standing(&server, all), before);

    let (code, said, _) = told(&server.clos(&["confirm", &format!("host/{name}"), "--yes"]));
    assert_eq!(code, 0, "{said}");
    until_ready(&server, all);
    let after = standing(&server, all);
    assert_eq!(after["web"], before["web"]);
    assert!(later.iter().all(|name| after[*name].0 != before[*name].0));
    wait_until("nothing is held back", || {
        held(&server).is_none().then_some(())
    });
}

#[test]
fn i8_an_emptied_folder_waits_for_a_confirmation_and_takes_exactly_what_was_shown() {
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    for name in ["web.yaml", "namespace.yaml"] {
        server.remove(name);
    }
    let shown = wait_until("it is held back", || {
        let (_, listed, _) = told(&server.clos(&["confirm"]));
        listed
            .contains("objects are no longer declared")
            .then_some(listed)
    });
    assert!(shown.contains("source/source: 3 of 3 objects"), "{shown}");
    assert!(
        shown.contains(&format!("Service {}/web", server.namespace)),
        "{shown}"
    );
    assert!(server.inspect("web-0").is_some());
    assert_eq!(
        told(&server.clos(&["confirm", "source/source", "--yes"])).0,
        0
    );
    wait_until("the container is gone", || {
        server.inspect("web-0").is_none().then_some(())
    });
}
