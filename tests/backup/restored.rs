//! A restored server on the host of its containers: they are recognised, and nobody touches them.

use clos_harness::{Server, WEB, wait_until};

use crate::world::{backed_up, declare, move_to, restored, standing, until_ready};

#[test]
fn i2_a_restored_server_recognises_all_its_containers_and_changes_nothing() {
    let names = ["web", "a", "b"];
    let mut server = Server::start_with(&[("web.yaml", WEB)], &[]);
    declare(&server, ["a", "b"]);
    until_ready(&server, names);
    let before = standing(&server, names);
    let (file, _) = backed_up(&server, "a.backup");
    server.stop();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    let elsewhere = server.scratch("elsewhere");
    let told = restored(&server, &file, &elsewhere);
    assert!(
        told.contains("the start makes one and writes a new kubeconfig"),
        "{told}"
    );
    let installation = server.installation().to_owned();
    move_to(&mut server, &elsewhere);
    server.launch();
    assert_eq!(server.installation(), installation);
    until_ready(&server, names);
    wait_until("the containers were listed some times", || {
        let lists = r#"clos_engine_call_seconds_count{operation="list",result="ok"}"#;
        (server.metric(lists) >= 4.0).then_some(())
    });
    for operation in [
        "create_network",
        "create_container",
        "start_container",
        "stop_container",
        "remove_container",
    ] {
        let calls = format!("clos_engine_call_seconds_count{{operation=\"{operation}\"");
        assert_eq!(server.metric(&calls).to_string(), "0", "{operation}");
    }
    assert_eq!(standing(&server, names), before);
}
