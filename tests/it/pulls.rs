//! Images from a real registry: pulled, missing, denied, slow, moved. Images without a registry are in `images`.

use clos_harness::{Server, Setup, WEB, docker, wait_until};

use crate::images::load_foreign_image;
use crate::registry::Registry;

/// More than what passes while the registry holds back.
const LARGE: u64 = 4 << 20;

/// The service of `WEB` under another name, with an image and a policy.
fn service(name: &str, image: &str, policy: &str) -> String {
    let service = WEB.split("---").nth(1).unwrap();
    service
        .replace("name: web", &format!("name: {name}"))
        .replace("IMAGE", image)
        .replace(
            "imagePullPolicy: Never",
            &format!("imagePullPolicy: {policy}"),
        )
}

/// A server with the group of `WEB` and these files.
fn server(files: &[(&str, String)]) -> Server {
    let group = WEB.split("---").next().unwrap();
    let setup = Setup::new().file("group.yaml", group);
    files
        .iter()
        .fold(setup, |setup, (name, content)| setup.file(name, content))
        .start()
}

/// Waits until an instance says that it pulls, and gives its words.
fn until_pulling(server: &Server, instance: &str, so: impl Fn(&str) -> bool) -> String {
    wait_until(&format!("{instance} is being pulled"), || {
        let state = server.object("cinst", instance)?["status"]["state"].clone();
        let (_, _, message) = server.ready("cinst", instance);
        (state == "Pulling" && so(&message)).then_some(message)
    })
}

/// The ids of an instance's container and image, and when it was started.
fn identity(server: &Server, instance: &str) -> [String; 3] {
    let shown = server.inspect(instance).unwrap();
    [&shown["Id"], &shown["Image"], &shown["State"]["StartedAt"]]
        .map(|value| value.as_str().unwrap().to_owned())
}

#[test]
fn a_pull_says_how_far_it_is_and_ends_in_a_running_service() {
    let registry = Registry::start();
    registry.publish(&["shop/web:1"], LARGE);
    registry.hold();
    let image = registry.image("shop/web:1");
    let server = server(&[("web.yaml", service("web", &image, "IfNotPresent"))]);
    let message = until_pulling(&server, "web-0", |message| message.contains(" MB"));
    let amount = message
        .strip_prefix(&format!("pulling image {image}: "))
        .unwrap_or_else(|| panic!("{message}"));
    assert!(
        ["0 of 5 MB", "1 of 5 MB"].contains(&amount),
        "no more than the gate let pass: {message}"
    );
    registry.release();
    server.until_ready("web");
    let told = server.kubectl_ok(&["get", "events", "--field-selector", "reason=Pulled"]);
    assert!(told.contains(&format!("pulled image {image}")), "{told}");
}

#[test]
fn an_image_that_the_registry_does_not_have_is_a_condition_with_its_words_until_it_has_it() {
    let registry = Registry::start();
    registry.publish(&["shop/web:1"], 1);
    let wrong = registry.image("shop/web:wrong");
    let server = server(&[("web.yaml", service("web", &wrong, "IfNotPresent"))]);
    let message = server.until_reason("csvc", "web", "ImagePullFailed");
    assert!(
        message.contains("not found") && message.contains("manifest unknown"),
        "{message}"
    );
    let right = registry.image("shop/web:1");
    server.write("web.yaml", &service("web", &right, "IfNotPresent"));
    server.until_ready("web");
}

#[test]
fn a_registry_that_denies_is_a_condition_with_its_words_and_takes_nothing_away_that_runs() {
    let mut registry = Registry::start();
    registry.publish(&["shop/web:1"], 1);
    let image = registry.image("shop/web:1");
    let server = server(&[
        ("web.yaml", service("web", &image, "Always")),
        ("other.yaml", service("other", &image, "Always")),
    ]);
    server.until_ready("web");
    server.until_ready("other");
    let before = identity(&server, "other-0");

    // As when a password expires: what runs goes on, and what ended is started again without the registry.
    registry.deny(true);
    let ended = identity(&server, "web-0");
    docker(&["kill", &server.container("web-0")]);
    server.until_running_again("web-0", &ended[2]);
    docker(&["rm", "-f", &server.container("web-0")]);
    let message = server.until_reason("csvc", "web", "ImagePullFailed");
    assert!(message.contains("no basic auth credentials"), "{message}");
    assert_eq!(identity(&server, "other-0"), before);

    registry.deny(false);
    server.until_ready("web");
}

#[test]
fn an_image_that_comes_for_another_architecture_is_a_condition_that_names_it() {
    let registry = Registry::start();
    let server = server(&[]);
    let foreign = format!("clos-test/pulled-{}:1", server.namespace);
    load_foreign_image(&server, &foreign);
    registry.push(&foreign, &["shop/web:1"]);
    docker(&["image", "rm", &foreign]);
    let image = registry.image("shop/web:1");
    server.write("web.yaml", &service("web", &image, "IfNotPresent"));
    let message = server.until_reason("csvc", "web", "ImageArchMismatch");
    assert!(message.contains("s390x"), "{message}");
}

#[test]
fn slow_pulls_more_than_calls_at_a_time_hold_up_nobody_else() {
    let registry = Registry::start();
    let names: Vec<String> = (0..10)
        .map(|number| format!("shop/slow:{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    registry.publish(&names, LARGE);
    registry.hold();
    let files: Vec<(String, String)> = names
        .iter()
        .zip(0..)
        .map(|(name, number)| {
            let name = registry.image(name);
            let service = service(&format!("slow{number}"), &name, "IfNotPresent");
            (format!("slow{number}.yaml"), service)
        })
        .collect();
    let files: Vec<(&str, String)> = files
        .iter()
        .map(|(name, content)| (name.as_str(), content.clone()))
        .collect();
    let server = server(&files);
    for number in 0..10 {
        until_pulling(&server, &format!("slow{number}-0"), |_| true);
    }
    server.write("web.yaml", &service("web", "IMAGE", "Never"));
    server.until_ready("web");
    let before = identity(&server, "web-0");
    docker(&["rm", "-f", &server.container("web-0")]);
    server.until_running_again("web-0", &before[2]);
    for number in 0..10 {
        assert!(
            server.inspect(&format!("slow{number}-0")).is_none(),
            "its image cannot be there yet"
        );
    }
    registry.release();
    for number in 0..10 {
        server.until_ready(&format!("slow{number}"));
    }
}

#[test]
fn services_that_want_the_same_image_share_one_pull() {
    let registry = Registry::start();
    registry.publish(&["shop/web:1"], LARGE);
    registry.hold();
    let image = registry.image("shop/web:1");
    let names = ["a", "b", "c", "d"];
    let files = names.map(|name| (name, service(name, &image, "IfNotPresent")));
    let files = files.map(|(name, content)| (format!("{name}.yaml"), content));
    let files = files
        .each_ref()
        .map(|(name, content)| (name.as_str(), content.clone()));
    let before = registry.answered("manifests/");
    let server = server(&files);
    for name in names {
        until_pulling(&server, &format!("{name}-0"), |_| true);
    }
    registry.release();
    for name in names {
        server.until_ready(name);
    }
    // One pull asks for the digest and then for what it is the digest of.
    let manifests = registry.answered("manifests/") - before;
    assert!(
        (1..=2).contains(&manifests),
        "{manifests} requests for manifests"
    );
}

#[test]
fn a_tag_that_moved_restarts_nothing_and_reaches_new_containers_as_their_policy_says() {
    let registry = Registry::start();
    registry.publish(&["shop/web:1"], 1);
    let image = registry.image("shop/web:1");
    let instances = ["always-0", "missing-0", "never-0"];
    let mut server = server(&[("always.yaml", service("always", &image, "Always"))]);
    server.until_ready("always");
    server.write("missing.yaml", &service("missing", &image, "IfNotPresent"));
    server.write("never.yaml", &service("never", &image, "Never"));
    server.until_ready("missing");
    server.until_ready("never");
    let all = |server: &Server| instances.map(|instance| identity(server, instance));
    let first = all(&server);
    let old = first[0][1].clone();

    registry.publish(&["shop/web:1"], 1);
    // A new process looks at everything afresh.
    server.stop();
    server.launch();
    server.until_ready("always");
    assert_eq!(all(&server), first, "a moved tag restarts nothing");

    let anew = |server: &Server, instance: &str, service: &str| {
        let before = identity(server, instance);
        docker(&["rm", "-f", &server.container(instance)]);
        server.until_running_again(instance, &before[2]);
        server.until_ready(service);
        identity(server, instance)[1].clone()
    };
    assert_eq!(anew(&server, "never-0", "never"), old);
    assert_eq!(anew(&server, "missing-0", "missing"), old);
    let new = anew(&server, "always-0", "always");
    assert_ne!(new, old);

    // The tag on this host is the new one now.
    let second = all(&server);
    server.stop();
    server.launch();
    server.until_ready("never");
    assert_eq!(all(&server), second, "an image that came restarts nothing");
    assert_eq!(second[1][1], old);
    assert_eq!(anew(&server, "never-0", "never"), new);
}
