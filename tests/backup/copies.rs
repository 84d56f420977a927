//! Other stores on the same host: an emptied one, a copy of the same, and another installation that wants the same names.

use std::process::Stdio;

use clos_harness::{Engine, Server, WEB, wait_until};

use crate::world::{backed_up, declare, host, restored, standing, told};

/// Removes what an installation left that no server knows any more.
struct Leftovers(String);

impl Drop for Leftovers {
    fn drop(&mut self) {
        Engine::default().remove_all_of(&self.0);
    }
}

#[test]
fn i1_an_emptied_data_directory_touches_nothing_of_the_installation_that_was_there() {
    let mut server = Server::start_with(&[("web.yaml", WEB)], &["--relist", "1s"]);
    declare(&server, ["a"]);
    server.until_ready("web");
    server.until_ready("a");
    let before = standing(&server, ["web", "a"]);
    let old = Leftovers(server.installation().to_owned());
    server.stop();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    server.launch();
    assert_ne!(server.installation(), old.0);
    for name in ["web", "a"] {
        let message = server.until_reason("csvc", name, "NameConflict");
        assert!(
            message.contains(&server.container(&format!("{name}-0")))
                && message.contains("another clos installation"),
            "{message}"
        );
    }
    let lists = r#"clos_engine_call_seconds_count{operation="list",result="ok"}"#;
    wait_until("the containers were listed some times", || {
        (server.metric(lists) >= 3.0).then_some(())
    });
    assert_eq!(standing(&server, ["web", "a"]), before);
    assert!(host(&server)["status"]["orphans"].is_null());
}

#[test]
fn a_copy_of_a_running_installation_is_not_run_beside_it() {
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let before = standing(&server, ["web"]);
    let (file, _) = backed_up(&server, "a.backup");
    let elsewhere = server.scratch("elsewhere");
    restored(&server, &file, &elsewhere);
    let mut command = server.command();
    command.arg("--data-dir").arg(&elsewhere);
    command
        .arg("--kubeconfig")
        .arg(server.scratch("other-kubeconfig"));
    let (code, _, error) = told(&command.stderr(Stdio::piped()).output().unwrap());
    assert_eq!(code, 1);
    assert!(
        error.contains(&format!("run by process {} already", server.pid())),
        "{error}"
    );
    server.until_ready("web");
    assert_eq!(standing(&server, ["web"]), before);
}

#[test]
fn i1_two_installations_with_the_same_names_leave_each_other_alone() {
    let first = Server::start_with(&[("web.yaml", WEB)], &["--relist", "1s"]);
    first.until_ready("web");
    let before = first.inspect("web-0").unwrap();
    let mut second = Server::start_with(&[], &["--relist", "1s"]);
    second.namespace = first.namespace.clone();
    second.write(
        "shared.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAMESPACE}\n",
    );
    second.write("web.yaml", WEB);
    let message = second.until_reason("csvc", "web", "NameConflict");
    assert!(message.contains("another clos installation"), "{message}");
    assert_eq!(second.containers().len(), 0);

    // The first one goes on repairing, and takes only what is its own with it.
    let started = before["State"]["StartedAt"].as_str().unwrap();
    clos_harness::docker(&["kill", &first.container("web-0")]);
    let repaired = first.until_running_again("web-0", started);
    assert_eq!(repaired["Id"], before["Id"]);
    first.remove("web.yaml");
    second.until_ready("web");
    assert_eq!(first.containers().len(), 0);
    assert_eq!(second.containers().len(), 1);
}
