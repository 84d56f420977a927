//! A data directory that cannot be written any more, as after an error of its file system.

use std::process::Stdio;
use std::time::Duration;

use clos_harness::{Server, Setup, WEB, docker, wait_until_within};

use crate::api::Api;
use crate::fsync::Tracer;
use crate::machine::{Mount, root, strace};

/// The longest that it may take to be as before.
const RECOVERY: Duration = Duration::from_secs(30);

/// One sentence that names the data directory, and exit code 1.
fn refused(server: &Server) {
    let mut command = server.command();
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    let data = server.data_dir();
    assert!(said.contains(data.to_str().unwrap()), "{said}");
    assert!(said.contains("cannot be written"), "{said}");
}

#[test]
fn a_read_only_data_directory_is_said_in_one_sentence_at_the_start_and_harms_nothing() {
    if !root("mounting a file system") {
        return;
    }
    let mut server = Setup::new().file("web.yaml", WEB).prepare();
    let mount = Mount::tmpfs(server.data_dir(), "size=32m,ro");
    refused(&server);
    mount.remount("rw");
    server.launch();
    server.until_ready("web");
    let before = server.inspect("web-0").unwrap();
    assert_eq!(server.stop(), 0);
    mount.remount("ro");
    refused(&server);
    mount.remount("rw");
    server.launch();
    server.until_ready("web");
    let after = server.inspect("web-0").unwrap();
    assert_eq!(before["State"]["StartedAt"], after["State"]["StartedAt"]);
}

#[test]
fn a_data_directory_that_becomes_read_only_refuses_writes_in_words_and_everything_else_goes_on_until_it_can_be_written()
 {
    if !strace() {
        return;
    }
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let api = Api::of(&server);
    assert_eq!(api.put_config_map("before", 10).unwrap().code, 201);
    let store = server.data_dir().join("store.redb");
    let spoiled = "inject=pwrite64,fdatasync,fsync,ftruncate,fallocate:error=EROFS";
    let tracer = Tracer::attach(&server, &["-P", store.to_str().unwrap(), "-e", spoiled]);
    for name in ["refused", "refused-again"] {
        let answer = api.put_config_map(name, 10).unwrap();
        assert_eq!(answer.code, 503, "{answer:?}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains("the data directory is read-only"),
            "{message}"
        );
        assert_eq!(api.get(&format!("{}/before", api.config_maps())).code, 200);
    }
    assert_eq!(api.get("/livez").code, 200);
    let ready = api.get("/readyz");
    assert_eq!(ready.code, 500, "{ready:?}");
    assert!(ready.body.contains("read-only"), "{ready:?}");
    // Containers are repaired meanwhile.
    let before = server.inspect("web-0").unwrap();
    docker(&["kill", &server.container("web-0")]);
    server.until_running_again("web-0", before["State"]["StartedAt"].as_str().unwrap());

    drop(tracer);
    wait_until_within(RECOVERY, "the server is ready again", || {
        (api.get("/readyz").code == 200).then_some(())
    });
    assert_eq!(api.put_config_map("after", 10).unwrap().code, 201);
    let mut names = api.config_map_names();
    names.retain(|name| name != "kube-root-ca.crt");
    assert_eq!(names, ["after", "before"]);
    wait_until_within(RECOVERY, "the repair is recorded", || {
        let audit = api.get("/audit?limit=500&verb=reconcile").body;
        let repair = |line: &&str| line.contains("\"repaired\"") && line.contains("web-0");
        (audit.lines().filter(repair).count() == 1).then_some(())
    });
}
