//! Images on a real engine: missing, denied, of another architecture, removed while in use.

use std::process::Command;

use serde_json::json;

use clos_harness::{IMAGE, Server, WEB, docker, succeeded, wait_until};

#[test]
fn a_missing_image_that_must_not_be_pulled_is_a_condition() {
    let server = Server::start_with(
        &[("web.yaml", &WEB.replace("IMAGE", "clos-test/nowhere:1"))],
        &[],
    );
    let message = server.until_reason("csvc", "web", "ImagePullFailed");
    assert!(message.contains("clos-test/nowhere:1"), "{message}");
    server.write("web.yaml", WEB);
    server.until_ready("web");
}

#[test]
fn a_pull_that_fails_is_a_condition_with_the_engines_words_and_does_not_block_others() {
    // Nothing listens there, so the registry refuses the connection at once.
    let missing = WEB
        .replace("IMAGE", "127.0.0.1:9/shop/web:1")
        .replace("imagePullPolicy: Never", "imagePullPolicy: IfNotPresent");
    let server = Server::start_with(&[("web.yaml", &missing)], &[]);
    server.write(
        "other.yaml",
        &WEB.split("---")
            .nth(1)
            .unwrap()
            .replace("name: web", "name: other"),
    );
    server.until_ready("other");
    let message = server.until_reason("csvc", "web", "ImagePullFailed");
    assert!(message.contains("127.0.0.1:9"), "{message}");
}

/// Gives the engine an image that says of itself that it is for another architecture. There is nothing in it.
pub(crate) fn load_foreign_image(server: &Server, name: &str) {
    let folder = server.scratch("foreign-image");
    std::fs::create_dir(&folder).unwrap();
    let write = |file: &str, content: &[u8]| std::fs::write(folder.join(file), content).unwrap();
    // The end of an archive, and so an archive with nothing in it.
    write("layer.tar", &[0_u8; 1024]);
    let sum = Command::new("sha256sum")
        .arg(folder.join("layer.tar"))
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let digest = sum.split(' ').next().unwrap();
    let config = json!({"architecture": "s390x", "os": "linux", "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}});
    write("config.json", config.to_string().as_bytes());
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    write("manifest.json", manifest.to_string().as_bytes());
    let archive = server.scratch("foreign-image.tar");
    let packed = Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(&folder)
        .arg(".")
        .output()
        .unwrap();
    succeeded(&["tar"], packed);
    docker(&["load", "--input", archive.to_str().unwrap()]);
}

#[test]
fn an_image_for_another_architecture_is_a_condition_that_names_both() {
    let server = Server::start();
    let foreign = format!("clos-test/foreign-{}:1", server.namespace);
    load_foreign_image(&server, &foreign);
    let architecture = docker(&["image", "inspect", "-f", "{{.Architecture}}", &foreign]);
    server.write("web.yaml", &WEB.replace("IMAGE", &foreign));
    let message = server.until_reason("csvc", "web", "ImageArchMismatch");
    docker(&["image", "rm", "-f", &foreign]);
    assert!(message.contains(architecture.trim()), "{message}");
}

#[test]
fn an_image_removed_while_its_container_runs_disturbs_nothing() {
    let server = Server::start();
    let copy = format!("clos-test/copy-{}:1", server.namespace);
    docker(&["tag", IMAGE, &copy]);
    server.write("web.yaml", &WEB.replace("IMAGE", &copy));
    server.until_ready("web");
    let before = server.inspect("web-0").unwrap();
    docker(&["image", "rm", "-f", &copy]);
    docker(&["kill", &server.container("web-0")]);
    let after = server.until_running_again("web-0", before["State"]["StartedAt"].as_str().unwrap());
    assert_eq!(before["Id"], after["Id"]);
    wait_until("the service is ready", || {
        (server.ready("csvc", "web").0 == "True").then_some(())
    });
}
