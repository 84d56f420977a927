//! A host port has one holder, and the next gets it when the old container is really gone.

use clos_resources::container::Protocol;
use clos_resources::{Port, Service};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::world::{World, message, runs};

fn published(port: u16) -> serde_json::Value {
    json!({ "ports": [{ "containerPort": 80, "hostPort": port }] })
}

fn all(world: &World) -> Api<Port> {
    Api::all(world.client.clone())
}

fn holder(port: &Port) -> &str {
    port.spec
        .holder
        .as_ref()
        .map_or("", |holder| holder.instance.as_str())
}

#[tokio::test]
async fn i4_a_port_is_held_while_it_is_used_and_free_afterwards() {
    let world = World::new().await;
    world.service("web", published(8080)).await;
    world.ready("web").await;
    let port = all(&world).get("box-tcp-8080").await.unwrap();
    assert_eq!(holder(&port), "web-0");
    world.delete::<Service>("web").await;
    world
        .until_all(
            all(&world),
            "a free port",
            std::collections::BTreeMap::is_empty,
        )
        .await;
    assert_eq!(
        world.engine.containers().len(),
        0,
        "the port is free only when the container is gone"
    );
}

#[tokio::test]
async fn i4_a_port_of_another_service_is_waited_for_and_taken_over() {
    let world = World::new().await;
    world.service("old", published(8080)).await;
    world.ready("old").await;
    world.service("new", published(8080)).await;
    world
        .until_instance("new-0", |new| {
            message(new).starts_with("PortConflict: ") && message(new).contains("old-0")
        })
        .await;
    assert!(
        world
            .engine
            .container("clos_default_new-0")
            .is_none_or(|container| !runs(&container))
    );
    world.delete::<Service>("old").await;
    world.ready("new").await;
    assert_eq!(
        holder(&all(&world).get("box-tcp-8080").await.unwrap()),
        "new-0"
    );
}

#[tokio::test]
async fn a_reserved_port_is_given_to_nobody_until_it_is_free() {
    let world = World::new().await;
    let spec = json!({ "host": "box", "port": 8080, "reservedFor": "the printer" });
    world
        .create(json!({ "kind": "Port", "metadata": { "name": "box-tcp-8080" }, "spec": spec }))
        .await;
    world.service("web", published(8080)).await;
    world
        .until_instance("web-0", |web| {
            message(web).starts_with("PortConflict: ") && message(web).contains("the printer")
        })
        .await;
    all(&world)
        .delete("box-tcp-8080", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    world.ready("web").await;
}

#[tokio::test]
async fn a_port_that_a_program_of_the_host_uses_is_taken_when_it_is_free() {
    let world = World::new().await;
    world.engine.listen_by_hand(Protocol::Tcp, 8080, "nginx");
    world.service("web", published(8080)).await;
    world
        .until_instance("web-0", |web| message(web).starts_with("PortConflict: "))
        .await;
    world.engine.free_port(Protocol::Tcp, 8080);
    world.advance(std::time::Duration::from_secs(61)).await;
    world.ready("web").await;
}

#[tokio::test]
async fn a_port_that_somebody_released_by_hand_is_claimed_again() {
    let world = World::new().await;
    world.service("web", published(8080)).await;
    world.ready("web").await;
    world.settle().await;
    let before = all(&world).get("box-tcp-8080").await.unwrap().uid();
    all(&world)
        .delete("box-tcp-8080", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    world
        .until_all(all(&world), "the claim", |ports| {
            ports
                .get("box-tcp-8080")
                .is_some_and(|port| port.uid() != before)
        })
        .await;
    assert!(runs(&world.container("web-0")));
}

#[tokio::test]
async fn a_port_whose_holder_never_was_is_released() {
    let world = World::new().await;
    let holder = json!({ "namespace": "default", "instance": "ghost-0", "uid": "no-such-uid" });
    let spec = json!({ "host": "box", "port": 9090, "holder": holder });
    world
        .create(json!({ "kind": "Port", "metadata": { "name": "box-tcp-9090" }, "spec": spec }))
        .await;
    world
        .until_all(
            all(&world),
            "a free port",
            std::collections::BTreeMap::is_empty,
        )
        .await;
}
