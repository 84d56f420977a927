//! How long a start takes when the store holds 10 000 objects.

use std::path::Path;

use anyhow::Context as _;
use clos_resources::group::GroupSpec;
use clos_resources::service::ServiceSpec;
use clos_resources::{Group, Service};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::engine::{Engine, IMAGE};
use crate::report::{Report, Times};
use crate::say;
use crate::server::{Folder, Server};

const OBJECTS: u32 = 10_000;

/// How many groups the services are spread over.
const GROUPS: u32 = 100;

/// How many requests at a time.
const WIDE: usize = 32;

/// Fills a server with services of no replicas, which clos looks after like any other and which need no container, and starts it again.
pub(crate) async fn measure(
    engine: &Engine,
    clos: &Path,
    folder: Folder,
    report: &mut Report,
) -> anyhow::Result<()> {
    say(&format!("start with {OBJECTS} objects"));
    let mut server = Server::start(engine, clos, folder).await?;
    let services = server.services();
    let groups: Api<Group> = Api::namespaced(server.client(), &engine.namespace());
    for number in 0..GROUPS {
        let group = Group::new(&group_name(number), GroupSpec::default());
        let created = groups.create(&PostParams::default(), &group).await;
        created.context("cannot create a group")?;
    }
    let creations = futures::stream::iter(0..OBJECTS - GROUPS).map(|number| {
        let services = services.clone();
        async move {
            services
                .create(&PostParams::default(), &service(number))
                .await
        }
    });
    let creations = creations.buffer_unordered(WIDE).map_ok(drop);
    creations
        .try_collect::<()>()
        .await
        .context("cannot create services")?;
    server.until_quiet().await?;
    server.stop().await?;
    let took = Times::new(vec![server.start_again().await?])?;
    report.plain(
        format!("start with {OBJECTS} objects -> ready"),
        took.to_string(),
        "< 1000 ms",
    );
    report.figure("start_10k_ms", took.median());
    server.until_quiet().await?;
    let writes = server.counts().await?.writes;
    report.plain("  store writes after it", format!("{writes:.0}"), "0");
    server.stop().await
}

fn group_name(number: u32) -> String {
    format!("g{number:02}")
}

fn service(number: u32) -> Service {
    let spec = json!({"group": group_name(number % GROUPS), "image": IMAGE, "replicas": 0});
    let spec: ServiceSpec =
        serde_json::from_value(spec).expect("a group and an image are a service");
    Service::new(&format!("n{number:05}"), spec)
}
